import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { listBackups, readLog } from "../../core/catalog.ts";
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
  let bundle: Bundle;
  /** The function, and the same with little time. */
  let lambda: Lambda;
  let hurried: Lambda;
  /** What they were given, and how many they worked on at once, at most. */
  let events: { loops: boolean; delivery: string; job: Record<string, unknown> }[];
  let most: number;
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
    const clusters = Object.entries({ a, b, dead }).flatMap(([name, kubeconfig = ""]) => [
      [`KUBECONFIG_${name}`, kubeconfig],
      [`LIFEBOAT_CLUSTERS_${name.toUpperCase()}_KUBECONFIG`, `env:KUBECONFIG_${name}`],
    ]);
    const env = { ...s3.env, LIFEBOAT_LOCATION: s3.location(""), ...Object.fromEntries(clusters) };
    lambda = await startLambda({ dir: bundle.dir, env, concurrency: 4 });
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
    most = 0;
    cut = 0;
  });

  const bucket = () => s3Bucket(new URL(s3.location("")));
  const backups = async () => (await listBackups(bucket())).map(({ name }) => name).sort();

  /** A task of the function; `instead` answers for it, where it answers. */
  function taskOf(called: Lambda, instead: (job: Record<string, unknown>) => unknown = () => undefined): Task {
    let running = 0;
    return async (given) => {
      const event = given as (typeof events)[number];
      events.push(event);
      most = Math.max(most, ++running);
      try {
        const answer = instead(event.job);
        if (answer) return answer;
        const { payload, error } = await called.invoke(event);
        if (error) throw Object.assign(new Error(error.errorMessage), { name: error.errorType });
        if (Object(payload).next) cut++;
        return payload;
      } finally {
        running--;
      }
    };
  }

  for (const { engine, start, part } of ENGINES)
    describe(`on ${engine}`, { skip: requireOrSkip("rig", [part]) }, () => {
      const machineOf = (task: Task): Promise<StateMachine> => start(task, { retries: RETRIES, concurrency: 2 });
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

      test("repeats nothing of which Lifeboat says that it will fail again", async () => {
        await using machine = await machineOf(taskOf(lambda));
        const { error } = await machine.run({ kind: "backup", cluster: "unknown" });
        assert.equal(error, "JobFailedForGood");
        assert.equal(events.length, 1);
        assert.equal(machine.letters.length, 1);
      });

      test("runs parts, and parts of parts, so many at once, and then what comes next, though one failed", async () => {
        const backup = (name: string, cluster = "b") => ({ kind: "backup", name: named(name), cluster });
        const next = { kind: "verify", name: named("part-3") };
        const sharded = { ...backup("part-2", "a"), shards: 2 };
        const parts = [backup("part-1"), backup("dead", "dead"), sharded, backup("part-3")];
        const task = taskOf(lambda, ({ name }) => (name === "fleet" ? { parts, next } : undefined));
        await using machine = await machineOf(task);
        const { output, error } = await machine.run({ kind: "backup", name: "fleet" });
        assert.equal(error, undefined);
        assert.equal((output as { phase: string }).phase, "Completed");
        const made = (await backups()).filter((name) => name.startsWith(named("part")));
        assert.deepEqual(made, ["part-1", "part-2", "part-3"].map(named));
        assert.deepEqual(events.flatMap(({ job }) => job.shard ?? []).sort(), [1, 2]);
        assert.deepEqual(events.at(-1)?.job, next);
        assert.deepEqual(
          machine.letters.map(({ job }) => job),
          [backup("dead", "dead")],
        );
        assert(most > 1, "one after the other");
      });

      test("waits until a job may begin, without the function", async () => {
        await using machine = await machineOf(taskOf(lambda, (job) => ({ kind: job.kind, duplicate: false })));
        const earliest = Date.now() + 1500;
        await machine.run({ kind: "retention", notBefore: new Date(earliest).toISOString() });
        assert.equal(events.length, 1);
        // Step Functions keeps whole seconds.
        assert(Date.now() > earliest - 1000, `${earliest - Date.now()} ms too early`);
      });
    });
});
