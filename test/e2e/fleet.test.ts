import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import pLimit from "p-limit";
import { listBackups } from "../../core/catalog.ts";
import { listFolder } from "../../core/contents.ts";
import { type FleetDocument, readSummary } from "../../core/fleet/document.ts";
import type { ClusterListDocument } from "../../core/fleet/standing.ts";
import { memoryJobs } from "../../core/memoryjobs.ts";
import { readClock } from "../../core/schedule/cron.ts";
import { scheduledName } from "../../core/schedule/slots.ts";
import { createService } from "../../core/service.ts";
import { directoryBucket } from "../../functions/cli/bucket.ts";
import { terminal } from "../../functions/cli/platform.ts";
import { makeScratch, type Scratch } from "../functions/cli-sample.ts";
import type { Clusters } from "./fleet-clusters.ts";
import { document, lifeboat } from "./lifeboat.ts";

const SCHEDULE = "0 2 * * *";
const LAST = readClock({ schedule: SCHEDULE }).last(new Date())!;
const SLOT = LAST.toISOString();
const RUN = scheduledName("nightly", LAST);
const NIGHTLY = { kind: "fleet", schedule: "nightly", slot: SLOT } as const;
/** As long as a function may run that makes the backup of one cluster. */
const FUNCTION_MS = 12_000;
const GOOD = 44;
const TROUBLED = ["dead-1", "dead-2", "dead-3", "denied", "slow-1", "slow-2"];

