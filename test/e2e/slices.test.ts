import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { readBackup } from "../../core/catalog.ts";
import type { JobFailed } from "../../core/service.ts";
import { directoryBucket } from "../../functions/cli/bucket.ts";
import type { KubeObject } from "../rig/api.ts";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { until } from "../rig/process.ts";
import { requireOrSkip } from "../rig/require.ts";
import { seed } from "../rig/seed.ts";
import { type Objects, objectsAt, objectsIn } from "./objects.ts";
import { runSlice } from "./slice.ts";

const OBJECTS = process.env.SOAK ? 20_000 : 2_000;
const RUNS = process.env.SOAK ? 200 : 20;
const DEADLINES = process.env.SOAK ? [1_000, 2_000, 5_000] : [300, 500, 900];
/** Of the slices of every second run, those that are killed. */
const KILLED = 1 / 3;

/** A list whose revision is that of the cluster. */
const NAMESPACE = "/api/v1/namespaces?limit=1";

describe("a backup in slices", { skip: requireOrSkip("rig", CONTROL_PLANE) }, () => {
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
  const listed = () => Array.fromAsync(bucket().list("backups/")).then((all) => all.map(({ key }) => key));

  /** A slice in a process of its own that is killed at some moment, unless it has ended before. */
  async function killedSlice(wish: Parameters<typeof runSlice>[0]): Promise<void> {
    const child = fork(join(import.meta.dirname, "slice.ts"), [JSON.stringify(wish)], { stdio: "ignore" });
    const ended = once(child, "exit");
    await Promise.race([once(child, "message"), ended]);
    await Promise.race([delay(Math.random() * wish.deadlineMs), ended]);
    child.kill("SIGKILL");
    await ended;
  }

  /** Runs slices until the backup is made. Gives how many there were, and how many of them were killed. */
  async function sliced(name: string, { deadlineMs, kills }: { deadlineMs: number; kills: boolean }) {
    const wish = { directory, kubeconfig: cluster.kubeconfigPath, name, deadlineMs };
    const record = `backups/${name}/velero-backup.json`;
    for (let slices = 1, killed = 0; ; slices++) {
      const keys = await listed();
      if (keys.includes(record)) return { slices: slices - 1, killed };
      if (kills && Math.random() < KILLED) {
        killed++;
        await killedSlice(wish);
        continue;
      }
      try {
        const { phase, next } = await runSlice(wish);
        assert.ok(phase === "Completed" || next, "it ended, and nothing is left to do");
      } catch (error) {
        assert.equal((error as JobFailed).name, "JobFailedTryAgain", String(error));
        // A busy machine needs more time for the least that a slice does.
        wish.deadlineMs *= 1.5;
      }
    }
  }

  it(`of ${OBJECTS} objects is what the server had, whatever its deadline, and killed at random: ${RUNS} runs`, async (t) => {
    const counts = { slices: 0, killed: 0 };
    for (let run = 0; run < RUNS; run++) {
      const name = `run-${run}`;
      const made = await sliced(name, { deadlineMs: DEADLINES[run % DEADLINES.length]!, kills: run % 2 === 1 });
      counts.slices += made.slices;
      counts.killed += made.killed;
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
      await rm(join(directory, "backups", name), { recursive: true });
    }
    assert.ok(counts.slices > RUNS, "no backup was cut");
    t.diagnostic(`${counts.slices} slices, ${counts.killed} of them killed`);
  });

  it("whose revision is compacted away between two slices says so, and has each object once", async () => {
    const { resourceVersion: first } = (await cluster.api.request<KubeObject>("GET", NAMESPACE)).metadata;
    let name = "";
    for (let attempt = 0, begun = false; !begun; attempt++) {
      name = `compacted-${attempt}`;
      const wish = { directory, kubeconfig: cluster.kubeconfigPath, name, deadlineMs: 200 + Math.random() * 800 };
      begun = await runSlice(wish).then(
        ({ next }) => next !== undefined,
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
    await sliced(name, { deadlineMs: 30_000, kills: false });
    const { metadata, status } = await readBackup(bucket(), name);
    assert.equal(status?.phase, "Completed");
    assert.equal(metadata.annotations?.["lifeboat/consistency"], "mixed");
    const stored = await objectsIn(join(directory, `backups/${name}/${name}.tar.gz`));
    const seeded = (objects: Map<string, unknown>) => [...objects.keys()].filter((key) => key.includes("seed-")).sort();
    const { resourceVersion } = (await cluster.api.request<KubeObject>("GET", NAMESPACE)).metadata;
    assert.deepEqual(seeded(stored), seeded(await objectsAt(cluster, String(resourceVersion))));
  });
});

/** What is not the same in both; Events aside, which are read as they are now. */
function differing(some: Objects, others: Objects): string[] {
  const keys = new Set([...some.keys(), ...others.keys()].filter((key) => !key.startsWith("events")));
  return [...keys].filter((key) => !isDeepStrictEqual(some.get(key), others.get(key)));
}
