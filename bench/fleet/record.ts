import { execFile, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { s3Bucket } from "../../functions/aws/bucket.ts";
import { buildCloud } from "../../functions/build.ts";
import { startCluster } from "../../test/rig/cluster.ts";
import { startS3 } from "../../test/rig/s3.ts";
import { seed } from "../../test/rig/seed.ts";
import { connect, expectOk, readKubeconfig } from "../lifeboat.ts";
import type { FunctionWish } from "./function.ts";
import type { BackupRecord, FunctionRecord, Recording, SliceRecord } from "./recording.ts";

/**
 * Records what `bench/fleet.ts` replays, from the product itself: pages of LISTs of a real API server, puts and gets of a real S3 server,
 * whole backups and slices of them as processes of their own, and the functions' cold starts. Prints it as JSON.
 */
const { values } = parseArgs({
  options: {
    objects: { type: "string", default: "5000,20000,80000" },
    /** Of a slice, in seconds. */
    deadline: { type: "string", default: "10" },
    seeded: { type: "string", default: "5000" },
  },
});
const sizes = values.objects.split(",").map(Number);
const root = join(import.meta.dirname, "../..");
const run = promisify(execFile);
const PAGE = 250;
const LISTS = 12;
const SMALL_PUTS = 100;
const LARGE_PUTS = 12;
const LARGE_MIB = 16;

const round = (number: number, digits = 3) => Number(number.toFixed(digits));
const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;
const tell = (line: string) => process.stderr.write(`${line}\n`);

/** Twenty of the values, from small to large, which stand for a twentieth of all each. */
function twentieths(all: number[]): number[] {
  const sorted = all.toSorted((a, b) => a - b);
  return Array.from({ length: 20 }, (_, at) => round(sorted[Math.floor(((at + 0.5) * sorted.length) / 20)]!, 2));
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** Pages of ConfigMaps, one after the other, as a backup asks for them. */
async function pagesOf(kubeconfig: string): Promise<Recording["pages"]> {
  const kube = connect(readKubeconfig(kubeconfig));
  const ms: number[] = [];
  let bytes = 0;
  let objects = 0;
  try {
    for (let round = 0; round < LISTS; round++) {
      let next: string | undefined;
      do {
        const start = performance.now();
        const query = { limit: String(PAGE), continue: next };
        const { body } = expectOk(await kube.request({ path: "/api/v1/configmaps", query }), "list");
        if (round > 0) ms.push(performance.now() - start);
        next = /"continue":"([^"]+)"/.exec(body.subarray(0, 4096).toString())?.[1];
        bytes += body.length;
        objects += next ? PAGE : 0;
      } while (next);
    }
  } finally {
    await kube.close();
  }
  return { objects: PAGE, bytes: Math.round((bytes / objects) * PAGE), ms: twentieths(ms) };
}

async function bucketOf(env: Readonly<Record<string, string>>, location: string): Promise<Recording["bucket"]> {
  Object.assign(process.env, env);
  const bucket = await s3Bucket(new URL(location));
  const small = Buffer.alloc(1024, 1);
  const large = Buffer.alloc(LARGE_MIB << 20, 2);
  const smallMs: number[] = [];
  const putMs: number[] = [];
  const getMs: number[] = [];
  for (let at = 0; at < SMALL_PUTS; at++) smallMs.push(await timed(() => bucket.put(`small-${at}`, small)));
  for (let at = 0; at < LARGE_PUTS; at++) putMs.push(await timed(() => bucket.put(`large-${at}`, large)));
  for (let at = 0; at < LARGE_PUTS; at++)
    getMs.push(await timed(async () => void (await Array.fromAsync(await bucket.get(`large-${at}`)))));
  const perMiB = (all: number[]) => round(Math.max(0, median(all) - median(smallMs)) / LARGE_MIB, 2);
  return { smallMs: twentieths(smallMs), putMsPerMiB: perMiB(putMs), getMsPerMiB: perMiB(getMs) };
}

interface Measured {
  seconds: number;
  cpuSeconds: number;
  mainSeconds: number;
  peakMB: number;
  stdout: string;
}

async function measured(dir: string, args: string[]): Promise<Measured> {
  const env = { ...process.env, PEAK_FILE: join(dir, "peak") };
  const start = performance.now();
  const { stdout } = await run(process.execPath, ["--import", join(root, "bench/peak.mjs"), ...args], {
    env,
    maxBuffer: 1 << 28,
  });
  const seconds = round((performance.now() - start) / 1000);
  const { peakKiB, cpuSeconds, mainSeconds } = JSON.parse(await readFile(env.PEAK_FILE, "utf8"));
  const peakMB = Math.round((peakKiB * 1024) / 1e6);
  return { seconds, cpuSeconds: round(cpuSeconds), mainSeconds: round(mainSeconds), peakMB, stdout };
}

