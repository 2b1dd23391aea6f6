import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { gunzipSync } from "node:zlib";
import { readBackup, readRestore, restoreKeysOf } from "../../core/catalog.ts";
import { readObject } from "../../core/contents.ts";
import { readResourceList } from "../../core/documents.ts";
import { isLifeboatError } from "../../core/errors.ts";
import { readOutcomes } from "../../core/restore/outcomes.ts";
import type { JobFailed } from "../../core/verdict.ts";
import { directoryBucket } from "../../functions/cli/bucket.ts";
import type { KubeObject } from "../rig/api.ts";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { until } from "../rig/process.ts";
import { requireOrSkip } from "../rig/require.ts";
import { seed } from "../rig/seed.ts";
import { type Objects, objectsAt, objectsIn } from "./objects.ts";
import { runSlice, type SliceWish } from "./slice.ts";

const OBJECTS = process.env.SOAK ? 20_000 : 2_000;
const RUNS = process.env.SOAK ? 200 : 20;
const DEADLINES = process.env.SOAK ? [1_000, 2_000, 5_000] : [300, 500, 900];
/** Of the slices of every second run, those that are killed. */
const KILLED = 1 / 3;
/** Of so many backups one is restored, in slices too, into a cluster of its own: an odd number, so that some of these are killed. */
const RESTORED = process.env.SOAK ? 9 : 7;

/** Nobody kills it, so its lock need not lapse soon. */
const UNCUT = { deadlineMs: undefined, lockMs: 180_000 };

/** A ConfigMap that API servers write the day into on which they began: two clusters may have different ones. */
const OF_TODAY = "kube-apiserver-legacy-service-account-token-tracking";

/** A list whose revision is that of the cluster. */
const NAMESPACE = "/api/v1/namespaces?limit=1";

