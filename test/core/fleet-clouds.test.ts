import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import { listBackups } from "../../core/catalog.ts";
import { parseConfig } from "../../core/config.ts";
import { type ErrorKind, LifeboatError } from "../../core/errors.ts";
import { readSummary } from "../../core/fleet/document.ts";
import type { ClusterDocument } from "../../core/fleet/standing.ts";
import type { Job, LockedJob } from "../../core/job.ts";
import type { Bucket, EksReference, ManagedClusters, Platform } from "../../core/ports.ts";
import { createService } from "../../core/service.ts";
import type { JobFailed, JobStatus } from "../../core/verdict.ts";
import { memoryBucket } from "../memory-bucket.ts";

const SLOT = "2026-11-23T02:00:00.000Z";
const RUN = "nightly-20261123020000";
const NIGHTLY = { kind: "fleet", schedule: "nightly", slot: SLOT } as const;
const tags = { backup: "yes" };

let server: ApiServer;
before(async () => {
  server = await startApiServer({});
});
after(() => server?.stop());

/** A fleet of the cluster `own` and of those that a cloud has: `cloud` says which, and how asking for them fails, in the end. */
function fleet() {
  const cloud = { names: ["one", "two"], fails: undefined as ErrorKind | undefined, asked: 0 };
  const eks: ManagedClusters<EksReference> = {
    endpoint: async () => ({ server: server.url }),
    token: async () => ({ token: "t", expires: new Date(Date.now() + 60_000) }),
    async *list({ name: only }) {
      cloud.asked++;
      const found = cloud.names.filter((name) => only === undefined || name === only);
      for (const name of found) yield { reference: { name, region: "eu-west-1" }, tags };
      if (cloud.fails) throw new LifeboatError(cloud.fails, "can't list the EKS clusters");
    },
  };
  const buckets = new Map<string, Bucket>();
  /** That of a location below the fleet's is a part of the fleet's. */
  const bucketAt = ({ pathname }: URL): Bucket => {
    const root = buckets.get("/fleet") ?? memoryBucket();
    buckets.set("/fleet", root);
    return pathname === "/fleet" ? root : within(root, `${pathname.slice("/fleet/".length)}/`, `file://${pathname}`);
  };
  const jobs: LockedJob[] = [];
  const platform: Platform = {
    buckets: { "file:": async (location) => bucketAt(location) },
    secrets: {},
    clusters: { eks: async () => eks },
    jobs: async () => ({ enqueue: async (job: Job) => void jobs.push(job as LockedJob) }),
  };
  const text = JSON.stringify({
    location: "file:///fleet",
    clusters: { own: { kubeconfig: "env:KUBECONFIG_OF_OWN" } },
    fleet: { discover: { aws: { eks: { region: "eu-west-1", tags } } } },
    schedules: { nightly: { schedule: "0 2 * * *", clusters: { matchLabels: tags } } },
  });
  const service = createService(platform, {
    config: async () => parseConfig(text, {}).config,
    listen: () => {},
    fleetTiming: { poll: 0, quiet: 0 },
  });
  /** Runs what is handed over, until nothing is any more. */
  const workOff = async (): Promise<(JobStatus | JobFailed)[]> => {
    const ends: (JobStatus | JobFailed)[] = [];
    for (let job = jobs.shift(); job; job = jobs.shift())
      ends.push(await service.run(job).catch((error: JobFailed) => error));
    return ends;
  };
  const bucketOf = (cluster = "") => bucketAt(new URL(`file:///fleet${cluster && `/${cluster}`}`));
  return { ...service, jobs, cloud, workOff, bucketOf };
}

/** What lies below a prefix, as a bucket of its own. */
function within(root: Bucket, prefix: string, location: string): Bucket {
  return {
    ...root,
    location,
    get: (key, ...rest) => root.get(prefix + key, ...rest),
    put: (key, ...rest) => root.put(prefix + key, ...rest),
    delete: (key, ...rest) => root.delete(prefix + key, ...rest),
    async *list(below, options) {
      for await (const listed of root.list(prefix + below, options))
        yield listed.key === undefined
          ? { prefix: listed.prefix.slice(prefix.length) }
          : { ...listed, key: listed.key.slice(prefix.length) };
    },
  };
}

