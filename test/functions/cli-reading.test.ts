import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { parse } from "yaml";
import type { DiffDocument, KubernetesObject } from "../../core/index.ts";
import { document, lifeboat } from "../e2e/lifeboat.ts";
import { makeScratch, type Scratch, shop, startCluster } from "./cli-sample.ts";

describe("reading backups on the command line", { concurrency: 2 }, () => {
  let scratch: Scratch;
  let old: Awaited<ReturnType<typeof startCluster>>;
  let current: Awaited<ReturnType<typeof startCluster>>;
  let env: Record<string, string>;

  before(async () => {
    scratch = await makeScratch();
    env = { LIFEBOAT_LOCATION: scratch.path("bucket"), NODE_COMPILE_CACHE: scratch.path("cache") };
    const web = (image: string): KubernetesObject => ({
      ...{ apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "web", namespace: "shop" } },
      spec: { template: { spec: { containers: [{ name: "web", image }] } } },
    });
    old = await startCluster(scratch, "before", [...shop(8), web("web:1")]);
    current = await startCluster(scratch, "after", [...shop(1), web("web:2")]);
    await succeeds("backup", "create", "a", "--kubeconfig", old.file);
    await succeeds("backup", "create", "b", "--kubeconfig", current.file);
  });
  after(async () => {
    await Promise.all([old?.stop(), current?.stop()]);
    await scratch?.remove();
  });
  const run = (...args: string[]) => lifeboat(args, env);
  async function succeeds(...args: string[]) {
    const ended = await run(...args);
    assert.equal(ended.code, 0, ended.stderr);
    return ended;
  }

  it("show prints an object as YAML or JSON, on stdout and nothing else", async () => {
    const shown = await succeeds("backup", "show", "a", "shop/deploy/web");
    assert.equal(parse(shown.stdout).spec.template.spec.containers[0].image, "web:1");
    assert.equal(shown.stderr, "");
    const json = await succeeds("backup", "show", "a", "shop/deploy/web", "-o", "json");
    assert.deepEqual(JSON.parse(json.stdout), parse(shown.stdout));
  });

  it("show keeps a Secret's values to itself unless asked for", async () => {
    const { stdout, stderr } = await succeeds("backup", "show", "a", "shop/secret/password");
    assert.deepEqual(parse(stdout).data, { password: "(hidden)" });
    assert.equal(stderr, "The values of this Secret are hidden: --show-secrets shows them.\n");
    const open = await succeeds("backup", "show", "a", "shop/secret/password", "--show-secrets");
    assert.deepEqual([parse(open.stdout).data, open.stderr], [{ password: "c2VjcmV0" }, ""]);
  });

  it("diff tells what was changed, and in which fields", async () => {
    const { stdout } = await succeeds("backup", "diff", "a", "b", "--include-namespaces", "shop");
    assert.equal(
      stdout.replace(/\(.*UTC\)/g, "(TIME)"),
      `0 added, 7 removed, 1 changed, 5 the same

  From:  a (TIME)
  To:    b (TIME)

  ~ deployments.apps shop/web

  - configmaps (7): shop/settings-1, shop/settings-2, shop/settings-3, shop/settings-4, shop/settings-5, … and 2 more

  1 object changed: --details tells what
`,
    );
    const { stdout: detailed } = await succeeds("backup", "diff", "a", "b", "shop/deploy/web");
    assert.match(
      detailed,
      /\n {2}~ deployments.apps shop\/web\n {6}spec.template.spec.containers\[web\].image\n {8}- "web:1"\n {8}\+ "web:2"\n$/,
    );
  });

  it("diff with a cluster is the same document", async () => {
    const live = ["backup", "diff", "a", "--live", "--kubeconfig", current.file, "--details"];
    const one = await document<DiffDocument>(live, env);
    const other = await document<DiffDocument>(["backup", "diff", "a", "b", "--details"], env);
    assert.deepEqual(one.objects, other.objects);
    assert.deepEqual(one.counts, other.counts);
    assert.match(one.to.cluster!, /^lifeboat \(http/);
  });

  const refusals: [args: string, code: number, says: string][] = [
    ["show none shop/deploy/web", 5, 'error: there is no backup "none" in file://'],
    ["show a web", 2, 'error: "web" names no object'],
    ["show a shop/deploy/wbe", 5, 'error: backup "a" doesn\'t hold "shop/deploy/wbe"\nhint: it holds shop/deploy/web'],
    ["show a shop/deplyo/web", 5, 'error: backup "a" holds no kind "deplyo"\nhint: did you mean deploy?'],
    [
      "diff a",
      2,
      "error: a backup is compared with another one, or with a cluster\nhint: give a second backup's name, or --live",
    ],
    ["diff a b c", 2, 'error: "c" is one name too many'],
    ["diff a b shop/deploy/web -l app=web", 2, "error: a single object needs no filters"],
    ["diff a b --include-namespaces shpo", 5, 'error: neither of the two holds anything of the namespace "shpo"'],
  ];
  for (const [args, code, says] of refusals) {
    it(`refuses ${args}`, async () => {
      const ended = await run("backup", ...args.split(" "));
      assert.equal(ended.code, code, ended.stderr);
      assert.ok(ended.stderr.startsWith(says), ended.stderr);
      assert.equal(ended.stdout, "");
    });
  }
});
