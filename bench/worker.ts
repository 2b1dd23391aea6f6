import { execFile, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { buildCloud } from "../functions/build.ts";
import { type KubernetesObject, startApiServer } from "./lifeboat.ts";

/**
 * Measures the memory of what makes one backup of a large cluster: of the built command line, which makes it in one go, and of slices
 * that a deadline ends, each a process of its own, built as functions are; with --shards 4 also of four that read at the same time, and of the one
 * that makes the backup of what they stored. The cluster, ConfigMaps of 2 KiB in the middle and one of
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

async function measured(dir: string, args: string[]): Promise<Measured> {
  const file = join(dir, "peak");
  const env = { ...process.env, PEAK_FILE: file };
  const { stdout } = await run(process.execPath, ["--import", join(root, "bench/peak.mjs"), ...args], { env });
  const { peakKiB, cpuSeconds } = JSON.parse(await readFile(file, "utf8"));
  return { peak: (peakKiB * 1024) / 1e6, cpu: cpuSeconds, stdout };
}

async function measure(): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "lifeboat-bench-"));
  const server = fork(import.meta.filename, [`--objects=${objects}`, "--server"], {
    execArgv: ["--max-old-space-size=16000"],
  });
  try {
    const [kubeconfig] = (await once(server, "message")) as [string];
    const kubeconfigPath = join(dir, "kubeconfig");
    await writeFile(kubeconfigPath, kubeconfig);
    await run("npm", ["run", "build", "--silent"], { cwd: root });
    await buildCloud("aws", dir, "test/e2e/slice.ts");
    const slice = join(dir, "aws/index.mjs");
    const begun = performance.now();
    const location = `file://${join(dir, "uncut")}`;
    const create = ["backup", "create", "uncut", "--location", location, "--kubeconfig", kubeconfigPath];
    const uncut = await measured(dir, [join(root, "dist/lifeboat.mjs"), ...create]);
    const seconds = (performance.now() - begun) / 1000;
    say(`uncut: peak ${uncut.peak.toFixed(0)} MB, ${seconds.toFixed(1)} s, ${uncut.cpu.toFixed(1)} s of CPU`);
    const wish = {
      directory: join(dir, "sliced"),
      kubeconfig: kubeconfigPath,
      job: { kind: "backup", name: "b" },
      deadlineMs: 1000 * Number(values.deadline),
      lockMs: 180_000,
    };
    for (let slices = 1, more = true; more; slices++) {
      const { peak, cpu, stdout } = await measured(dir, [slice, JSON.stringify(wish)]);
      const { phase, items } = JSON.parse(stdout);
      say(
        `slice ${slices}: peak ${peak.toFixed(0)} MB, ${cpu.toFixed(1)} s of CPU: ${phase ?? `${items} items so far`}`,
      );
      more = phase === undefined;
    }
    const shards = Number(values.shards);
    const job = { kind: "backup", name: "s", shards };
    if (shards > 1)
      await measureShards(dir, slice, {
        ...wish,
        directory: join(dir, "sharded"),
        job,
        deadlineMs: 1e9,
      });
  } finally {
    server.disconnect();
    await rm(dir, { recursive: true, force: true });
  }
}

async function measureShards(dir: string, slice: string, wish: object): Promise<void> {
  const begun = performance.now();
  const step = async (what: string, job: object) => {
    const start = performance.now();
    const own = await mkdtemp(join(dir, "worker-"));
    const { peak, cpu, stdout } = await measured(own, [slice, JSON.stringify({ ...wish, ...job })]);
    const ended = JSON.parse(stdout);
    const seconds = (performance.now() - start) / 1000;
    say(
      `${what}: peak ${peak.toFixed(0)} MB, ${seconds.toFixed(1)} s, ${cpu.toFixed(1)} s of CPU: ${ended.items ?? ended.phase} items`,
    );
    return ended;
  };
  const { parts, next } = await step("plan", {});
  await Promise.all(parts.map((job: { shard: number }) => step(`shard ${job.shard}`, { job })));
  await step("backup", { job: next });
  say(`all of it: ${((performance.now() - begun) / 1000).toFixed(1)} s`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

await (values.server ? serve() : measure());
