import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { SKIPS } from "../../core/skips.ts";
import { writes } from "../rig/audit.ts";
import { type Cluster, startCluster, WITH_CONTROLLERS } from "../rig/cluster.ts";
import { requireOrSkip } from "../rig/require.ts";
import { applyShop } from "../rig/shop.ts";
import { type BackupDocument, document, lifeboat, type RestoreDocument } from "./lifeboat.ts";
import { names, type Objects, objectsAt, objectsIn } from "./objects.ts";

const PODS = "/api/v1/pods";
const REPLICA_SETS = "/apis/apps/v1/replicasets";

describe("a whole cluster, into another one", { skip: requireOrSkip("rig", WITH_CONTROLLERS) }, () => {
  let source: Cluster;
  let target: Cluster;
  let dir: string;
  let backup: BackupDocument;
  let archived: Objects;
  let location: string;

  before(async () => {
    [source, target] = await Promise.all([
      startCluster({ controllers: true }),
      startCluster({ controllers: true, audit: true }),
    ]);
    await applyShop(source);
    await source.api.request("POST", "/api/v1/namespaces/shop/configmaps", terminating());
    await source.api.request("DELETE", "/api/v1/namespaces/shop/configmaps/terminating");
    dir = await mkdtemp(join(tmpdir(), "lifeboat-whole-"));
    location = `file://${dir}`;
    backup = await document([
      "backup",
      "create",
      "full",
      "--location",
      location,
      "--kubeconfig",
      source.kubeconfigPath,
    ]);
    archived = await objectsIn(join(dir, "backups/full/full.tar.gz"));
  });

  after(async () => {
    await Promise.all([source?.stop(), target?.stop()]);
    if (dir) await rm(dir, { recursive: true });
  });

  const restore = (name: string, ...flags: string[]) =>
    document<RestoreDocument>([
      "restore",
      "create",
      name,
      "--from-backup",
      "full",
      "--location",
      location,
      "--kubeconfig",
      target.kubeconfigPath,
      ...flags,
    ]);

  it("stores exactly the objects that LISTs at its own revision return", async () => {
    assert.equal(backup.phase, "Completed");
    assert.deepEqual(backup.consistency, {
      grade: "exact",
      resourceVersion: backup.consistency.resourceVersion,
      exceptions: [],
    });
    const expected = await objectsAt(source, backup.consistency.resourceVersion);
    for (const [key, { metadata }] of expected) {
      const labels = (metadata.labels ?? {}) as Record<string, string>;
      if (labels["velero.io/exclude-from-backup"] === "true" || metadata.deletionTimestamp) expected.delete(key);
    }
    const events = (key: string) => key.startsWith("events ");
    assert.deepEqual(
      [...archived.keys()].filter((key) => !events(key)).sort(),
      [...expected.keys()].filter((key) => !events(key)).sort(),
    );
    for (const [key, object] of expected) if (!events(key)) assert.deepEqual(archived.get(key), object);
    for (const key of expected.keys()) assert.ok(archived.has(key), `${key} is missing`);
    assert.equal(backup.items, archived.size);
  });

  it("finds nothing that a restore would miss but what stays on nodes: volumes of a server are found again", async () => {
    const describing = (...flags: string[]) => ["backup", "describe", "full", "--location", location, ...flags];
    assert.match(
      (await lifeboat(describing())).stdout,
      /^Volumes: +3 left where they are\n(.*\n)*Findings: {2}2, which/m,
    );
    const { findings } = await document<{ findings: { rule: string; name: string }[] }>(describing("--details"));
    assert.deepEqual(
      findings.map(({ rule, name }) => `${rule} ${name}`),
      ["claim-without-data data-db-0", "claim-without-data data-db-1"],
    );
    assert.match(
      (await lifeboat(describing("--details"))).stdout,
      /^Volumes:\n( {2}shop\S+ +not copied: its data stay where they are, on the (node|NFS server)\n){3}/m,
    );
  });

  it("restores every object, or says from a table why not", async () => {
    const restored = await restore("first");
    assert.deepEqual([restored.phase, restored.errors], ["Completed", []]);
    const told = (restored.warnings as { name: string; message: string }[]).map(
      ({ name, message }) => `${name}: ${message}`,
    );
    const onNodes = [0, 1].map((at) => {
      const path = `/var/lib/shop/disk-${at}`;
      return `disk-${at}: it is ${path} of a node: what the source's node has there doesn't come along`;
    });
    const shared =
      "media: it binds to the volume media that the backup's claim used, not to a copy of it: stop what uses that first";
    assert.deepEqual(told.sort(), [...onNodes, shared]);
    const { counts } = restored;
    assert.equal(counts.failed + counts.blocked + counts.updated, 0);
    assert.equal(counts.created + counts.skipped, archived.size);
    assert.ok(counts.created > 40, `only ${counts.created} created`);
    const { stdout } = await lifeboat(["restore", "logs", "first", "--location", location]);
    const reasons = [...stdout.matchAll(/msg=".*?: skipped: (.*?)"/g)].map(([, reason]) => reason);
    assert.equal(reasons.length, counts.skipped);
    const tabled = new Set([...SKIPS.map(({ why }) => why), "exists, equal"]);
    assert.deepEqual(
      reasons.filter((reason) => !tabled.has(reason!)),
      [],
    );
  });

  it("brings back the same Pods and ReplicaSets, and controllers make none beside them", async () => {
    await delay(30_000);
    const expected = (resource: string) =>
      [...archived]
        .filter(([key, object]) => key.startsWith(`${resource} `) && !isFinishedOrOfJob(object))
        .map(([key]) => key.slice(resource.length + 1))
        .sort();
    assert.deepEqual(await names(target, PODS), expected("pods"));
    assert.deepEqual(await names(target, REPLICA_SETS), expected("replicasets.apps"));
  });

  for (const policy of ["none", "update"]) {
    it(`writes nothing when restored again with policy ${policy}`, async () => {
      const before = writes(await target.audit(), "admin").length;
      const restored = await restore(`again-${policy}`, "--existing-resource-policy", policy);
      assert.deepEqual(
        { phase: restored.phase, warnings: restored.warnings, errors: restored.errors },
        { phase: "Completed", warnings: [], errors: [] },
      );
      assert.equal(restored.counts.created + restored.counts.updated, 0);
      assert.deepEqual(
        writes(await target.audit(), "admin")
          .slice(before)
          .map(({ verb, requestURI }) => `${verb} ${requestURI}`),
        [],
      );
    });
  }

  it("leaves garbage collection working: a deleted Deployment takes its ReplicaSets and Pods with it", async () => {
    await target.api.request("DELETE", "/apis/apps/v1/namespaces/shop/deployments/web");
    const left = async () =>
      [...(await names(target, PODS)), ...(await names(target, REPLICA_SETS))].filter((name) =>
        name.startsWith("shop/web-"),
      );
    for (let tries = 0; (await left()).length > 0; tries++) {
      assert.ok(tries < 100, `still there: ${await left()}`);
      await delay(200);
    }
  });
});

function terminating(): object {
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "terminating", namespace: "shop", finalizers: ["example.com/hold"] },
  };
}

function isFinishedOrOfJob(object: { metadata: object; status?: unknown }): boolean {
  const { phase } = (object.status ?? {}) as { phase?: string };
  const { ownerReferences = [] } = object.metadata as { ownerReferences?: { kind: string }[] };
  return phase === "Succeeded" || phase === "Failed" || ownerReferences.some(({ kind }) => kind === "Job");
}