const clustersOf = (jobs: readonly LockedJob[] = []) => jobs.map((job) => ("cluster" in job ? job.cluster : undefined));
const failure = (run: Promise<unknown>) =>
  run.then(
    () => assert.fail("it did not fail"),
    (error: JobFailed) => error,
  );

describe("a fleet's run whose cloud can't be asked", () => {
  for (const kind of ["unreachable", "busy", "timeout"] as const) {
    it(`(${kind}) asks it again before it chooses the clusters`, async () => {
      const { run, jobs, cloud, workOff, bucketOf } = fleet();
      Object.assign(cloud, { names: ["one"], fails: kind });
      const first = await run(NIGHTLY);
      assert.deepEqual([first.parts, clustersOf(jobs)], [undefined, [undefined]]);
      Object.assign(cloud, { names: ["one", "two"], fails: undefined });
      await workOff();
      const { phase, clusters } = (await readSummary(bucketOf(), RUN))!;
      assert.deepEqual([phase, clusters.map(({ cluster }) => cluster)], ["Completed", ["aws.one", "aws.two"]]);
    });
  }

  it("for long goes without what it did not tell", async () => {
    const { run, cloud, workOff, bucketOf } = fleet();
    Object.assign(cloud, { names: ["one"], fails: "unreachable" });
    await run(NIGHTLY);
    await workOff();
    const { phase, errors, counts } = (await readSummary(bucketOf(), RUN))!;
    assert.deepEqual([phase, counts.good, cloud.asked > 2], ["PartiallyFailed", 1, true]);
    assert.deepEqual(errors, [{ message: "discover aws: can't list the EKS clusters" }]);
  });

  it("with no hope goes on at once", async () => {
    const { run, jobs, cloud } = fleet();
    Object.assign(cloud, { names: ["one"], fails: "denied" });
    await run(NIGHTLY);
    assert.deepEqual(clustersOf(jobs), ["aws.one", undefined]);
  });
});

describe("retention of a fleet whose cloud can't be asked", () => {
  const cases: [kind: ErrorKind, name: string][] = [
    ["unreachable", "JobFailedTryAgain"],
    ["denied", "JobFailedForGood"],
  ];
  for (const [kind, name] of cases) {
    it(`(${kind}) is done for the others, and fails`, async () => {
      const { run, jobs, cloud, workOff } = fleet();
      Object.assign(cloud, { names: ["one"], fails: kind });
      await run({ kind: "retention" });
      if (kind === "denied") assert.deepEqual(clustersOf(jobs), ["aws.one", "own", undefined]);
      const ends = await workOff();
      assert.equal(ends.filter((end) => "phase" in end && end.phase === "Completed").length, 2);
      assert.equal(ends.at(-1)?.name, name);
    });
  }

  it("fails where there are no others, and is done for all once the cloud answers", async () => {
    const { run, jobs, cloud, workOff } = fleet();
    Object.assign(cloud, { names: [], fails: "denied" });
    assert.equal((await failure(run({ kind: "retention", schedule: "nightly" }))).name, "JobFailedForGood");
    Object.assign(cloud, { names: ["one"], fails: "busy" });
    await run({ kind: "retention", schedule: "nightly" });
    cloud.fails = undefined;
    await run(jobs.shift());
    assert.deepEqual(clustersOf(jobs), ["aws.one"]);
    await workOff();
  });
});

/** What is looked at of answers. */
interface Body {
  backups: { name: string }[];
  restores: { name: string; phase: string; cluster: string }[];
  clusters: ClusterDocument[];
}

describe("a check of a fleet", () => {
  const asked = async (cloud: Partial<ReturnType<typeof fleet>["cloud"]>) => {
    const made = fleet();
    Object.assign(made.cloud, cloud);
    const { ok, checks = [] } = await made.run({ kind: "check" });
    const of = (wanted: string) => checks.filter(({ subject }) => subject === wanted);
    return { ok, discovery: of("discovery"), clusters: [...new Set(of("cluster").map(({ name }) => name))] };
  };

  it("names a discovery that fails, and what to do, beside the clusters that were found", async () => {
    const { ok, discovery, clusters } = await asked({ fails: "denied" });
    assert.equal(ok, false);
    assert.deepEqual(discovery, [
      {
        ...{ subject: "discovery", name: "aws", question: "list", state: "failed", error: "denied" },
        ...{ message: "can't list the EKS clusters", todo: "grant it to the identity that runs this" },
      },
    ]);
    assert.deepEqual(clusters, ["aws.one", "aws.two", "own"]);
  });

  it("names what can't be a cluster's folder", async () => {
    const { discovery, clusters } = await asked({ names: ["one", "größe"] });
    assert.deepEqual(
      discovery.map(({ state, message }) => [state, message.includes('"aws.größe"')]),
      [["failed", true]],
    );
    assert.deepEqual(clusters, ["aws.one", "own"]);
  });

  it("tells how many a discovery has found, and that none is not what was meant", async () => {
    const told = async (names: string[]) =>
      (await asked({ names })).discovery.map(({ state, message }) => [state, message]);
    assert.deepEqual(await told(["one", "two"]), [["ok", "2 clusters"]]);
    assert.deepEqual(await told([]), [["warning", "no cluster has the tags"]]);
  });
});

