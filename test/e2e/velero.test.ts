import assert from "node:assert/strict";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { VerifyDocument } from "../../core/index.ts";
import { type Cluster, startCluster, WITH_CONTROLLERS } from "../rig/cluster.ts";
import { requireOrSkip, sharedDir } from "../rig/require.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { applyShop, WARNED } from "../rig/shop.ts";
import { startVelero, VELERO } from "../rig/velero.ts";
import { document, lifeboat, type RestoreDocument } from "./lifeboat.ts";

const GOLDEN = join(import.meta.dirname, "../golden/velero-1.18.3-not-created.txt");
const rig = requireOrSkip("rig", [...WITH_CONTROLLERS, ...VELERO]);

describe("interchange with real Velero 1.18.3", { skip: rig }, () => {
  let source: Cluster;
  let target: Cluster;
  let s3: S3;

  before(async () => {
    [source, target, s3] = await Promise.all([
      startCluster({ controllers: true }),
      startCluster({ controllers: true }),
      startS3(),
    ]);
    await applyShop(source);
  });
  after(async () => {
    await Promise.all([source?.stop(), target?.stop(), s3?.stop()]);
  });

  it("Velero finds our backup, describes it, prints its log and restores it without an error", async () => {
    const flags = ["--location", s3.location("shared"), "--kubeconfig", source.kubeconfigPath];
    const backup = await document<{ items: number }>(["backup", "create", "ours", ...flags], s3.env);
    const velero = await startVelero(target, s3, "shared");
    try {
      const synced = await velero.waitForSyncedBackup("ours");
      assert.equal(synced.status?.phase, "Completed");
      const described = await velero.cli(["backup", "describe", "ours", "--details"]);
      assert.match(described, /Phase:\s+Completed/);
      assert.match(described, new RegExp(`Items backed up:\\s+${backup.items}`));
      assert.match(described, /apps\/v1\/Deployment:\n(\s+- .*\n)*\s+- shop\/web\n/);
      assert.doesNotMatch(described, /error|not found/i);
      assert.match(await velero.cli(["backup", "logs", "ours"]), /Backed up a total of/);

      const restored = await velero.createRestore("theirs", { backupName: "ours" });
      const details = await velero.cli(["restore", "describe", "theirs"]);
      assert.equal(restored.status?.phase, "Completed", details);
      await document<VerifyDocument>(["backup", "verify", "ours", "--read-data", ...flags.slice(0, 2)], s3.env);
      assert.equal(restored.status?.errors ?? 0, 0, details);
      const web = await target.api.request<{ kind: string } & Record<string, never>>(
        "GET",
        "/apis/apps/v1/namespaces/shop/deployments/web",
      );
      assert.equal(web.kind, "Deployment");
    } finally {
      await velero.stop();
    }
  });

  it("we restore Velero's backup without an error", async () => {
    const velero = await startVelero(source, s3, "theirs");
    try {
      const made = await velero.createBackup("velero-made", { includeClusterResources: true, snapshotVolumes: false });
      assert.equal(made.status?.phase, "Completed");
    } finally {
      await velero.stop();
    }
    const verifying = ["backup", "verify", "velero-made", "--read-data", "--location", s3.location("theirs")];
    const { ok, damaged, unchecked } = await document<VerifyDocument>(verifying, s3.env);
    assert.deepEqual([ok, damaged, unchecked.length], [true, [], 1]);
    assert.match(unchecked[0]!, /no digests/);
    const empty = await startCluster({ controllers: true });
    try {
      const flags = ["--location", s3.location("theirs"), "--kubeconfig", empty.kubeconfigPath];
      const restored = await document<RestoreDocument>(
        ["restore", "create", "ours", "--from-backup", "velero-made", ...flags],
        s3.env,
      );
      assert.deepEqual([restored.phase, restored.errors], ["Completed", []]);
      assert.deepEqual((restored.warnings as { name: string }[]).map(({ name }) => name).sort(), WARNED);
      assert.equal(restored.counts.failed + restored.counts.blocked, 0);
      assert.ok(restored.counts.created > 50);
    } finally {
      await empty.stop();
    }
  });
});

describe("a backup that Velero 1.18.3 wrote elsewhere", { skip: rig || requireOrSkip("shared") }, () => {
  it("is restored with no failure, and what is not created has a tabled reason", async () => {
    const dir = await mkdtemp(join(tmpdir(), "lifeboat-fixture-"));
    const cluster = await startCluster({ controllers: true });
    try {
      await cp(join(sharedDir, "fixtures/velero-1.18.3"), dir, { recursive: true, mode: 0 });
      const flags = ["--location", `file://${dir}`, "--kubeconfig", cluster.kubeconfigPath];
      const restored = await document<RestoreDocument>([
        "restore",
        "create",
        "fixture",
        "--from-backup",
        "shop",
        ...flags,
      ]);
      assert.deepEqual({ phase: restored.phase, errors: restored.errors }, { phase: "Completed", errors: [] });
      assert.equal(restored.counts.failed, 0);
      const { stdout } = await lifeboat(["restore", "logs", "fixture", "--location", `file://${dir}`]);
      const notCreated = [...stdout.matchAll(/msg="(.*?): (skipped|blocked): (.*?)"/g)]
        .map(([, object, action, reason]) => `${object}: ${action}: ${reason}`)
        // Whether the cluster's own controllers were faster to make it is chance.
        .filter((line) => line !== "serviceaccounts shop/default: skipped: exists, equal")
        .sort();
      if (process.env.UPDATE_GOLDEN) await writeFile(GOLDEN, `${notCreated.join("\n")}\n`);
      assert.equal(`${notCreated.join("\n")}\n`, await readFile(GOLDEN, "utf8"));
    } finally {
      await cluster.stop();
      await rm(dir, { recursive: true });
    }
  });
});