describe("a fleet of 50 clusters, 3 dead, 2 slow and 1 with a wrong secret", () => {
  let scratch: Scratch;
  let clusters: Clusters;
  let child: ChildProcess;
  let hook: Server;
  let config: string;
  const told: { kind: string; errors: { message: string }[] }[] = [];

  before(async () => {
    scratch = await makeScratch();
    child = spawn(process.execPath, [join(import.meta.dirname, "fleet-clusters.ts"), String(GOOD)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    for await (const line of createInterface({ input: child.stdout! })) {
      clusters = JSON.parse(line) as Clusters;
      break;
    }
    hook = createServer(async (request, response) => {
      told.push(JSON.parse(Buffer.concat(await Array.fromAsync(request)).toString()));
      response.end();
    });
    await new Promise<void>((listening) => hook.listen(0, "127.0.0.1", listening));
    await scratch.write("hook.txt", `http://127.0.0.1:${(hook.address() as AddressInfo).port}/`);
    const { mended: _, ...members } = clusters;
    for (const [name, kubeconfig] of Object.entries(members)) await scratch.write(`${name}.kubeconfig`, kubeconfig);
    config = await scratch.write(
      "lifeboat.yaml",
      JSON.stringify({
        location: "./bucket",
        clusters: Object.fromEntries(
          Object.keys(members).map((name) => [name, { kubeconfig: `file:${scratch.path(`${name}.kubeconfig`)}` }]),
        ),
        schedules: { nightly: { schedule: SCHEDULE, clusters: {} } },
        notifications: { ops: { url: `file:${scratch.path("hook.txt")}` } },
      }),
    );
  });
  after(async () => {
    child?.kill("SIGKILL");
    hook?.close();
    await scratch?.remove();
  });

  const root = () => directoryBucket(scratch.path("bucket"));
  const member = (name: string) => directoryBucket(scratch.path(`bucket/${name}`));

  /** Runs a job and all that comes of it, as functions with a queue: so many at a time, each with its time limit. */
  async function run(jobs: readonly object[], atOnce = 8): Promise<string[]> {
    const limit = pLimit(atOnce);
    const lines: string[] = [];
    let open = 0;
    const { promise: idle, resolve } = Promise.withResolvers<void>();
    const queue = memoryJobs(async (job) => {
      const deadline = () => new Date(Date.now() + FUNCTION_MS);
      await limit(async () => service.run(job, { deadline: deadline() })).catch(() => {});
      if (--open === 0) resolve();
    });
    const enqueue: typeof queue.enqueue = (...given) => {
      open++;
      return queue.enqueue(...given);
    };
    const service = createService(
      { ...terminal, jobs: async () => ({ enqueue }) },
      {
        env: { LIFEBOAT_CONFIG: `file:${config}`, LIFEBOAT_LOCATION: scratch.path("bucket") },
        listen: (line) => lines.push(line),
        fleetTiming: { poll: 300, quiet: 15_000 },
      },
    );
    const keepsAlive = setInterval(() => {}, 1000);
    for (const job of jobs) await enqueue(job as typeof NIGHTLY);
    await idle;
    clearInterval(keepsAlive);
    return lines;
  }

  let summary: FleetDocument;

  it("is backed up in bounded time: 44 are good, and 6 are named with their reason", async (t) => {
    const began = performance.now();
    // Twice, as a queue may deliver it.
    const lines = await run([NIGHTLY, NIGHTLY]);
    const seconds = (performance.now() - began) / 1000;
    t.diagnostic(`${seconds.toFixed(1)} s`);
    summary = (await readSummary(root(), RUN)) ?? assert.fail(lines.slice(-5).join("\n"));
    assert.deepEqual(summary.counts, { clusters: 50, good: GOOD, skipped: 0, failed: 6 });
    assert.equal(summary.phase, "PartiallyFailed");
    assert.deepEqual(
      summary.errors.map(({ message }) => message.split(":")[0]),
      TROUBLED,
    );
    for (const { message } of summary.errors) t.diagnostic(message);
    const reasons = Object.fromEntries(summary.clusters.map(({ cluster, reason }) => [cluster, reason]));
    assert.deepEqual(
      TROUBLED.map((name) => reasons[name]),
      ["unreachable", "unreachable", "timeout", "denied", "timeout", "timeout"],
    );
    // Six that take their whole time, eight at once.
    assert(seconds < 90, `${seconds} s`);
  });

  it("has one summary, of which all that want to know are told once, though the job came twice", () => {
    assert.deepEqual(
      told.map(({ kind, errors }) => [kind, errors.length]),
      [["fleet", 6]],
    );
  });

  it("has in each good cluster's own location that cluster's backup, as in one deployed alone", async () => {
    const names = Object.keys(clusters).filter((name) => name.startsWith("good-"));
    assert.equal(names.length, GOOD);
    for (const name of names) {
      const [row, ...others] = await listBackups(member(name));
      assert.deepEqual([row?.name, row?.record?.status?.phase, others], [RUN, "Completed", []]);
      const folders = (await Array.fromAsync(member(name).list("", { delimiter: "/" }))).map(({ prefix }) => prefix);
      assert.deepEqual(folders, ["backups/", "metadata/"]);
    }
    const location = `file://${scratch.path("bucket/good-07")}`;
    const verified = await document<{ ok: boolean }>([
      "backup",
      "verify",
      RUN,
      "--read-data",
      "--location",
      location,
      "-o",
      "json",
    ]);
    assert(verified.ok);
    const shown = await lifeboat(["backup", "show", RUN, "good-07/configmaps/map-3", "--location", location]);
    assert.match(shown.stdout + shown.stderr, /good-07/);
  });

  it("is not changed by a job that comes late", async () => {
    const before = await listFolder(root(), "");
    await run([NIGHTLY]);
    assert.deepEqual(await listFolder(root(), ""), before);
    assert.equal(told.length, 1);
  });

  it("tells how each cluster stands", async () => {
    const list = await document<ClusterListDocument>(["fleet", "get", "--config", config], {}, 3);
    const named = list.clusters.filter(({ problems }) => problems.length > 0).map(({ name }) => name);
    assert.deepEqual(named, TROUBLED);
    for (const { name, lastGood, items = 0, bytes = 0 } of list.clusters)
      if (!TROUBLED.includes(name)) assert(lastGood?.name === RUN && items > 40 && bytes > 20_000, name);
  });

  it("backs up what was mended, by the cluster's name, and the rest is as it was", async () => {
    await scratch.write("denied.kubeconfig", clusters.mended!);
    const { code, stderr } = await lifeboat(["schedule", "run", "nightly", "--cluster", "denied", "--config", config]);
    assert.equal(code, 0, stderr);
    const list = await document<ClusterListDocument>(["fleet", "get", "--config", config], {}, 3);
    const denied = list.clusters.find(({ name }) => name === "denied");
    assert.deepEqual([denied?.problems, list.clusters.filter(({ problems }) => problems.length > 0).length], [[], 5]);
  });
});
