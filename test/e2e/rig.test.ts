import assert from "node:assert/strict";
import { test } from "node:test";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { type Cluster, startCluster, WITH_CONTROLLERS } from "../rig/cluster.ts";
import { until } from "../rig/process.ts";
import { requireOrSkip } from "../rig/require.ts";
import { startS3 } from "../rig/s3.ts";
import { startVelero, VELERO } from "../rig/velero.ts";

test("a Deployment of two replicas gets its ReplicaSet and running Pods", {
  skip: requireOrSkip("rig", WITH_CONTROLLERS),
}, async () => {
  await using cluster = await startCluster({ controllers: true });
  await runTwoPods(cluster);
  const replicaSets = await cluster.kubectl([
    "get",
    "replicasets",
    "-o",
    "jsonpath={.items[*].metadata.ownerReferences[0].name}",
  ]);
  assert.equal(replicaSets, "web");
});

test("of racing conditional puts one wins", { skip: requireOrSkip("rig", ["versitygw"]) }, async () => {
  await using s3 = await startS3();
  const client = new S3Client({ endpoint: s3.endpoint, region: s3.region, forcePathStyle: true, credentials: s3 });
  const put = (Body: string) =>
    client.send(new PutObjectCommand({ Bucket: s3.bucket, Key: "lock", Body, IfNoneMatch: "*" }));
  const results = await Promise.allSettled(["one", "two", "three"].map(put));
  client.destroy();
  const refusals = results.flatMap((result) => (result.status === "rejected" ? [String(result.reason.name)] : []));
  assert.deepEqual(refusals, ["PreconditionFailed", "PreconditionFailed"]);
});

test("real Velero backs up and describes", {
  skip: requireOrSkip("rig", [...WITH_CONTROLLERS, ...VELERO]),
}, async () => {
  await using cluster = await startCluster({ controllers: true });
  await using s3 = await startS3();
  await using velero = await startVelero(cluster, s3, "prefix");
  await runTwoPods(cluster);
  const backup = await velero.createBackup("first", { includedNamespaces: ["default"] });
  assert.equal(backup.status?.phase, "Completed");
  assert.match(
    await velero.cli(["backup", "describe", "first", "--details"]),
    /apps\/v1\/Deployment:\n\s+- default\/web/,
  );
});

async function runTwoPods(cluster: Cluster): Promise<void> {
  await cluster.kubectl(["create", "deployment", "web", "--image=registry.example.com/web:1", "--replicas=2"]);
  const phases = () => cluster.kubectl(["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].status.phase}"]);
  await until("two running Pods", async () => (await phases()) === "Running Running", { everyMs: 200 });
}
