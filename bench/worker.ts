import { execFile, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import type { JobStatus } from "../core/index.ts";
import { startS3 } from "../test/rig/s3.ts";
import { type KubernetesObject, startApiServer } from "./lifeboat.ts";

/**
 * Measures the memory of what backs up one large cluster to an S3 server: of the built command line, which does it in one go, and of the
 * Lambda function's slices, which a deadline ends, each a process of its own; with --shards 4 also of four that read at the same
 * time, and of the one that makes the backup of what they stored. The cluster, ConfigMaps of 2 KiB in the middle and one of
 * 1.5 MB, is in a process of its own.
 */
const { values } = parseArgs({
  options: {
    objects: { type: "string", default: "500000" },
    deadline: { type: "string", default: "60" },
    shards: { type: "string", default: "1" },
    server: { type: "boolean", default: false },
  },
});
const objects = Number(values.objects);
const root = join(import.meta.dirname, "..");
const run = promisify(execFile);

/** Lengths from 256 B to 16 KiB, half of them below 2 KiB. */
function* cluster(): Generator<KubernetesObject> {
  for (let index = 0; index < objects; index++) {
    const namespace = `app-${Math.floor(index / 200)}`;
    if (index % 200 === 0) yield { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } };
    const length = index === 0 ? 1_500_000 : Math.round(2048 * 2 ** (((index * 7919) % 601) / 100 - 3));
    const text = `${index} ${((index * 2654435761) >>> 0).toString(36)} `.repeat(length / 12);
    const metadata = {
      namespace,
      name: `settings-${index}`,
      uid: `uid-${index}`,
      labels: { app: `app-${index % 50}` },
    };
    yield { apiVersion: "v1", kind: "ConfigMap", metadata, data: { text: text.slice(0, Math.max(0, length - 250)) } };
  }
}

async function serve(): Promise<void> {
  const server = await startApiServer({ objects: cluster() });
  process.send?.(server.kubeconfig);
  process.once("disconnect", () => void server.stop());
}

/** Of a process: 10^6 bytes, and seconds of CPU. */
interface Measured {
  peak: number;
  cpu: number;
  stdout: string;
}

/** Runs the function once, as Lambda does, in a process of its own. */
const INVOKE = `const [entry, job, ms] = process.argv.slice(1);
  const { handler } = await import(entry);
  const ends = Date.now() + Number(ms);
  const context = { awsRequestId: "bench", getRemainingTimeInMillis: () => ends - Date.now() };
  const ended = await handler({ loops: true, delivery: "bench", job: JSON.parse(job) }, context);
  process.stdout.write(JSON.stringify({ ended }), () => process.exit());`;

async function measured(dir: string, env: Record<string, string>, args: string[]): Promise<Measured> {
  const file = join(await mkdtemp(join(dir, "worker-")), "peak");
  const { stdout } = await run(process.execPath, ["--import", join(root, "bench/peak.mjs"), ...args], {
    env: { ...process.env, ...env, PEAK_FILE: file },
    maxBuffer: 1e9,
  });
  const { peakKiB, cpuSeconds } = JSON.parse(await readFile(file, "utf8"));
  return { peak: (peakKiB * 1024) / 1e6, cpu: cpuSeconds, stdout };
}

async function measure(): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "lifeboat-bench-"));
  const server = fork(import.meta.filename, [`--objects=${objects}`, "--server"], {
    execArgv: ["--max-old-space-size=16000"],
  });
  const s3 = await startS3();
  try {
    const [kubeconfig] = (await once(server, "message")) as [string];
    const kubeconfigPath = join(dir, "kubeconfig");
    await writeFile(kubeconfigPath, kubeconfig);
    await run("npm", ["run", "build", "--silent"], { cwd: root });
    const begun = performance.now();
    const create = ["backup", "create", "uncut", "--location", s3.location("uncut"), "--kubeconfig", kubeconfigPath];
    const uncut = await measured(dir, s3.env, [join(root, "dist/lifeboat.mjs"), ...create]);
    const seconds = (performance.now() - begun) / 1000;
    say(`uncut: peak ${uncut.peak.toFixed(0)} MB, ${seconds.toFixed(1)} s, ${uncut.cpu.toFixed(1)} s of CPU`);

    const kubeconfigReference = { LIFEBOAT_CLUSTERS_A_KUBECONFIG: `file:${kubeconfigPath}` };
    const env = { ...s3.env, LIFEBOAT_LOCATION: s3.location("function"), ...kubeconfigReference };
    const invoke = async (what: string, job: object, seconds: number): Promise<JobStatus> => {
      const start = performance.now();
      const entry = join(root, "dist/aws/index.mjs");
      const args = ["--input-type=module", "-e", INVOKE, entry, JSON.stringify(job), String(seconds * 1000)];
      const { peak, cpu, stdout } = await measured(dir, env, args);
      const { ended } = JSON.parse(stdout.slice(stdout.lastIndexOf('{"ended"')));
      const took = (performance.now() - start) / 1000;
      const done = ended.phase ?? `${ended.items} items so far`;
      say(`${what}: peak ${peak.toFixed(0)} MB, ${took.toFixed(1)} s, ${cpu.toFixed(1)} s of CPU: ${done}`);
      return ended;
    };
    let job: object | undefined = { kind: "backup", name: "cut" };
    for (let slices = 1; job; slices++) job = (await invoke(`slice ${slices}`, job, Number(values.deadline))).next;
    const shards = Number(values.shards);
    if (shards > 1) await measureShards(shards, invoke);
  } finally {
    server.disconnect();
    await s3.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

type Invoke = (what: string, job: object, seconds: number) => Promise<JobStatus>;

async function measureShards(shards: number, invoke: Invoke): Promise<void> {
  const begun = performance.now();
  const { parts = [], next } = await invoke("plan", { kind: "backup", name: "sharded", shards }, LONG);
  await Promise.all(parts.map((job, at) => invoke(`shard ${at + 1}`, job, LONG)));
  await invoke("backup", next!, LONG);
  say(`all of it: ${((performance.now() - begun) / 1000).toFixed(1)} s`);
}

/** Seconds. */
const LONG = 900;

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

await (values.server ? serve() : measure());
