import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { type S3Proxy, startS3Proxy } from "../rig/s3proxy.ts";
import { applyShop } from "../rig/shop.ts";
import { type BackupDocument, document, lifeboat, type RestoreDocument } from "./lifeboat.ts";

/**
 * What a bucket policy refuses that allows `s3:PutObject` only with `If-None-Match: *` (the condition key
 * s3:if-none-match) and nothing that deletes.
 */
function createOnly({ method = "", url = "", headers }: IncomingMessage): "pass" | "deny" {
  if (method === "DELETE" && !url.includes("uploadId=")) return "deny";
  const query = new URL(url, "http://s3").searchParams;
  const finishes = (method === "PUT" && !query.has("partNumber")) || (method === "POST" && query.has("uploadId"));
  return finishes && headers["if-none-match"] !== "*" ? "deny" : "pass";
}

describe("write-once", { skip: requireOrSkip("rig", [...CONTROL_PLANE, "versitygw"]) }, () => {
  let source: Cluster;
  let target: Cluster;
  let s3: S3;
  let locked: S3;
  let proxy: S3Proxy;
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "lifeboat-write-once-"));
    [source, target, s3, locked] = await Promise.all([
      startCluster(),
      startCluster(),
      startS3(),
      startS3({ objectLock: true }),
    ]);
    proxy = await startS3Proxy(s3, createOnly);
    await applyShop(source);
  });
  after(async () => {
    await proxy?.stop();
    await rm(dir, { recursive: true, force: true });
    await Promise.all([source?.stop(), target?.stop(), s3?.stop(), locked?.stop()]);
  });

  const at = (cluster: Cluster, location: string) => ["--kubeconfig", cluster.kubeconfigPath, "--location", location];

  it("a credential that can create and read, but neither overwrite nor delete, is enough to back up and to restore", async () => {
    const location = proxy.location("create-only");
    const backup = await document<BackupDocument>(["backup", "create", "b", ...at(source, location)], s3.env);
    assert.deepEqual([backup.phase, backup.errors], ["Completed", []]);
    const restore = ["restore", "create", "r", "--from-backup", "b", ...at(target, location)];
    const restored = await document<RestoreDocument>(restore, s3.env);
    assert.deepEqual([restored.phase, restored.errors], ["Completed", []]);
    assert.ok(restored.counts.created > 20);
    const denied = await lifeboat(["backup", "delete", "b", "--confirm", "--location", location], s3.env);
    assert.equal(denied.code, 4);
    assert.equal(
      (await document<BackupDocument>(["backup", "get", "b", "--location", location], s3.env)).phase,
      "Completed",
    );
  });

  it("a retained backup is restored, and deleted by nobody till its time is over", async () => {
    const location = locked.location("locked");
    const create = ["backup", "create", "b", "--retain-until", "15s", ...at(source, location)];
    const backup = await document<BackupDocument & { retainedUntil: string }>(create, locked.env);
    assert.equal(backup.phase, "Completed");
    const restore = ["restore", "create", "r2", "--from-backup", "b", ...at(target, location)];
    assert.equal((await document<RestoreDocument>(restore, locked.env)).phase, "Completed");
    const remove = ["backup", "delete", "b", "--confirm", "--location", location];
    const denied = await lifeboat(remove, locked.env);
    assert.deepEqual(
      [denied.code, denied.stderr.includes(`is retained until ${backup.retainedUntil}`)],
      [4, true],
      denied.stderr,
    );
    await new Promise((resolve) => setTimeout(resolve, Date.parse(backup.retainedUntil) - Date.now() + 1000));
    assert.equal((await lifeboat(remove, locked.env)).code, 0);
  });

  it("a bucket that can't hold objects stores none of a backup that is to be retained", async () => {
    const location = s3.location("not-locked");
    const { code, stderr } = await lifeboat(
      ["backup", "create", "b", "--retain-until", "720h", ...at(source, location)],
      s3.env,
    );
    assert.deepEqual([code, /ObjectLock/.test(stderr)], [2, true], stderr);
    assert.equal((await lifeboat(["backup", "get", "b", "--location", location], s3.env)).code, 5);
  });

  /** Makes backups of an hourly schedule that began so many hours ago, and gives what retention needs to be run. */
  async function aged(location: string, env: Readonly<Record<string, string>>, hours: number[], template = {}) {
    const config = join(dir, `${randomUUID()}.yaml`);
    const cluster = { kubeconfig: `file:${source.kubeconfigPath}` };
    const schedule = { schedule: "@hourly", cluster: "prod", template, retention: { keepLast: 1 } };
    await writeFile(config, JSON.stringify({ location, clusters: { prod: cluster }, schedules: { hourly: schedule } }));
    for (const ago of hours) {
      const shifted = join(dir, `${ago}.mjs`);
      await writeFile(
        shifted,
        `const now = Date.now; const ago = ${ago * 3_600_000};
globalThis.Date = class extends Date { constructor(...given) { given.length ? super(...given) : super(now() - ago); } static now() { return now() - ago; } };
`,
      );
      const made = await lifeboat(["schedule", "run", "hourly", "--config", config], {
        ...env,
        NODE_OPTIONS: `--import ${shifted}`,
      });
      assert.equal(made.code, 0, made.stderr);
    }
    const backups = async () => {
      const { stdout } = await lifeboat(["backup", "get", "--location", location, "-o", "json"], env);
      return (JSON.parse(stdout).backups as { name: string }[]).length;
    };
    return { config, backups };
  }

  it("retention with such a credential deletes nothing, and says so; with one that may delete it deletes what goes", async () => {
    const { config, backups } = await aged(s3.location("aged"), s3.env, [4, 3, 2]);
    const denied = await lifeboat(["retention", "run", "--yes", "--config", config], {
      ...s3.env,
      LIFEBOAT_LOCATION: proxy.location("aged"),
    });
    assert.deepEqual([denied.code, await backups()], [3, 3], denied.stderr);
    const done = await lifeboat(["retention", "run", "--yes", "--config", config], s3.env);
    assert.deepEqual([done.code, await backups()], [0, 1], done.stderr);
  });

  it("retention leaves what the bucket holds, deletes the rest, and has not failed", async () => {
    const location = locked.location("aged");
    await aged(location, locked.env, [5], { retainFor: "720h" });
    const { config, backups } = await aged(location, locked.env, [4, 2]);
    const done = await lifeboat(["retention", "run", "--yes", "--config", config], locked.env);
    assert.deepEqual([done.code, await backups()], [0, 2], done.stderr);
  });

  it("such a credential is enough to undo a restore", async () => {
    const undo = ["restore", "undo", "r", "--yes", ...at(target, proxy.location("create-only"))];
    assert.equal((await document<RestoreDocument>(undo, s3.env)).phase, "Completed");
  });
});
