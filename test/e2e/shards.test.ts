import assert from "node:assert/strict";
import { type ChildProcess, execFile, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual, promisify } from "node:util";
import { readBackup } from "../../core/catalog.ts";
import type { JobStatus } from "../../core/index.ts";
import { verifyBackup } from "../../core/integrity/verify.ts";
import { directoryBucket } from "../../functions/cli/bucket.ts";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { requireOrSkip } from "../rig/require.ts";
import { seed } from "../rig/seed.ts";
import { objectsAt, objectsIn } from "./objects.ts";
import { runSlice, type SliceWish } from "./slice.ts";

const RUNNER = join(import.meta.dirname, "slice.ts");
const run = promisify(execFile);

describe("a backup in shards", { skip: requireOrSkip("rig", CONTROL_PLANE) }, () => {
  let cluster: Cluster;
  let directory: string;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "lifeboat-shards-"));
    cluster = await startCluster();
    await seed(cluster, { objects: 2_000 });
  });
  after(async () => {
    await cluster?.stop();
    if (directory) await rm(directory, { recursive: true });
  });

  const wish = (job: object, deadlineMs = 60_000): SliceWish => ({
    ...{ directory, kubeconfig: cluster.kubeconfigPath, deadlineMs },
    job: job as SliceWish["job"],
  });

  /** Does a job in processes of its own, one slice of it in each; what may be tried again is, as engines do. */
  async function inProcesses(job: object): Promise<void> {
    for (let next: object | undefined = job, tries = 0; next; ) {
      try {
        const { stdout }: { stdout: string } = await run(process.execPath, [RUNNER, JSON.stringify(wish(next, 5_000))]);
        next = (JSON.parse(stdout) as JobStatus).next;
      } catch (error) {
        if (!String(error).includes("JobFailedTryAgain") || ++tries === 10) throw error;
      }
    }
  }

  /** Begins a job in a process of its own and kills that once it reads. */
  async function killed(job: object): Promise<void> {
    const child: ChildProcess = fork(RUNNER, [JSON.stringify(wish(job))], { stdio: "ignore" });
    const ended = once(child, "exit");
    const reads = new Promise<void>((resolve) => {
      child.on("message", (line) => String(line).includes("Reads shard") && resolve());
    });
    await Promise.race([reads, ended]);
    child.kill("SIGKILL");
    const [, signal] = await ended;
    assert.equal(signal, "SIGKILL", "it ended before it was killed");
  }

  it("by four processes, one of them killed, is what the server had; of two that finish it one does", async () => {
    const begun = await runSlice(wish({ kind: "backup", name: "b", shards: 4 }));
    const [first, ...others] = begun.parts!;
    assert.equal(others.length, 3);
    await Promise.all([killed(first!), ...others.map(inProcesses)]);

    let { parts, next } = begun.next ? await runSlice(wish(begun.next)) : begun;
    for (let waits = 0; !parts && waits < 100; waits++) ({ parts, next } = await runSlice(wish(next!)));
    const given = parts!.map((part) => "shard" in part && part.shard);
    assert.deepEqual(given, [1]);
    await inProcesses(parts![0]!);
    const ends = await Promise.all([runSlice(wish(next!)), delay(5).then(() => runSlice(wish(next!)))]);
    assert.equal(ends.filter(({ duplicate }) => !duplicate).length, 1);

    const bucket = directoryBucket(directory);
    const { metadata, status } = await readBackup(bucket, "b");
    assert.equal(status?.phase, "Completed");
    assert.equal(
      metadata.annotations?.["lifeboat/consistency"],
      "exact",
      metadata.annotations?.["lifeboat/exceptions"],
    );
    const there = await objectsAt(cluster, metadata.annotations!["lifeboat/resource-version"]!);
    const stored = await objectsIn(join(directory, "backups/b/b.tar.gz"));
    const keys = [...new Set([...stored.keys(), ...there.keys()])].filter((key) => !key.startsWith("events"));
    assert.deepEqual(
      keys.filter((key) => !isDeepStrictEqual(stored.get(key), there.get(key))),
      [],
    );
    assert.equal(status?.progress?.itemsBackedUp, stored.size);
    const { damaged } = await verifyBackup(bucket, "b", { read: 1, signal: new AbortController().signal });
    assert.deepEqual(damaged, []);
    assert.deepEqual(await readdir(join(directory, "metadata/lifeboat/pieces")).catch(() => []), []);
  });
});
