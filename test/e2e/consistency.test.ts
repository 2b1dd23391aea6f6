import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { seed } from "../rig/seed.ts";
import { startVelero, VELERO } from "../rig/velero.ts";
import { type BackupDocument, document } from "./lifeboat.ts";
import { objectsIn } from "./objects.ts";

const BACKUPS = process.env.SOAK ? 100 : 6;

describe("a backup is one point in time", { skip: requireOrSkip("rig", [...CONTROL_PLANE, ...VELERO]) }, () => {
  let cluster: Cluster;
  let s3: S3;
  let dir: string;

  before(async () => {
    [cluster, s3] = await Promise.all([startCluster(), startS3()]);
    await seed(cluster, { objects: 3000 });
    dir = await mkdtemp(join(tmpdir(), "lifeboat-consistency-"));
  });
  after(async () => {
    await Promise.all([cluster?.stop(), s3?.stop()]);
    if (dir) await rm(dir, { recursive: true });
  });

  it("never holds an object without the one it was made after", async (t) => {
    const writer = startWriter(cluster);
    try {
      for (let run = 0; run < BACKUPS; run++) {
        const name = `run-${run}`;
        const { consistency } = await document<BackupDocument>([
          "backup",
          "create",
          name,
          "--location",
          `file://${dir}`,
          "--kubeconfig",
          cluster.kubeconfigPath,
        ]);
        assert.equal(consistency.grade, "exact");
        const { orphans, pairs } = await countPairs(join(dir, `backups/${name}/${name}.tar.gz`));
        assert.deepEqual(orphans, []);
        assert.ok(pairs > 0, "the writer was not seen at work");
      }
      const velero = await startVelero(cluster, s3, "velero");
      try {
        await velero.createBackup("beside", { includeClusterResources: true, snapshotVolumes: false });
      } finally {
        await velero.stop();
      }
      const { orphans, pairs } = await countPairs(
        join(s3.dir, "data", s3.bucket, "velero/backups/beside/beside.tar.gz"),
      );
      t.diagnostic(
        `of ${BACKUPS} backups of Lifeboat none held B without A; one of Velero on the same load: ${orphans.length} B without A beside ${pairs} pairs`,
      );
    } finally {
      await writer.stop();
    }
  });
});

/** Keeps creating ConfigMap a-N and then Secret b-N that names it; of what is older than 50 pairs it deletes b, then a. */
function startWriter({ api }: Cluster): { stop(): Promise<void> } {
  let stopped = false;
  const core = "/api/v1/namespaces/default";
  const object = (kind: string, name: string) => ({ apiVersion: "v1", kind, metadata: { name } });
  const work = async () => {
    for (let n = 0; !stopped; n++) {
      await api.request("POST", `${core}/configmaps`, object("ConfigMap", `a-${n}`));
      await api.request("POST", `${core}/secrets`, object("Secret", `b-${n}`));
      if (n < 50) continue;
      await api.request("DELETE", `${core}/secrets/b-${n - 50}`);
      await api.request("DELETE", `${core}/configmaps/a-${n - 50}`);
    }
  };
  const done = work();
  return {
    stop: async () => {
      stopped = true;
      await done;
    },
  };
}

async function countPairs(archive: string): Promise<{ orphans: string[]; pairs: number }> {
  const objects = await objectsIn(archive);
  const secrets = [...objects.keys()].filter((key) => key.startsWith("secrets default/b-"));
  const orphans = secrets.filter((key) => !objects.has(key.replace("secrets default/b-", "configmaps default/a-")));
  return { orphans, pairs: secrets.length - orphans.length };
}
