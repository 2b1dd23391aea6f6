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
 * Measures in one run, on real API servers: the LISTs alone, whole backups, bare POSTs, a whole restore, the same restore
 * again; and Velero beside them; all with bearer tokens, as managed clusters want them (an API server checks a client
 * certificate anew for each request, which costs it a fifth of its time). The ratios are what counts: the machine is the same for all of them, and shared with the servers.
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
  output: string;
  /** 10^6 bytes. */
  peakMB: number;
  /** Of all its threads, from its start to its end. */
  cpuSeconds: number;
}

/** Runs a Node program and reads its own peak memory and CPU time. */
async function measure(program: string, args: string[]): Promise<Measured> {
  const peak = join(dir, "peak");
  const { stdout } = await run(
    process.execPath,
    ["--import", join(root, "bench/peak.mjs"), join(root, program), ...args],
    {
      env: { ...process.env, PEAK_FILE: peak, ...s3?.env },
      maxBuffer: 1 << 28,
    },
  );
  const { peakKiB, cpuSeconds } = JSON.parse(await readFile(peak, "utf8"));
  return { output: stdout, peakMB: (peakKiB * 1024) / 1e6, cpuSeconds };
}

/** Runs the built command line against a cluster and a folder as bucket. */
const lifeboat = (cluster: Cluster, ...args: string[]) =>
  measure("dist/lifeboat.mjs", [
    ...args,
    "--location",
    `file://${dir}`,
    "--kubeconfig",
    cluster.kubeconfigPath,
    "-o",
    "json",
  ]);

interface Counts {
  created: number;
  skipped: number;
}

const newCluster = async () => {
  const cluster = await startCluster({ adminToken: true });
  clusters.push(cluster);
  return cluster;
};
const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;
const print = (text: string) => process.stdout.write(`${text}\n`);
function row(what: string, count: number, seconds: number, { peakMB, cpuSeconds }: Partial<Measured> = {}): void {
  const columns = [
    `${what.padEnd(34)} ${seconds.toFixed(2).padStart(8)} s`,
    `${Math.round(count / seconds)} objects/s`.padStart(17),
    ...(cpuSeconds ? [`${cpuSeconds.toFixed(2)} s of CPU`.padStart(15)] : []),
    ...(peakMB ? [`${peakMB.toFixed(0)} MB peak`.padStart(12)] : []),
  ];
  print(columns.join(" "));
}

/** One measured program that says itself how long its work took. */
interface Timed extends Measured {
  seconds: number;
}

async function listed(cluster: Cluster, ...how: string[]): Promise<Timed> {
  const measured = await measure("bench/lists.ts", [cluster.kubeconfigPath, ...how]);
  return { ...measured, seconds: JSON.parse(measured.output).seconds };
}

/** Medians of seconds, and the highest peak. */
function rounds(what: string, count: number, all: Timed[]): number {
  const seconds = median(all.map((one) => one.seconds));
  row(what, count, seconds, {
    peakMB: Math.max(...all.map(({ peakMB }) => peakMB)),
    cpuSeconds: median(all.map(({ cpuSeconds }) => cpuSeconds)),
  });
  return seconds;
}

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

  const lists: Timed[] = [];
  const compressed: Timed[] = [];
  const backups: Timed[] = [];
  let items = 0;
  let name = "";
  for (let round = 0; round < repeat; round++) {
    lists.push(await listed(source));
    compressed.push(await listed(source, "compressed"));
    name = `bench-${round}`;
    const made = await lifeboat(source, "backup", "create", name);
    const document = JSON.parse(made.output) as { items: number; durationMs: number };
    items = document.items;
    backups.push({ ...made, seconds: document.durationMs / 1000 });
  }
  const archive = join(dir, `backups/${name}/${name}.tar.gz`);
  const listing = rounds("LISTs alone", items, lists);
  rounds("LISTs, compressed unseen", items, compressed);
  const backup = rounds("lifeboat backup create", items, backups);
  print(
    `  archive ${((await stat(archive)).size / 2 ** 20).toFixed(1)} MiB; backup / LISTs = ${(backup / listing).toFixed(2)}\n`,
  );

  const posted = await newCluster();
  const posting = await measure("bench/posts.ts", [posted.kubeconfigPath, archive]);
  const posts = JSON.parse(posting.output) as { seconds: number; objects: number };
  row("bare POSTs (64 connections)", posts.objects, posts.seconds, posting);
  await posted.stop();
  const target = await newCluster();
  const restore = async (restoreName: string, ...flags: string[]) => {
    const made = await lifeboat(target, "restore", "create", restoreName, "--from-backup", name, ...flags);
    const { counts, durationMs } = JSON.parse(made.output) as { counts: Counts; durationMs: number };
    return { ...made, counts, seconds: durationMs / 1000 };
  };
  const restored = await restore("whole");
  const { created } = restored.counts;
  row("lifeboat restore create", created, restored.seconds, restored);
  const restoreRate = created / restored.seconds;
  print(`  restore / bare POSTs = ${(restoreRate / (posts.objects / posts.seconds)).toFixed(2)} of their objects/s\n`);

  const again: Record<string, Timed[]> = { none: [], update: [] };
  const targetLists: Timed[] = [];
  const likened: Timed[] = [];
  for (let round = 0; round < repeat; round++) {
    targetLists.push(await listed(target));
    likened.push(await listed(target, "likened"));
    for (const [policy, all] of Object.entries(again)) {
      const same = await restore(`again-${policy}-${round}`, "--existing-resource-policy", policy);
      if (same.counts.skipped !== items) throw new Error(`not all are equal: ${JSON.stringify(same.counts)}`);
      all.push(same);
    }
  }
  const targetListing = rounds("LISTs alone of the restored", items, targetLists);
  rounds("LISTs, each object likened", items, likened);
  for (const [policy, all] of Object.entries(again)) {
    const seconds = rounds(`the same restore again, ${policy}`, items, all);
    print(`  again / LISTs = ${(seconds / targetListing).toFixed(2)}`);
  }
  print("");
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