describe("a cluster that the cloud no longer has", () => {
  const lost = async () => {
    const made = fleet();
    await made.run(NIGHTLY);
    await made.workOff();
    Object.assign(made.cloud, { names: ["two"], asked: 0 });
    return made;
  };
  const ask = async (
    { fetch }: Pick<ReturnType<typeof fleet>, "fetch">,
    method: string,
    path: string,
    body?: object,
  ) => {
    const json = body && { body: JSON.stringify(body), headers: { "content-type": "application/json" } };
    const answer = await fetch(new Request(`http://lifeboat${path}`, { method, ...json }));
    return { status: answer.status, location: answer.headers.get("location"), body: (await answer.json()) as Body };
  };

  it("is read, and no cloud is asked", async () => {
    const made = await lost();
    made.cloud.fails = "unreachable";
    assert.equal((await ask(made, "GET", "/clusters/aws.one/v1/backups")).body.backups[0]?.name, RUN);
    assert.equal((await made.run({ kind: "verify", cluster: "aws.one", name: RUN })).phase, "Completed");
    assert.equal(made.cloud.asked, 0);
    assert.equal((await ask(made, "GET", "/clusters/aws.none/v1/backups")).status, 503);
    assert.equal((await ask(made, "GET", "/clusters/metadata/v1/backups")).status, 404);
  });

  it("is verified with the fleet, keeps its backups, and is told", async () => {
    const made = await lost();
    await made.bucketOf().put("logs/backups.txt", Buffer.from("no cluster's"));
    await made.run({ kind: "verify" });
    assert.deepEqual(clustersOf(made.jobs.splice(0)), ["aws.one", "aws.two", "own"]);
    assert.equal((await ask(made, "GET", "/clusters/logs/v1/backups")).status, 404);
    await made.bucketOf("failing").put("metadata/lifeboat/runs/backups/x/1-log", Buffer.from(""));
    assert.equal((await ask(made, "GET", "/clusters/failing/v1/backups")).status, 200);
    await made.run({ kind: "retention" });
    assert.deepEqual(clustersOf(made.jobs.splice(0)), ["aws.two", "own"]);
    const { clusters } = (await ask(made, "GET", "/v1/fleet")).body;
    const [one = assert.fail()] = clusters;
    assert.deepEqual([one.name, one.lastGood?.name, one.next], ["aws.one", RUN, undefined]);
    assert.deepEqual([one.gone, one.problems, one.schedules], [true, [], []]);
  });

  it("is restored into another one of the fleet, by a job and by HTTP", async () => {
    const made = await lost();
    const spec = { backupName: RUN };
    await made.run({ kind: "restore", cluster: "aws.two", from: "aws.one", name: "by-job", spec });
    const path = "/clusters/aws.one/v1/restores";
    assert.equal((await ask(made, "POST", path, { name: "nowhere", spec })).status, 400);
    const asked = await ask(made, "POST", path, { name: "by-http", cluster: "aws.two", spec });
    assert.deepEqual([asked.status, asked.location], [202, `${path}/by-http`]);
    await made.workOff();
    const { restores } = (await ask(made, "GET", path)).body;
    assert.deepEqual(
      restores.map(({ name, phase, cluster }) => [name, phase, cluster]),
      ["by-http", "by-job"].map((name) => [name, "Completed", "aws.two"]),
    );
    assert.equal((await listBackups(made.bucketOf("aws.two")))[0]?.name, RUN);
    const stranger = made.run({ kind: "restore", cluster: "aws.two", from: "../x", name: "r", spec });
    assert.match((await failure(stranger)).message, /no cluster "..\/x"/);
  });
});
