import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { HistoryDocument, KubernetesObject, SearchDocument } from "../../core/index.ts";
import { directoryBucket } from "../../functions/cli/bucket.ts";
import { putBackup, putVelero } from "../core/location-sample.ts";
import { sample } from "../core/restore-sample.ts";
import { document, lifeboat } from "../e2e/lifeboat.ts";
import { makeScratch, type Scratch } from "./cli-sample.ts";

describe("looking into many backups on the command line", { concurrency: 2 }, () => {
  let scratch: Scratch;
  let env: Record<string, string>;
  before(async () => {
    scratch = await makeScratch();
    env = { LIFEBOAT_LOCATION: scratch.path("bucket"), NODE_COMPILE_CACHE: scratch.path("cache") };
    const bucket = directoryBucket(scratch.path("bucket"));
    const web = (image: string, readyReplicas = 1): KubernetesObject =>
      sample("apps/v1", "Deployment", "shop/web", {
        spec: { template: { spec: { containers: [{ name: "web", image }] } } },
        status: { readyReplicas },
      });
    const password = sample("v1", "Secret", "shop/password", { data: { password: "c2VjcmV0" } });
    const at = (hour: number) => ({ at: `2026-11-01T0${hour}:00:00Z` });
    await putVelero(bucket, "velero", [password], at(0));
    await putBackup(bucket, "a", [password], at(1));
    await putBackup(bucket, "b", [password, web("web:1")], at(2));
    await putBackup(bucket, "c", [web("web:1", 0)], at(3));
    await putBackup(bucket, "d", [web("web:2")], at(4));
  });
  after(() => scratch?.remove());
  const run = (...args: string[]) => lifeboat(["backup", ...args], env);

  const VELERO = "Warning: without an index, as Velero's, and so not looked into: velero\n";

  it("search tells which objects are in which backups", async () => {
    const { stdout, stderr, code } = await run("search", "SHOP");
    assert.equal(
      stdout,
      `\
NAMESPACE   RESOURCE           NAME       BACKUPS   FIRST                         LAST
shop        deployments.apps   web        3         b (2026-11-01 02:00:00 UTC)   d (2026-11-01 04:00:00 UTC)
shop        secrets            password   2         a (2026-11-01 01:00:00 UTC)   b (2026-11-01 02:00:00 UTC)
`,
    );
    assert.deepEqual([stderr, code], [VELERO, 0]);
    const { objects } = await document<SearchDocument>(["backup", "search", "--image", "web:2"], env);
    assert.deepEqual(
      objects.map(({ name, first }) => [name, first.backup]),
      [["web", "d"]],
    );
  });

  it("search says what was searched where it finds nothing", async () => {
    const { stdout, stderr, code } = await run("search", "c2VjcmV0", "--kind", "secret", "--backup", "a,b");
    assert.deepEqual([stdout, code], ["", 0]);
    assert.match(
      stderr,
      /^Nothing found with text "c2VjcmV0" and kind "secret" in 2 backups of file:.*: names, namespaces, labels and images were searched, not bodies\n$/,
    );
  });

  it("history tells what became of an object", async () => {
    const { stdout, stderr, code } = await run("history", "shop/deploy/web", "--diff");
    assert.equal(
      stdout,
      `\
deployments.apps shop/web in 4 backups

  + 2026-11-01 02:00:00 UTC  appeared       b
      so in 2 backups, until c (2026-11-01 03:00:00 UTC), 2 versions by servers and controllers
  ~ 2026-11-01 04:00:00 UTC  changed        d
      spec.template.spec.containers[web].image
        - "web:1"
        + "web:2"
`,
    );
    assert.deepEqual([stderr, code], [VELERO, 0]);
    const secret = await run("history", "secret/password", "--backup", "b,c,d");
    assert.equal(
      secret.stdout,
      `\
secrets shop/password in 3 backups

  + 2026-11-01 02:00:00 UTC  there already  b
  - 2026-11-01 03:00:00 UTC  disappeared    c
      so in 2 backups, until d (2026-11-01 04:00:00 UTC)
`,
    );
    const { events } = await document<HistoryDocument>(["backup", "history", "shop/deploy/web", "--all"], env);
    assert.deepEqual(
      events.map(({ change }) => change),
      ["appeared", "changed", "changed"],
    );
  });

  const refusals: [args: string, code: number, says: string][] = [
    ["search", 2, "error: nothing is looked for\nhint: give a text, or a kind"],
    ["search web --label a=b=c", 2, "error: label selector"],
    ["search web --schedule hourly", 5, 'error: schedule "hourly" has no backup in file://'],
    ["history web", 2, 'error: "web" names no object'],
    ["history shop/deploy/wbe", 5, 'error: backup "d" doesn\'t hold "shop/deploy/wbe"\nhint: it holds shop/deploy/web'],
    ["history shop/deploy/web --backup e", 5, 'error: there is no backup "e"'],
  ];
  for (const [args, code, says] of refusals) {
    it(`refuses ${args}`, async () => {
      const ended = await run(...args.split(" "));
      assert.equal(ended.code, code, ended.stderr);
      assert.ok(ended.stderr.startsWith(says), ended.stderr);
      assert.equal(ended.stdout, "");
    });
  }
});
