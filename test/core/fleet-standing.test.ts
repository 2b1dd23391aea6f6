import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { parseConfig } from "../../core/config.ts";
import { LifeboatError } from "../../core/errors.ts";
import { fleetDocument } from "../../core/fleet/document.ts";
import { isFleet } from "../../core/fleet/narrowed.ts";
import { fleetScheduleDocuments, fleetStanding, lastSlot } from "../../core/fleet/standing.ts";
import { openSigner } from "../../core/integrity/keys.ts";
import { backupKeys, fleetKeys } from "../../core/layout.ts";
import type { Bucket } from "../../core/ports.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { putBackup } from "./retention-sample.ts";

const CLUSTERS = 500;
const LATENCY_MS = 10;
const secrets = { read: async () => assert.fail("asks for a secret") };
const NOW = new Date("2026-11-23T05:00:00Z");
const signal = new AbortController().signal;

/** A location with one good backup, each of whose requests takes its time; `asked` hears of each. */
async function location(asked: () => void): Promise<Bucket> {
  const bucket = memoryBucket();
  const name = "nightly-20261123020000";
  const status = { phase: "Completed", startTimestamp: "2026-11-23T02:00:01Z", progress: { itemsBackedUp: 7 } };
  const record = { kind: "Backup", metadata: { name, annotations: { "lifeboat/bytes": "4096" } }, status };
  await bucket.put(backupKeys(name).metadata, Buffer.from(JSON.stringify(record)));
  const late = () => {
    asked();
    return sleep(LATENCY_MS);
  };
  return {
    ...bucket,
    get: (...given) => late().then(() => bucket.get(...given)),
    async *list(...given) {
      await late();
      yield* bucket.list(...given);
    },
  };
}

/** A fleet of one cluster, and one schedule of that name. */
function ownOnly(schedule: string) {
  const clusters = { own: { kubeconfig: "env:NONE" } };
  const schedules = { [schedule]: { schedule: "0 2 * * *", clusters: {} } };
  const { config } = parseConfig(JSON.stringify({ location: "memory://f", clusters, schedules }), {});
  assert(isFleet(config));
  return config;
}

