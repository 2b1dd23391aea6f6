import assert from "node:assert/strict";
import { mkdir, readdir } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import type { FleetDocument } from "../../core/fleet/document.ts";
import type { ClusterListDocument } from "../../core/fleet/standing.ts";
import { document, lifeboat, start } from "../e2e/lifeboat.ts";
import { makeScratch, type Scratch, shop, startCluster, startGate } from "./cli-sample.ts";

describe("the command line and a fleet", () => {
  let scratch: Scratch;
  let cluster: Awaited<ReturnType<typeof startCluster>>;
  let config: string;
  before(async () => {
    scratch = await makeScratch();
    cluster = await startCluster(scratch, "a", shop());
    const kubeconfig = "file:a.kubeconfig";
    const clusters = {
      blue: { kubeconfig, labels: { tier: "prod" } },
      green: { kubeconfig, labels: { tier: "prod" } },
      lost: { kubeconfig: "file:none" },
    };
    const nightly = { schedule: "0 2 * * *", clusters: { matchLabels: { tier: "prod" } }, retention: { keepLast: 3 } };
    const all = { schedule: "0 3 * * *", clusters: {} };
    const content = { location: "./bucket", clusters, schedules: { nightly, all } };
    config = await scratch.write("fleet.yaml", JSON.stringify(content));
  });
  after(async () => {
    await cluster?.stop();
    await scratch?.remove();
  });

  const run = (...args: string[]) => lifeboat([...args, "--config", config]);

  it("runs a schedule of many clusters, and ends by how that went", async () => {
    const made = await document<FleetDocument>(["schedule", "run", "nightly", "--config", config, "-o", "json"]);
    assert.deepEqual([made.phase, made.clusters.map(({ cluster }) => cluster)], ["Completed", ["blue", "green"]]);
    const partly = await run("schedule", "run", "all");
    assert.equal(partly.code, 3);
    assert.match(partly.stdout, /Clusters: +2 of 3 good, 1 failed.*Errors:\n {2}lost: .*none/s);
    const name = /all-\d+/.exec(partly.stdout)?.[0];
    const again = await run("schedule", "run", "all", name!);
    assert.equal(again.code, 3);
    assert.match(again.stderr, /This run had ended at .*, and nothing is done again/);
    const ahead = await run("schedule", "run", "all", "all-20990101000000");
    assert.equal(ahead.code, 2);
    assert.match(ahead.stderr, /of a slot that is still ahead/);
    const flags = `--config ${config} --cluster lost`;
    assert(
      partly.stderr.includes(`location check ${flags}\n`) && partly.stderr.includes(`backup logs ${name} ${flags}\n`),
    );
  });

  it("tells of a run that is cancelled how far it is, and goes on with it", async () => {
    const waiting = Promise.withResolvers<undefined>();
    const asked = Promise.withResolvers<void>();
    const gate = await startGate(cluster, () => {
      asked.resolve();
      return waiting.promise;
    });
    await scratch.write("slow.kubeconfig", gate.kubeconfig);
    const clusters = { a: { kubeconfig: "file:a.kubeconfig" }, b: { kubeconfig: "file:slow.kubeconfig" } };
    const schedules = { nightly: { schedule: "0 2 * * *", clusters: {} } };
    const content = { location: "./slow", clusters, fleet: { concurrency: 1 }, schedules };
    const file = await scratch.write("slow.yaml", JSON.stringify(content));
    try {
      const running = start(["schedule", "run", "nightly", "--config", file]);
      await asked.promise;
      process.kill(running.pid, "SIGINT");
      const { code, stderr } = await running.ended;
      assert.equal(code, 130);
      const [, command = ""] =
        /^Fleet \S+: 1 of 2 clusters done\ngo on with it: npx lifeboat (.*)$/m.exec(stderr) ?? [];
      waiting.resolve(undefined);
      const done = await lifeboat(command.split(" "));
      assert.match(done.stdout, /Clusters: +2 of 2 good/, done.stderr);
    } finally {
      waiting.resolve(undefined);
      await gate.stop();
    }
  });

  it("tells how clusters and schedules stand", async () => {
    const { clusters } = await document<ClusterListDocument>(["fleet", "get", "--config", config, "-o", "json"], {}, 3);
    const about = clusters.map(({ name, schedules, problems }) => [name, schedules.length, problems.length]);
    assert.deepEqual(about, [
      ["blue", 2, 0],
      ["green", 2, 0],
      ["lost", 1, 1],
    ]);
    assert.match(
      (await run("fleet", "get")).stdout,
      /^CLUSTER +LAST GOOD .*\nblue +all-\d+ .*\nProblems:\n {2}lost: /s,
    );
    assert.match((await run("schedule", "get")).stdout, /nightly +0 2 \* \* \* +tier=prod +nightly-\d+ +Completed/);
    assert.match((await run("schedule", "next")).stdout, /nightly/);
    assert.match(
      (await run("schedule", "get", "--cluster", "green")).stdout,
      /nightly .* green +nightly-\d+ +Completed/,
    );
  });

  it("looks into one cluster's location with --cluster, or by that location alone", async () => {
    const listed = await run("backup", "get", "--cluster", "green");
    assert.match(listed.stdout, /all-\d+ +Completed.*nightly-\d+ +Completed/s);
    const byLocation = await lifeboat(["backup", "get", "--location", scratch.path("bucket/green")]);
    assert.equal(byLocation.stdout, listed.stdout);
    const restored = await run("restore", "create", "--from-schedule", "nightly", "--cluster", "green", "--dry-run");
    assert.equal(restored.code, 0, restored.stderr);
    const kept = await run("retention", "preview", "--cluster", "blue");
    assert.match(kept.stderr, /Nothing would be deleted: 2 looked at/);
  });

  it("pauses a schedule for all clusters, or for one", async () => {
    const said = async (...args: string[]) => {
      const { stdout, stderr } = await run("schedule", ...args);
      return (stdout + stderr).trim();
    };
    const pausedOf = async (...flags: string[]) => (await said("get", "nightly", ...flags)).split(/ {2,}/).at(-1);
    const ofBlue = ["--cluster", "blue"];
    assert.equal(await said("pause", "nightly", ...ofBlue), "Schedule nightly is paused for blue");
    assert.deepEqual([await pausedOf(...ofBlue), await pausedOf()], ["true", "blue"]);
    assert.equal(
      await said("unpause", "nightly"),
      "Schedule nightly was not paused\nnightly is still paused for: blue (unpause it with --cluster)",
    );
    assert.equal(await said("pause", "nightly"), "Schedule nightly is paused");
    assert.equal(
      await said("unpause", "nightly", ...ofBlue),
      "Schedule nightly goes on for blue\nnightly is paused for the whole fleet: unpause it without --cluster",
    );
    assert.deepEqual([await pausedOf(...ofBlue), await pausedOf()], ["true (whole fleet)", "true"]);
    const { stdout } = await run("fleet", "get");
    assert.match(stdout, /blue +\S+ +\S+ +\S+ 03:00:00 UTC .*\n {2}blue: nightly is paused \(whole fleet\)\n/s);
    await run("schedule", "unpause", "nightly");
    assert.equal(await pausedOf(), "false");
  });

  for (const args of [
    ["backup", "get"],
    ["backup", "create", "foo"],
    ["restore", "create", "--from-schedule", "nightly"],
    ["retention", "preview"],
    ["backup", "verify", "--all"],
  ]) {
    it(`asks which cluster is meant by ${args.join(" ")}`, async () => {
      const { code, stderr } = await run(...args);
      assert.equal(code, 2);
      assert.match(stderr, /configuration is a fleet.s.*--cluster NAME/s);
    });
  }

  describe("at the fleet's own location", () => {
    const REFUSAL = /fleet's location.*its clusters are blue, green, lost: take file:.*\/bucket\/blue\n/s;
    for (const args of [
      ["backup", "get"],
      ["backup", "get", "--cluster", "blue"],
      ["backup", "describe", "foo"],
      ["backup", "verify", "--all"],
      ["restore", "get"],
      ["retention", "preview"],
      ["backup", "create", "stray", "--kubeconfig", "a.kubeconfig"],
    ]) {
      it(`${args.join(" ")} is refused, with no configuration at hand`, async () => {
        const single = await scratch.write("alone.yaml", "clusters: { blue: { kubeconfig: 'file:a.kubeconfig' } }");
        const given = args.map((arg) => (arg === "a.kubeconfig" ? cluster.file : arg));
        const { code, stderr } = await lifeboat([...given, "--location", scratch.path("bucket")], {
          LIFEBOAT_CONFIG: single,
        });
        assert.equal(code, 2, stderr);
        assert.match(stderr, REFUSAL);
      });
    }

    it("nothing is in the way where that has backups of its own, of a time before the fleet", async () => {
      const before = ["--location", scratch.path("before")];
      const made = await lifeboat(["backup", "create", "old", ...before, "--kubeconfig", cluster.file]);
      assert.equal(made.code, 0, made.stderr);
      await mkdir(scratch.path("before/metadata/lifeboat/fleet/nightly-20261127020000"), { recursive: true });
      await scratch.write("before/metadata/lifeboat/fleet/nightly-20261127020000/members.json", "{}");
      for (const args of [
        ["backup", "get"],
        ["restore", "get"],
        ["backup", "verify", "old"],
      ]) {
        const { code, stderr } = await lifeboat([...args, ...before]);
        assert.equal(code, 0, stderr);
      }
    });

    it("nothing is written for one cluster, be there runs already or not", async () => {
      const nightly = ["schedule", "run", "nightly", "--cluster", "blue", "--location"];
      const { code, stderr } = await run(...nightly, scratch.path("bucket"));
      assert.equal(code, 2);
      assert.match(stderr, /fleet's location.*take .*\/bucket\/blue\n/s);
      const top = await readdir(scratch.path("bucket"));
      assert.deepEqual(top.sort(), ["blue", "green", "lost", "metadata"]);
    });
  });

  describe("whose location LIFEBOAT_LOCATION says", () => {
    const ofBlue = ["backup", "get", "--cluster", "blue"];
    const moved = { LIFEBOAT_LOCATION: "" };
    before(async () => {
      moved.LIFEBOAT_LOCATION = scratch.path("moved");
      const made = await lifeboat(["schedule", "run", "nightly", "--config", config], moved);
      assert.equal(made.code, 0, made.stderr);
    });

    it("has its clusters below that, not below what the file says", async () => {
      const { stdout } = await lifeboat([...ofBlue, "--config", config], moved);
      const own = await lifeboat(["backup", "get", "--location", scratch.path("moved/blue")]);
      assert.match(stdout, /^NAME.*\nnightly-\d+ +Completed[^\n]*\n$/s);
      assert.equal(stdout, own.stdout);
    });

    it("refuses that as the location of one cluster, and says what to do", async () => {
      const { code, stderr } = await lifeboat(
        [...ofBlue, "--location", scratch.path("moved"), "--config", config],
        moved,
      );
      assert.equal(code, 2);
      assert.match(stderr, /moved is the fleet's location.*\nhint: leave --location out, or take .*\/moved\/blue\n/);
    });
  });

  it("that variables alone say is warned of what chooses nothing", async () => {
    const { code, stderr } = await lifeboat(["schedule", "next"], {
      LIFEBOAT_LOCATION: scratch.path("variables"),
      LIFEBOAT_CLUSTERS_BLUE_KUBECONFIG: "env:NONE",
      LIFEBOAT_SCHEDULES_NIGHTLY_SCHEDULE: "@daily",
      LIFEBOAT_SCHEDULES_NIGHTLY_CLUSTERS_MATCH_LABELS: "tier=prod",
    });
    assert.deepEqual([code, stderr], [0, "warning: the environment: schedules.nightly.clusters chooses no cluster\n"]);
  });

  it("renders clocks that hand over the fleet's runs, or those of one cluster", async () => {
    const jobsOf = async (...flags: string[]) => {
      const { schedules } = JSON.parse((await run("schedule", "render", "--target", "aws", ...flags)).stdout);
      return Object.values<{ job: object }>(schedules).map(({ job }) => job);
    };
    const job = (schedule: string) => ({ kind: "backup", schedule });
    assert.deepEqual(await jobsOf(), [job("nightly"), job("all")]);
    assert.deepEqual(await jobsOf("--cluster", "lost"), [{ ...job("all"), cluster: "lost" }]);
    const { code, stderr } = await run("schedule", "render", "--target", "azure", "--cluster", "lost");
    assert.equal(code, 2);
    assert.match(stderr, /clock .* whole .*\nhint: leave --cluster out/);
  });

  it("gives hints that hold for one cluster", async () => {
    const made = await run("backup", "create", "mine", "--cluster", "blue");
    const place = pathToFileURL(scratch.path("bucket/blue")).href;
    assert(
      made.stderr.includes(`restore create --from-backup mine --location ${place} --config ${config} --cluster NAME`),
    );
    const lost = await run("backup", "describe", "none", "--cluster", "blue");
    assert.match(lost.stderr, /"lifeboat backup get --cluster blue" lists/);
  });

  it("tells which clusters a schedule chooses instead", async () => {
    for (const verb of ["run", "pause"]) {
      const { code, stderr } = await run("schedule", verb, "nightly", "--cluster", "lost");
      assert.equal(code, 2);
      assert.match(stderr, /"nightly" doesn't choose the cluster "lost": it is of tier=prod\n.*"lost" is of all/s);
    }
    assert.match(
      (await run("fleet", "get", "--cluster", "blue")).stderr,
      /whole fleet.*schedule get .*--cluster blue/s,
    );
  });

  it("takes one cluster, and says so in its help", async () => {
    const twice = await run("backup", "get", "--cluster", "blue", "--cluster", "green");
    assert.equal(twice.code, 2);
    assert.match(twice.stderr, /--cluster.*given twice.*blue/);
    for (const command of ["backup get", "schedule get", "schedule run", "schedule pause", "retention preview"])
      assert.match((await lifeboat([...command.split(" "), "--help"])).stdout, /--cluster <name> .*fleet/s);
  });

  describe("whose cloud can't be asked", () => {
    const NOWHERE = {
      ...{ AWS_ENDPOINT_URL: "http://127.0.0.1:1", AWS_MAX_ATTEMPTS: "1" },
      ...{ AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b" },
    };
    let discovering: string;
    before(async () => {
      const schedules = { nightly: { schedule: "0 2 * * *", clusters: {} } };
      const discover = { aws: { eks: { region: "eu-west-1", tags: { backup: "yes" } } } };
      const content = { location: "./bucket", fleet: { discover }, schedules };
      discovering = await scratch.write("discovering.yaml", JSON.stringify(content));
    });

    for (const args of [
      ["fleet", "get"],
      ["schedule", "get"],
      ["schedule", "get", "nightly"],
    ])
      it(`tells so by ${args.join(" ")}, and ends with 3`, async () => {
        const { code, stdout, stderr } = await lifeboat([...args, "--config", discovering], NOWHERE);
        assert.equal(code, 3, stderr);
        assert.match(stdout, /\n\nProblems:\n {2}discover aws: can't list the EKS clusters in eu-west-1.*\n/);
        assert.equal(stdout.match(/discover aws/g)?.length, 1);
      });

    it("tells so by schedule unpause, which can't know all that is paused", async () => {
      const { stderr } = await lifeboat(["schedule", "unpause", "nightly", "--config", discovering], NOWHERE);
      assert.match(stderr, /^discover aws: can't list the EKS clusters/m);
    });

    it("tells so by location check, though no cluster is configured", async () => {
      const { code, stdout } = await lifeboat(["location", "check", "--config", discovering], NOWHERE);
      assert.equal(code, 1);
      assert.match(stdout, /\n\ndiscovery aws\n {2}failed {3}list {10}can't list the EKS clusters.*\n +→ /);
    });
  });

  it("tells of a location that can be none, and what to do", async () => {
    const clusters = { blue: { kubeconfig: "file:a.kubeconfig" } };
    const schedules = { nightly: { schedule: "0 2 * * *", clusters: {} } };
    await scratch.write("file", "no directory");
    for (const [location, says] of [
      ["./file/x", /both a file and a directory/],
      ["/proc/nope", /no directory can be made there.*hint: take another location/s],
    ] as const) {
      const file = await scratch.write("unusable.yaml", JSON.stringify({ location, clusters, schedules }));
      const ended = await lifeboat(["schedule", "run", "nightly", "--config", file]);
      assert.match(ended.stderr, says);
      assert.doesNotMatch(ended.stderr, /unexpected|fault of lifeboat/);
    }
    const below = await scratch.write("below.yaml", JSON.stringify({ location: "./file/x", clusters, schedules }));
    const { code, stderr } = await lifeboat(["fleet", "get", "--config", below]);
    assert.equal(code, 2);
    assert.match(stderr, /both a file and a directory/);
  });

  it("knows when there is no fleet, and no such cluster", async () => {
    const single = { location: "./single", clusters: { a: { kubeconfig: "file:a.kubeconfig" } } };
    const file = await scratch.write("single.yaml", JSON.stringify(single));
    assert.match((await lifeboat(["fleet", "get", "--config", file])).stderr, /not a fleet's/);
    assert.match((await run("backup", "get", "--cluster", "red")).stderr, /no cluster "red".*blue, green, lost/s);
  });
});
