import assert from "node:assert/strict";
import { describe, test } from "node:test";
import pLimit from "p-limit";
import { abortedAfter } from "../../core/abort.ts";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { snapshotClass } from "../../core/volumes/csi/classes.ts";
import { csiRun } from "../../core/volumes/csi/run.ts";
import { LeftoverError } from "../../core/volumes/leftover.ts";
import { moveData } from "../../core/volumes/moved.ts";
import { type Answer, client, hang, json, type ScriptedServer, serve, status } from "./kube-server.ts";

const driver = "ebs.csi.aws.com";
const claim: KubernetesObject = {
  ...{ apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { namespace: "shop", name: "data", uid: "1" } },
  spec: { volumeName: "pvc-1", resources: { requests: { storage: "1Gi" } } },
};
const volume: KubernetesObject = {
  ...{ apiVersion: "v1", kind: "PersistentVolume", metadata: { name: "pvc-1" } },
  spec: { capacity: { storage: "1Gi" }, csi: { driver, volumeHandle: "vol-1" } },
};
const chosen = snapshotClass({
  ...{ apiVersion: "snapshot.storage.k8s.io/v1", kind: "VolumeSnapshotClass", metadata: { name: "a" } },
  ...{ driver, deletionPolicy: "Delete" },
});

/** A cluster whose driver cuts snapshots at once, and from which nothing goes: `deleting` is how it answers. */
function keepingAll(deleting: Answer): Promise<ScriptedServer> {
  const made: KubernetesObject[] = [];
  const cut = { creationTime: "2026-11-27T01:00:00Z", readyToUse: true, boundVolumeSnapshotContentName: "content" };
  const content = {
    ...{ metadata: { name: "content" }, spec: { driver, deletionPolicy: "Delete" } },
    status: { snapshotHandle: "snap-1", readyToUse: true },
  };
  return serve((request, response, body) => {
    const { method, url = "" } = request;
    const give = (answer: Answer) => answer(request, response, body);
    const contents = url.includes("/volumesnapshotcontents");
    if (method === "POST") {
      const wanted: KubernetesObject = JSON.parse(body);
      const uid = String(made.length);
      made.push({ ...wanted, metadata: { ...wanted.metadata, uid }, status: uid === "0" ? cut : { phase: "Pending" } });
      return give(json(201, made.at(-1)));
    }
    if (url.includes("labelSelector=")) {
      const items = contents ? [content] : made.filter(({ kind }) => kind === "VolumeSnapshot");
      return give(json(200, { kind: "List", metadata: { resourceVersion: "1" }, items }));
    }
    const live = contents ? content : made.find(({ metadata }) => url.includes(`/${metadata.name}`));
    if (!live) return give(status(404, "NotFound", "no"));
    return give(method === "DELETE" ? deleting : json(200, live));
  });
}

describe("data that are moved when the run ends", () => {
  const cases: { title: string; deleting: Answer }[] = [
    { title: "that doesn't go", deleting: json(200, {}) },
    { title: "whose deletion is not answered", deleting: hang },
  ];
  for (const { title, deleting } of cases)
    test(`are told of by name: both the claim and the snapshot ${title}`, async () => {
      await using server = await keepingAll(deleting);
      await using kube = client(server);
      const over = new AbortController();
      const patience = { removeMs: 200, pollMs: 10 };
      const run = csiRun(kube, { backupName: "nightly", location: "file:///b", signal: over.signal, ...patience });
      const copyFiles = () => {
        const ended = Promise.reject(new Error("the run has ended"));
        over.abort(new Error("the run has ended"));
        return { fixed: ended, done: ended, doing: () => undefined };
      };
      const moving = moveData({ run, source: { claim, volume }, chosen, copyFiles, limit: pLimit(1) });
      await assert.rejects(moving.done, (error) => {
        assert.ok(error instanceof LeftoverError, String(error));
        for (const what of [/PersistentVolumeClaim shop\/lifeboat-data-/, /VolumeSnapshot shop\/velero-data-/])
          assert.match(error.left, what);
        return true;
      });
    });
});

test("what may take some time after a run has no end before the run has", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const over = new AbortController();
  using late = abortedAfter(over.signal, 1000);
  t.mock.timers.tick(5000);
  assert.equal(late.signal.aborted, false);
  over.abort();
  t.mock.timers.tick(999);
  assert.equal(late.signal.aborted, false);
  t.mock.timers.tick(1);
  assert.equal(late.signal.aborted, true);
});
