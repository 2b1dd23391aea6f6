import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { FleetDocument } from "../../core/fleet/document.ts";
import type { ClusterListDocument } from "../../core/fleet/standing.ts";
import { document, lifeboat } from "../e2e/lifeboat.ts";
import { makeScratch, type Scratch, shop, startCluster } from "./cli-sample.ts";

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
    assert.equal(partly.stderr, "");
  });

  it("tells how clusters and schedules stand", async () => {
    const { clusters } = await document<ClusterListDocument>(["fleet", "get", "--config", config, "-o", "json"]);
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
    await run("schedule", "pause", "nightly", "--cluster", "blue");
    const pausedOf = async (...flags: string[]) =>
      / (true|false)$/m.exec((await run("schedule", "get", "nightly", ...flags)).stdout)?.[1];
    assert.deepEqual([await pausedOf("--cluster", "blue"), await pausedOf()], ["true", "false"]);
  });

  for (const args of [
    ["backup", "get"],
    ["retention", "preview"],
    ["backup", "verify", "--all"],
  ]) {
    it(`asks which cluster is meant by ${args.join(" ")}`, async () => {
      const { code, stderr } = await run(...args);
      assert.equal(code, 2);
      assert.match(stderr, /configuration is a fleet.s.*--cluster NAME/s);
    });
  }

  it("knows when there is no fleet, and no such cluster", async () => {
    const single = { location: "./single", clusters: { a: { kubeconfig: "file:a.kubeconfig" } } };
    const file = await scratch.write("single.yaml", JSON.stringify(single));
    assert.match((await lifeboat(["fleet", "get", "--config", file])).stderr, /not a fleet's/);
    assert.match((await run("backup", "get", "--cluster", "red")).stderr, /no cluster "red".*blue, green, lost/s);
  });
});
