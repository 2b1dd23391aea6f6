import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { listBackups, readLog } from "../../core/catalog.ts";
import { readSummary } from "../../core/fleet/document.ts";
import { s3Bucket } from "../../functions/aws/bucket.ts";
import { type Bundle, makeBundle } from "../rig/bundles.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type Lambda, startLambda } from "../rig/runtimes/lambda.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { type SlowApi, startSlowApi } from "../rig/slowapi.ts";
import { localMachine, motoMachine, type StateMachine, type Task } from "../rig/statemachine.ts";

/** Both interpret the definition: one knows tasks of functions only, the other one the Distributed Map, too. */
const ENGINES = [
  { engine: "aws-local-stepfunctions", start: localMachine, part: "npm:aws-local-stepfunctions" },
  { engine: "moto", start: motoMachine, part: "moto" },
] as const;

const RETRIES = 1;
/** Of parts, of which a fleet of three clusters has more. */
const CONCURRENCY = 2;
/** Sixteen pages, for which there is no time in one run. */
const OBJECTS = 8000;
const PAGE_MS = 250;
const LITTLE_MS = 4000;

function objects(count: number): KubernetesObject[] {
  return Array.from({ length: count }, (_, index) => ({
    ...{ apiVersion: "v1", kind: "ConfigMap" },
    metadata: { name: `settings-${index}`, namespace: "default" },
    data: { text: `${index} `.repeat(200) },
  }));
}