async function backupOf(dir: string, name: string, kubeconfigPath: string): Promise<BackupRecord> {
  const location = `file://${join(dir, name)}`;
  const create = ["backup", "create", name, "--location", location, "--kubeconfig", kubeconfigPath, "-o", "json"];
  const { stdout, ...taken } = await measured(dir, [join(root, "dist/lifeboat.mjs"), ...create]);
  const { items, bytes, usage } = JSON.parse(stdout);
  return { items, bytes, ...taken, usage };
}

/** Runs the job of a backup as a function does, again and again until it is made: each slice a process of its own. */
async function slicesOf(
  dir: string,
  program: string,
  wish: Pick<FunctionWish, "kubeconfig" | "name" | "deadlineMs">,
): Promise<SliceRecord[]> {
  const whole: FunctionWish = { ...wish, directory: join(dir, "functions") };
  const slices: SliceRecord[] = [];
  for (;;) {
    try {
      const { stdout, ...taken } = await measured(dir, [program, JSON.stringify(whole)]);
      const { phase, items } = JSON.parse(stdout);
      slices.push({ ...taken, ...(items !== undefined && { items }) });
      if (phase) return slices;
    } catch {
      // A busy machine needs more time for the least that a slice does.
      whole.deadlineMs *= 1.5;
      tell(`a slice that did not end: the deadline is ${whole.deadlineMs} ms from here on`);
    }
  }
}

/** As the functions' own bundles are made. */
async function buildFunction(dir: string): Promise<string> {
  await buildCloud("aws", dir, "bench/fleet/function.ts");
  return join(dir, "aws/index.mjs");
}

/** The embedded API server with ConfigMaps of 2 KiB in the middle, in a process of its own. */
async function withServer<T>(dir: string, objects: number, work: (kubeconfigPath: string) => Promise<T>): Promise<T> {
  const server = fork(join(root, "bench/worker.ts"), [`--objects=${objects}`, "--server"]);
  try {
    const [kubeconfig] = (await once(server, "message")) as [string];
    const kubeconfigPath = join(dir, "kubeconfig");
    await writeFile(kubeconfigPath, kubeconfig);
    return await work(kubeconfigPath);
  } finally {
    server.disconnect();
  }
}

async function coldStarts(): Promise<Recording["coldStartMs"]> {
  const { stdout } = await run(process.execPath, [join(root, "bench/coldstart.ts"), "--repeat", "3"]);
  const of = (cloud: string) => {
    const [, load = "", first = ""] = new RegExp(`^${cloud} .*?(\\d+) ms +(\\d+) ms$`, "m").exec(stdout) ?? [];
    return Number(load) + Number(first);
  };
  return { aws: of("aws"), gcp: of("gcp"), azure: of("azure") };
}

const dir = await mkdtemp(join(tmpdir(), "lifeboat-record-"));
try {
  await run("npm", ["run", "build", "--silent", "cli"], { cwd: root });
  tell("backups");
  const program = await buildFunction(dir);
  const backups: BackupRecord[] = [];
  const functions: FunctionRecord[] = [];
  let slices: SliceRecord[] = [];
  for (const [at, objects] of sizes.entries()) {
    await withServer(dir, objects, async (kubeconfigPath) => {
      const made = await backupOf(dir, `b-${objects}`, kubeconfigPath);
      backups.push(made);
      const wish = { kubeconfig: kubeconfigPath, name: `f-${objects}`, deadlineMs: 900_000 };
      const [whole] = await slicesOf(dir, program, wish);
      functions.push({ ...whole!, items: made.items });
      tell(JSON.stringify([made, whole]));
      if (at < sizes.length - 1) return;
      slices = await slicesOf(dir, program, { ...wish, name: "sliced", deadlineMs: 1000 * Number(values.deadline) });
    });
  }
  tell("a real API server");
  await using cluster = await startCluster({ adminToken: true });
  await seed(cluster, { objects: Number(values.seeded) });
  const pages = await pagesOf(await readFile(cluster.kubeconfigPath, "utf8"));
  const real = await backupOf(dir, "real", cluster.kubeconfigPath);
  tell("a real S3 server");
  await using s3 = await startS3();
  const bucket = await bucketOf(s3.env, s3.location("recorded"));
  tell("cold starts");
  const recording: Recording = {
    machine: `${cpus()[0]?.model} × ${cpus().length}, Node ${process.version}`,
    ...{ pages, bucket, backups, functions, real, slices, coldStartMs: await coldStarts() },
  };
  process.stdout.write(`${JSON.stringify(recording, undefined, 2)}\n`);
} finally {
  await rm(dir, { recursive: true, force: true });
}