describe("a backup in slices, and its restore", { skip: requireOrSkip("rig", CONTROL_PLANE) }, () => {
  let cluster: Cluster;
  let directory: string;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "lifeboat-slices-"));
    cluster = await startCluster();
    await seed(cluster, { objects: OBJECTS });
  });
  after(async () => {
    await cluster?.stop();
    if (directory) await rm(directory, { recursive: true });
  });

  const bucket = () => directoryBucket(directory);
  const listed = () => Array.fromAsync(bucket().list("")).then((all) => all.flatMap(({ key = [] }) => key));

  /** A slice in a process of its own that is killed at some moment, unless it has ended before. */
  async function killedSlice(wish: Wish): Promise<void> {
    const child = fork(join(import.meta.dirname, "slice.ts"), [JSON.stringify(wish)], { stdio: "ignore" });
    const ended = once(child, "exit");
    await Promise.race([once(child, "message"), ended]);
    await Promise.race([delay(Math.random() * wish.deadlineMs), ended]);
    child.kill("SIGKILL");
    await ended;
  }

  const wishOf = (job: Wish["job"], deadlineMs: number, { kubeconfigPath } = cluster): Wish => ({
    ...{ directory, kubeconfig: kubeconfigPath, job, deadlineMs },
  });

  /** Runs slices until the backup or restore is recorded. Gives how many there were, and how many of them were killed. */
  async function sliced(wish: Wish, kills = false) {
    const { kind, name } = wish.job;
    const record = kind === "backup" ? `backups/${name}/velero-backup.json` : `restores/${name}/lifeboat-restore.json`;
    for (let slices = 1, killed = 0; ; slices++) {
      if ((await listed()).includes(record)) return { slices: slices - 1, killed };
      if (kills && Math.random() < KILLED) {
        killed++;
        await killedSlice(wish);
        continue;
      }
      try {
        const { phase, next } = await runSlice(wish);
        assert.ok(phase === "Completed" || next, "it ended, and nothing is left to do");
      } catch (error) {
        // A busy machine needs more time for the least that a slice does.
        if (wasShort(error)) wish.deadlineMs *= 1.5;
      }
    }
  }

  /** What a recorded restore tells, and the cluster has then; what differs between any two aside. */
  async function restored(target: Cluster, name: string) {
    const record = await readRestore(bucket(), name);
    const { resourceVersion } = (await target.api.request<KubeObject>("GET", NAMESPACE)).metadata;
    const outcomes = (await readOutcomes(bucket(), record))!.filter(({ name }) => name !== OF_TODAY);
    const results = gunzipSync(await readObject(bucket(), restoreKeysOf(record).results));
    const list = await readResourceList(bucket(), restoreKeysOf(record).resourceList);
    return {
      phase: record.status.phase,
      counts: record.metadata.annotations?.["lifeboat/counts"],
      results: results.toString(),
      outcomes: outcomes.map((outcome) => JSON.stringify(outcome)).sort(),
      list,
      objects: seeded(await objectsAt(target, String(resourceVersion))),
    };
  }

  /** Restores a backup, in slices where there is a deadline, into a cluster that is then ended. */
  async function restoredInto(backupName: string, name: string, cut?: { deadlineMs: number; kills: boolean }) {
    await using target = await startCluster();
    const job = { kind: "restore", name, spec: { backupName } } as const;
    const { deadlineMs, kills } = cut ?? { deadlineMs: 0, kills: false };
    const wish = wishOf(job, deadlineMs, target);
    if (!cut) await runSlice({ ...wish, ...UNCUT });
    const made = cut ? await sliced(wish, kills) : { slices: 1, killed: 0 };
    return { ...made, result: await restored(target, name) };
  }

  const one = { slices: 0, killed: 0 };
  const add = (counts: typeof one, made: typeof one) => {
    counts.slices += made.slices;
    counts.killed += made.killed;
  };

  it(`of ${OBJECTS} objects is what the server had, whatever its deadline, and killed at random: ${RUNS} runs`, async (t) => {
    const [backups, restores] = [{ ...one }, { ...one }];
    let whole: Awaited<ReturnType<typeof restored>> | undefined;
    for (let run = 0; run < RUNS; run++) {
      const name = `run-${run}`;
      const cut = { deadlineMs: DEADLINES[run % DEADLINES.length]!, kills: run % 2 === 1 };
      add(backups, await sliced(wishOf({ kind: "backup", name }, cut.deadlineMs), cut.kills));
      const { metadata, status } = await readBackup(bucket(), name);
      assert.equal(status?.phase, "Completed");
      assert.equal(
        metadata.annotations?.["lifeboat/consistency"],
        "exact",
        metadata.annotations?.["lifeboat/exceptions"],
      );
      const there = await objectsAt(cluster, metadata.annotations!["lifeboat/resource-version"]!);
      const stored = await objectsIn(join(directory, `backups/${name}/${name}.tar.gz`));
      assert.deepEqual(differing(stored, there), []);
      assert.equal(status?.progress?.itemsBackedUp, stored.size);
      if (run % RESTORED === 0) {
        whole ??= (await restoredInto(name, "whole")).result;
        const { result, ...made } = await restoredInto(name, name, cut);
        add(restores, made);
        assert.deepEqual(differing(result.objects, whole.objects), []);
        assert.deepEqual({ ...result, objects: [] }, { ...whole, objects: [] });
        assert.deepEqual(differing(result.objects, seeded(stored)), []);
        await rm(join(directory, "restores", name), { recursive: true });
      }
      await rm(join(directory, "backups", name), { recursive: true });
    }
    assert.ok(backups.slices > RUNS, "no backup was cut");
    assert.ok(restores.slices > RUNS / RESTORED, "no restore was cut");
    t.diagnostic(`backups: ${backups.slices} slices, ${backups.killed} of them killed`);
    t.diagnostic(`restores: ${restores.slices} slices, ${restores.killed} of them killed`);
  });

  it("goes through the platform's queue where nobody drives it", async () => {
    await runSlice({ ...wishOf({ kind: "backup", name: "queued" }, 0), ...UNCUT });
    await using target = await startCluster();
    const restore = { kind: "restore", name: "queued", spec: { backupName: "queued" } } as const;
    const queue: Wish["job"][] = [restore];
    let deadlineMs = 500;
    let delivered = 0;
    for (let job = queue.shift(); job; job = queue.shift()) {
      delivered++;
      try {
        await runSlice(wishOf(job, deadlineMs, target), (next) => queue.push(next as Wish["job"]));
      } catch (error) {
        if (wasShort(error)) deadlineMs *= 1.5;
        queue.push(job);
      }
    }
    assert.ok(delivered > 1, "it wasn't cut");
    const { status } = await readRestore(bucket(), "queued");
    assert.deepEqual([status.phase, status.errors], ["Completed", 0]);
    assert.deepEqual(
      (await listed()).filter((key) => key.startsWith("metadata/lifeboat/slices/")),
      [],
    );
  });

  it("whose revision is compacted away between two slices says so, and has each object once", async () => {
    const { resourceVersion: first } = (await cluster.api.request<KubeObject>("GET", NAMESPACE)).metadata;
    let name = "";
    for (let attempt = 0, begun = false; !begun; attempt++) {
      name = `compacted-${attempt}`;
      const wish = wishOf({ kind: "backup", name }, 200 + Math.random() * 800);
      begun = await runSlice(wish).then(
        ({ next, items = 0 }) => next !== undefined && items < OBJECTS,
        () => false,
      );
    }
    const late = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "late" } };
    await cluster.api.request("POST", "/api/v1/namespaces/default/configmaps", late);
    await cluster.compact();
    const pinned = `/api/v1/configmaps?limit=1&resourceVersion=${first}&resourceVersionMatch=Exact`;
    const isGone = () =>
      cluster.api.request("GET", pinned).then(
        () => false,
        () => true,
      );
    await until("the compaction", isGone);
    await sliced(wishOf({ kind: "backup", name }, 30_000));
    const { metadata, status } = await readBackup(bucket(), name);
    assert.equal(status?.phase, "Completed");
    assert.equal(metadata.annotations?.["lifeboat/consistency"], "mixed");
    const stored = await objectsIn(join(directory, `backups/${name}/${name}.tar.gz`));
    const { resourceVersion } = (await cluster.api.request<KubeObject>("GET", NAMESPACE)).metadata;
    assert.deepEqual(seeded(stored), seeded(await objectsAt(cluster, String(resourceVersion))));
  });
});