describe("how a fleet stands", () => {
  it("is read of 500 clusters in seconds, by ten requests of each at most, and names those that can't be read", async (t) => {
    const names = Array.from({ length: CLUSTERS }, (_, number) => `c-${String(number).padStart(3, "0")}`);
    const clusters = Object.fromEntries(names.map((name) => [name, { kubeconfig: "env:NONE" }]));
    const schedules = { nightly: { schedule: "0 2 * * *", clusters: {} } };
    const { config } = parseConfig(JSON.stringify({ location: "memory://fleet", clusters, schedules }), {});
    assert(isFleet(config));
    let requests = 0;
    const member = await location(() => requests++);
    const began = performance.now();
    const reading = { config, bucket: memoryBucket(), secrets, clouds: {}, signal };
    const openMember = async (location: string) => {
      if (location.endsWith("/c-007")) throw new LifeboatError("denied", "this location is not ours");
      return member;
    };
    const { clusters: found, unread } = await fleetStanding({ ...reading, openMember }, NOW);
    const seconds = (performance.now() - began) / 1000;
    t.diagnostic(`${seconds.toFixed(1)} s, ${requests} requests`);
    assert(seconds < 20, `${seconds} s`);
    assert(requests <= 10 * CLUSTERS, `${requests} requests`);
    assert.deepEqual([found.map(({ name }) => name), unread], [names, 1]);
    const { lastGood, ageSeconds, items, bytes, next, problems } = found[0]!;
    assert.deepEqual(
      { lastGood: lastGood?.name, ageSeconds, items, bytes, next, problems },
      {
        ...{ lastGood: "nightly-20261123020000", ageSeconds: 10_799, items: 7, bytes: 4096 },
        ...{ next: "2026-11-24T02:00:00Z", problems: [] },
      },
    );
    assert.deepEqual(found[7]?.problems, ["its location can't be read: this location is not ours"]);
  });

  it("passes over what no trusted key has signed, where some are trusted, and tells of it", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    const texts: Record<string, string> = {
      "env:KEY": String(privateKey.export({ format: "pem", type: "pkcs8" })),
      "env:TRUSTED": String(publicKey.export({ format: "pem", type: "spki" })),
    };
    const secrets = { read: async (reference: string) => texts[reference] ?? assert.fail(reference) };
    const signer = await openSigner(secrets, "env:KEY");
    const member = memoryBucket();
    const [signed, unsigned] = ["nightly-20261122020000", "nightly-20261123020000"] as const;
    await putBackup(member, { name: signed, start: new Date("2026-11-22T02:00:00Z"), signer });
    await putBackup(member, { name: unsigned, start: new Date("2026-11-23T02:00:00Z") });
    const told = async (signing: object) => {
      const schedules = { nightly: { schedule: "0 2 * * *", clusters: {} } };
      const given = { location: "memory://f", clusters: { a: { kubeconfig: "env:NONE" } }, schedules, signing };
      const { config } = parseConfig(JSON.stringify(given), {});
      assert(isFleet(config));
      const bucket = memoryBucket();
      const reading = { config, bucket, secrets, clouds: {}, openMember: async () => member, signal };
      const { clusters } = await fleetStanding(reading, NOW);
      const [schedule] = await fleetScheduleDocuments(reading, Object.values(config.fleet.schedules), NOW);
      return [clusters[0]?.lastGood?.name, schedule?.lastGood?.name, clusters[0]?.problems];
    };
    assert.deepEqual(await told({}), [unsigned, unsigned, []]);
    const problems = [`backup "${unsigned}" is not signed`];
    assert.deepEqual(await told({ publicKeys: ["env:TRUSTED"] }), [signed, signed, problems]);
  });

  it("is told by the newest run that can be read, whatever else lies there, of slots ahead too", async () => {
    const config = ownOnly("nightly");
    const bucket = memoryBucket();
    const summary = (day: string, content?: string) => {
      const name = `nightly-${day}020000`;
      const run = { name, schedule: "nightly", location: "memory://f", began: NOW, problems: [], warnings: [] };
      const document = fleetDocument(run, new Map([["own", { phase: "Completed" }]]), NOW);
      return bucket.put(fleetKeys(name).summary, Buffer.from(content ?? JSON.stringify(document)));
    };
    await summary("20261121");
    await summary("20261122");
    await summary("20261123", "garbage");
    await summary("29991231");
    await summary("29991230", "garbage");
    const reading = { config, bucket, secrets, clouds: {}, openMember: async () => memoryBucket(), signal };
    const { runs, problems } = await fleetStanding(reading, NOW);
    assert.deepEqual(
      runs.map(({ name }) => name),
      ["nightly-20261122020000"],
    );
    const { nightly = assert.fail() } = config.fleet.schedules;
    const [schedule] = await fleetScheduleDocuments(reading, [nightly], NOW);
    assert.equal(schedule?.lastBackup?.name, "nightly-20261122020000");
    for (const told of [problems, schedule.problems])
      assert.deepEqual(told, [
        `run nightly-20261123020000: ${fleetKeys("nightly-20261123020000").summary} does not hold what its name says`,
      ]);
    assert.deepEqual(await lastSlot(bucket, nightly, NOW, signal), new Date("2026-11-22T02:00:00Z"));
  });

  it("names a folder that may not be read, and tells how the others stand", async () => {
    const config = ownOnly("s");
    const bucket = memoryBucket();
    await bucket.put("shut/backups/b/x", Buffer.from("x"));
    const denied = new LifeboatError("denied", "this folder is not ours");
    const shut: Bucket = {
      ...bucket,
      async *list(prefix, options) {
        if (prefix.startsWith("shut/")) throw denied;
        yield* bucket.list(prefix, options);
      },
    };
    const openMember = async (location: string) => {
      if (location.endsWith("/shut")) throw denied;
      return memoryBucket();
    };
    const { clusters } = await fleetStanding({ config, bucket: shut, secrets, clouds: {}, openMember, signal }, NOW);
    assert.deepEqual(
      clusters.map(({ name, problems }) => [name, problems]),
      [
        ["own", ["s: it has no good backup"]],
        ["shut", ["its location can't be read: this folder is not ours"]],
      ],
    );
  });

  it("takes a folder for that of a cluster which is gone only where backups or restores lie in it, by two requests at most", async () => {
    const config = ownOnly("s");
    const bucket = memoryBucket();
    for (const key of [
      ...["own/metadata/x", "gone/backups/b/velero-backup.json", "restored/restores/r/restore-r.log"],
      ...["logs/2026/backups/x", "backups.old/b/x", "left/metadata/lifeboat/x", "file.txt"],
    ])
      await bucket.put(key, Buffer.from("x"));
    const listed: string[] = [];
    const counting: Bucket = {
      ...bucket,
      list: (prefix, options) => {
        listed.push(prefix);
        return bucket.list(prefix, options);
      },
    };
    const reading = { config, bucket: counting, secrets, clouds: {}, openMember: async () => memoryBucket(), signal };
    const { clusters } = await fleetStanding(reading, NOW);
    assert.deepEqual(
      clusters.map(({ name, gone }) => [name, gone]),
      [
        ["gone", true],
        ["own", undefined],
        ["restored", true],
      ],
    );
    const of = (folder: string) => listed.filter((prefix) => prefix.startsWith(`${folder}/`)).length;
    assert.deepEqual(["own", "gone", "restored", "logs", "left"].map(of), [0, 1, 2, 2, 2]);
  });
});