describe("the state machine of the aws module", {
  skip: requireOrSkip("rig", ["versitygw", "npm:aws-lambda-ric"]),
}, () => {
  let s3: S3;
  let servers: ApiServer[];
  let slow: SlowApi;
  let kubeconfigs: Record<string, string>;
  let bundle: Bundle;
  /** The function, and the same with little time. */
  let lambda: Lambda;
  let hurried: Lambda;
  /** What they were given, and from when to when, in milliseconds, they worked on each cluster. */
  let events: { loops: boolean; delivery: string; job: Record<string, unknown> }[];
  let worked: Map<unknown, { begun: number; ended: number }>;
  /** How many left something to the next one. */
  let cut: number;

  before(async () => {
    [s3, bundle, ...servers] = await Promise.all([
      startS3(),
      makeBundle("aws"),
      startApiServer({ objects: objects(OBJECTS) }),
      startApiServer(),
      startApiServer(),
    ]);
    slow = await startSlowApi(servers[0]!, PAGE_MS);
    const [a, b, dead] = [slow, ...servers.slice(1)].map(({ kubeconfig }) => kubeconfig);
    await servers.pop()?.stop();
    kubeconfigs = { KUBECONFIG_a: a!, KUBECONFIG_b: b!, KUBECONFIG_dead: dead! };
    const env = {
      ...kubeconfigs,
      ...s3.env,
      LIFEBOAT_LOCATION: s3.location("single"),
      LIFEBOAT_CLUSTERS_A_KUBECONFIG: "env:KUBECONFIG_a",
      LIFEBOAT_CLUSTERS_DEAD_KUBECONFIG: "env:KUBECONFIG_dead",
    };
    lambda = await startLambda({ dir: bundle.dir, env });
    hurried = await startLambda({ dir: bundle.dir, env, timeoutMs: LITTLE_MS });
    Object.assign(process.env, s3.env);
  });
  after(async () => {
    await Promise.all([
      lambda?.stop(),
      hurried?.stop(),
      s3?.stop(),
      slow?.stop(),
      ...(servers ?? []).map((server) => server.stop()),
    ]);
    await bundle?.[Symbol.asyncDispose]();
    for (const name of Object.keys(s3?.env ?? {})) delete process.env[name];
  });
  beforeEach(() => {
    events = [];
    worked = new Map();
    cut = 0;
  });

  const bucket = () => s3Bucket(new URL(s3.location("single")));
  const backups = async () => (await listBackups(bucket())).map(({ name }) => name).sort();

  /** A task of the function; `instead` answers for it, where it answers. */
  function taskOf(called: Lambda, instead: (job: Record<string, unknown>) => unknown = () => undefined): Task {
    return async (given) => {
      const event = given as (typeof events)[number];
      events.push(event);
      const { cluster } = event.job;
      const begun = worked.get(cluster)?.begun ?? performance.now();
      worked.set(cluster, { begun, ended: Number.POSITIVE_INFINITY });
      try {
        const answer = instead(event.job);
        if (answer) return answer;
        const { payload, error } = await called.invoke(event);
        if (error) throw Object.assign(new Error(error.errorMessage), { name: error.errorType });
        if (Object(payload).next) cut++;
        return payload;
      } finally {
        worked.set(cluster, { begun, ended: performance.now() });
      }
    };
  }

  for (const { engine, start, part } of ENGINES)
    describe(`on ${engine}`, { skip: requireOrSkip("rig", [part]) }, () => {
      const machineOf = (task: Task): Promise<StateMachine> =>
        start(task, { retries: RETRIES, concurrency: CONCURRENCY });
      const named = (name: string) => `${part.replace(/\W/g, "-")}-${name}`;

      test("makes a backup for which a run has no time in as many as it takes", async () => {
        await using machine = await machineOf(taskOf(hurried));
        const name = named("cut");
        const { output, error } = await machine.run({ kind: "backup", name, cluster: "a" });
        assert.equal(error, undefined, machine.letters[0]?.error.Cause);
        const { kind, phase, duplicate } = output as Record<string, unknown>;
        assert.deepEqual([kind, phase, duplicate], ["backup", "Completed", false]);
        assert((await backups()).includes(name));
        assert(cut > 0, "one run made it");
        assert.match(await readLog(bucket(), "backups", name), /Goes on with/);
        assert.equal(new Set(events.map(({ loops, delivery }) => `${loops} ${delivery}`)).size, 1);
        assert.deepEqual(machine.letters, []);
      });

      test("repeats a job that fails, and leaves it as a dead letter, which is the job again", async () => {
        await using machine = await machineOf(taskOf(lambda));
        const job = { kind: "backup", name: named("failing"), cluster: "dead" };
        const { error } = await machine.run(job);
        assert.equal(error, "JobFailedTryAgain");
        assert.deepEqual(
          events.map((event) => event.job),
          Array(1 + RETRIES).fill(job),
        );
        assert.deepEqual(
          machine.letters.map((letter) => [letter.job, letter.error.Error]),
          [[job, error]],
        );
        assert.match(machine.letters[0]?.error.Cause ?? "", /ECONNREFUSED/);
      });

      const unlimited = engine === "moto" ? false : "it takes answers of any length";
      test("leaves a job whose answer is more than an engine takes as a dead letter", { skip: unlimited }, async () => {
        await using machine = await machineOf(async () => ({ kind: "backup", parts: ["x".repeat(2 ** 18)] }));
        const job = { kind: "backup", name: named("long") };
        // By what name, moto keeps to itself.
        assert.notEqual((await machine.run(job)).error, undefined);
        assert.deepEqual(
          machine.letters.map((letter) => [letter.job, letter.error.Error]),
          [[job, "States.DataLimitExceeded"]],
        );
      });

      test("repeats nothing of which Lifeboat says that it will fail again", async () => {
        await using machine = await machineOf(taskOf(lambda));
        const { error } = await machine.run({ kind: "backup", cluster: "unknown" });
        assert.equal(error, "JobFailedForGood");
        assert.equal(events.length, 1);
        assert.equal(machine.letters.length, 1);
      });

      test("backs up a fleet, each cluster in shards, so many at once, and sums it up, though one is dead", async () => {
        const location = s3.location(engine);
        const configuration = JSON.stringify({
          clusters: Object.fromEntries(
            ["a", "b", "dead"].map((name) => [name, { kubeconfig: `env:KUBECONFIG_${name}` }]),
          ),
          schedules: { nightly: { schedule: "0 2 * * *", clusters: {}, shards: 2 } },
        });
        const env = { ...kubeconfigs, ...s3.env, LIFEBOAT_CONFIG: "env:CONFIGURATION", CONFIGURATION: configuration };
        await using fleet = await startLambda({
          dir: bundle.dir,
          env: { ...env, LIFEBOAT_LOCATION: location },
          concurrency: 4,
        });
        await using machine = await machineOf(taskOf(fleet));
        const { error } = await machine.run({ kind: "fleet", schedule: "nightly", name: "all" });
        assert.equal(error, "JobFailedForGood");
        const summary = await readSummary(s3Bucket(new URL(location)), "all");
        assert.deepEqual(
          summary?.clusters.map(({ cluster, phase }) => `${cluster} ${phase}`),
          ["a Completed", "b Completed", "dead Failed"],
        );
        const shards = events.flatMap(({ job }) => (job.shard ? `${job.cluster} ${job.shard}` : []));
        assert.deepEqual([...new Set(shards)].sort(), ["a 1", "a 2", "b 1", "b 2"]);
        const letters = machine.letters.map(({ job }) => Object(job)).map(({ kind, cluster }) => `${kind} ${cluster}`);
        assert.deepEqual(letters, ["backup dead", "fleet undefined"]);
        worked.delete(undefined);
        const spans = [...worked.values()];
        const atOnce = spans.map(({ begun }) => spans.filter((one) => one.begun <= begun && begun < one.ended).length);
        assert.equal(Math.max(...atOnce), CONCURRENCY);
      });

      test("waits until a job may begin, without the function", async () => {
        await using machine = await machineOf(taskOf(lambda, (job) => ({ kind: job.kind, duplicate: false })));
        const begins = Date.now() + 4000;
        await machine.run({ kind: "retention", notBefore: new Date(begins).toISOString() });
        assert.equal(events.length, 1);
        // Engines keep whole seconds, moto rounds them down twice: for the rest of it the function waits.
        assert(Date.now() > begins - 2000, `${begins - Date.now()} ms too early`);
      });
    });
});
