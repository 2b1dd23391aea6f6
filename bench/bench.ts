import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { type Cluster, startCluster } from "../test/rig/cluster.ts";
import { type S3, startS3 } from "../test/rig/s3.ts";
import { seed } from "../test/rig/seed.ts";
import { startVelero } from "../test/rig/velero.ts";

/**
 * Measures in one run, on real API servers: the LISTs alone, whole backups, bare POSTs, a whole restore; and Velero
 * beside them. The ratios are what counts: the machine is the same for all of them, and shared with the servers.
 */
const { values } = parseArgs({
  options: {
    objects: { type: "string", default: "25000" },
    repeat: { type: "string", default: "3" },
    velero: { type: "boolean", default: true },
  },
  allowNegative: true,
});
const objects = Number(values.objects);
const repeat = Number(values.repeat);
const VELERO_SUBSET = 3000;

const run = promisify(execFile);
const root = join(import.meta.dirname, "..");
const dir = await mkdtemp(join(tmpdir(), "lifeboat-bench-"));
const clusters: Cluster[] = [];
let s3: S3 | undefined;

interface Measured {
  seconds: number;
  peakMiB: number;
  output: string;
}

/** Runs a Node program and reads its own peak memory. */
async function measure(program: string, args: string[]): Promise<Measured> {
  const peak = join(dir, "peak");
  const start = performance.now();
  const { stdout } = await run(
    process.execPath,
    ["--import", join(root, "bench/peak.mjs"), join(root, program), ...args],
    {
      env: { ...process.env, PEAK_FILE: peak, ...s3?.env },
      maxBuffer: 1 << 28,
    },
  );
  return {
    seconds: (performance.now() - start) / 1000,
    peakMiB: Number(await readFile(peak, "utf8")) / 1024,
    output: stdout,
  };
}

const newCluster = async () => {
  const cluster = await startCluster();
  clusters.push(cluster);
  return cluster;
};
const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;
const print = (text: string) => process.stdout.write(`${text}\n`);
const row = (what: string, count: number, seconds: number, peakMiB?: number) =>
  print(
    `${what.padEnd(34)} ${seconds.toFixed(2).padStart(8)} s ${Math.round(count / seconds)
      .toString()
      .padStart(8)} objects/s${peakMiB ? ` ${peakMiB.toFixed(0).padStart(6)} MiB peak` : ""}`,
  );

/** Seconds of Velero's own work on a Backup or Restore, waited for from outside. */
async function timed(work: Promise<{ status?: { phase?: string } }>): Promise<number> {
  const start = performance.now();
  const { status } = await work;
  if (status?.phase !== "Completed") throw new Error(`Velero ended ${status?.phase}`);
  return (performance.now() - start) / 1000;
}

try {
  print(
    `${cpus()[0]?.model} × ${cpus().length}, Node ${process.version}, Kubernetes 1.36.3 with etcd on the same machine, ${objects} objects\n`,
  );
  await run("npm", ["run", "build", "--silent"], { cwd: root });
  const source = await newCluster();
  row("seeding (64 connections)", objects, await seed(source, { objects }));

  const lists: number[] = [];
  const compressed: number[] = [];
  const backups: number[] = [];
  const peaks: number[] = [];
  let items = 0;
  let name = "";
  for (let round = 0; round < repeat; round++) {
    const listed = async (...how: string[]) =>
      JSON.parse((await measure("bench/lists.ts", [source.kubeconfigPath, ...how])).output).seconds;
    lists.push(await listed());
    compressed.push(await listed("compressed"));
    name = `bench-${round}`;
    const made = await measure("dist/lifeboat.mjs", [
      "backup",
      "create",
      name,
      "--location",
      `file://${dir}`,
      "--kubeconfig",
      source.kubeconfigPath,
      "-o",
      "json",
    ]);
    const document = JSON.parse(made.output) as { items: number; durationMs: number };
    items = document.items;
    backups.push(document.durationMs / 1000);
    peaks.push(made.peakMiB);
  }
  const archive = join(dir, `backups/${name}/${name}.tar.gz`);
  row("LISTs alone", items, median(lists));
  row("LISTs, compressed unseen", items, median(compressed));
  row("lifeboat backup create", items, median(backups), Math.max(...peaks));
  print(
    `  archive ${((await stat(archive)).size / 2 ** 20).toFixed(1)} MiB; backup / LISTs = ${(median(backups) / median(lists)).toFixed(2)}\n`,
  );

  const posted = await newCluster();
  const posts = JSON.parse((await measure("bench/posts.ts", [posted.kubeconfigPath, archive])).output) as {
    seconds: number;
    objects: number;
  };
  row("bare POSTs (64 connections)", posts.objects, posts.seconds);
  await posted.stop();
  const target = await newCluster();
  const restore = (into: Cluster, restoreName: string, ...flags: string[]) =>
    measure("dist/lifeboat.mjs", [
      "restore",
      "create",
      restoreName,
      "--from-backup",
      name,
      "--location",
      `file://${dir}`,
      "--kubeconfig",
      into.kubeconfigPath,
      "-o",
      "json",
      ...flags,
    ]);
  const restored = await restore(target, "whole");
  const { counts, durationMs } = JSON.parse(restored.output) as { counts: { created: number }; durationMs: number };
  row("lifeboat restore create", counts.created, durationMs / 1000, restored.peakMiB);
  const restoreRate = counts.created / (durationMs / 1000);
  print(`  restore / bare POSTs = ${(restoreRate / (posts.objects / posts.seconds)).toFixed(2)} of their objects/s\n`);
  await target.stop();

  if (values.velero) {
    s3 = await startS3();
    const namespaces = Array.from({ length: VELERO_SUBSET / 100 }, (_, index) => `seed-${index}`);
    const velero = await startVelero(source, s3, "velero");
    row(
      "Velero 1.18.3 backup",
      items,
      await timed(velero.createBackup("whole", { includeClusterResources: true, snapshotVolumes: false })),
    );
    await velero.createBackup("subset", { includedNamespaces: namespaces, snapshotVolumes: false });
    await velero.stop();
    const empty = await newCluster();
    const restorer = await startVelero(empty, s3, "velero");
    await restorer.waitForSyncedBackup("subset");
    const seconds = await timed(restorer.createRestore("subset", { backupName: "subset" }));
    await restorer.stop();
    row(`Velero 1.18.3 restore of ${VELERO_SUBSET}`, VELERO_SUBSET, seconds);
    print(
      `  lifeboat restores ${(restoreRate / (VELERO_SUBSET / seconds)).toFixed(1)} times as many objects per second`,
    );
  }
} finally {
  await Promise.all([...clusters.map((cluster) => cluster.stop()), s3?.stop()]);
  await rm(dir, { recursive: true, force: true });
}