type Wish = SliceWish & { deadlineMs: number };

/** Whether a slice failed since its time was up before it had done the least. Throws what it should not have failed with. */
function wasShort(error: unknown): boolean {
  const { name, cause } = error as JobFailed;
  assert.equal(name, "JobFailedTryAgain", String(error));
  return isLifeboatError(cause, "timeout");
}

/** The seeded objects without what a cluster, or a restore, gives each anew. */
function seeded(objects: Objects): Objects {
  const plain = ({ metadata, status: _, ...object }: KubeObject) => {
    const { name, namespace, labels, annotations } = metadata;
    const own = Object.entries(labels ?? {}).filter(([label]) => !label.startsWith("velero.io/"));
    const text = JSON.stringify({
      ...object,
      metadata: { name, namespace, labels: Object.fromEntries(own), annotations },
    });
    return JSON.parse(text, (key, value) => (key.startsWith("clusterIP") ? undefined : value)) as KubeObject;
  };
  return new Map([...objects].filter(([key]) => key.includes("seed")).map(([key, object]) => [key, plain(object)]));
}

/** What is not the same in both; Events aside, which are read as they are now. */
function differing(some: Objects, others: Objects): string[] {
  const keys = new Set([...some.keys(), ...others.keys()].filter((key) => !key.startsWith("events")));
  return [...keys].filter((key) => !isDeepStrictEqual(some.get(key), others.get(key)));
}
