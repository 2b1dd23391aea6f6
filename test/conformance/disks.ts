import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { DiskSnapshot, Disks, InZone } from "../../core/ports.ts";
import { rejects } from "./bucket.ts";
import { type Trouble, troubleTests } from "./troubles.ts";

const GiB = 1024 ** 3;

/** What a disk is like. `type` as the port tells it. */
export interface DiskFacts {
  type: string;
  iops?: number;
  throughput?: number;
  tags: Record<string, string>;
}

/** A cloud with disks, or its stand-in. */
export interface DiskCloud {
  disks: Disks;
  /** Two zones of one region, and a type for each test's disk whose IOPS and throughput are set apart. */
  zones: [string, string];
  fast: { type: string; iops: number; throughput: number };
  /** A type without such. */
  plain: string;
  /** Makes a disk of 3 GiB. */
  addDisk(zone: string, facts: DiskFacts): Promise<InZone>;
  /** What a disk is like now, and where; undefined where it is gone. */
  diskNow(disk: InZone): Promise<(DiskFacts & { zone: string }) | undefined>;
  /** From now on a snapshot is told to be in that state. */
  setState(snapshot: InZone, state: "pending" | "failed"): void;
  /** Says whether what is begun gets on. */
  hold(held: boolean): void;
  inTrouble(trouble: Trouble | "throttled", run: () => Promise<void>): Promise<void>;
  /** Names of a disk and a snapshot that aren't there. */
  absent: { disk: InZone; snapshot: InZone };
  /** Names that can be none of them. */
  badDisks: InZone[];
  badSnapshots: string[];
  stop(): Promise<void>;
}

/** The contract of the port `Disks` as tests: every adapter passes them against its cloud's emulator or stand-in. */
export function disksConformance(name: string, start: () => Promise<DiskCloud>): void {
  describe(`disks: ${name}`, () => {
    let cloud: DiskCloud;
    let disk: InZone;
    const signal = AbortSignal.timeout(120_000);
    before(async () => {
      cloud = await start();
      disk = await cloud.addDisk(cloud.zones[0], { ...cloud.fast, tags: { "example.com/team": "a", plain: "b" } });
    });
    after(() => cloud?.stop());

    const tagsOf = (backup: string) => ({ "velero.io/backup": backup, "velero.io/pv": "pvc-1", Team_9: "" });
    const snap = async (given: { disk?: InZone; name?: string; backup?: string } = {}) => {
      const { disk: of = disk, name = newName(), backup = newName() } = given;
      const { zone, id } = await cloud.disks.snapshot(of, { name, tags: tagsOf(backup), signal });
      return { zone, id };
    };
    const completed = async (snapshot: InZone): Promise<DiskSnapshot> => {
      for (;;) {
        const found = await cloud.disks.read(snapshot, signal);
        assert(found && found.state !== "failed", JSON.stringify(found));
        if (found.state === "completed") return found;
        await sleep(10);
      }
    };
    const options = (zone: string, name = newName()) => ({ name, zone, type: cloud.plain, tags: {}, signal });

    test("a snapshot tells the type, zone and IOPS of its disk", async () => {
      const { id, ...facts } = await cloud.disks.snapshot(disk, { name: newName(), tags: {}, signal });
      assert(id);
      assert.deepEqual(facts, { type: cloud.fast.type, zone: cloud.zones[0], iops: cloud.fast.iops });
      const plain = await cloud.addDisk(cloud.zones[1], { type: cloud.plain, tags: {} });
      const { id: _, ...told } = await cloud.disks.snapshot(plain, { name: newName(), tags: {}, signal });
      assert.deepEqual(told, { type: cloud.plain, zone: cloud.zones[1] });
    });

    test("asked twice with one name, there is one snapshot; with another, there are two", async () => {
      const backup = newName();
      const name = `${backup}/pvc-${"1".repeat(300)}`;
      const first = await snap({ name, backup });
      assert.deepEqual(await snap({ name, backup }), first);
      const second = await snap({ name: `${backup}/pvc-2`, backup });
      const ids = await listed({ name: "velero.io/backup", value: backup });
      assert.deepEqual(ids, [first.id, second.id].sort());
    });

    test("it is read as it is: its size, its time, its tags and its disk's", async () => {
      const began = Date.now();
      const backup = newName();
      const found = await completed(await snap({ backup }));
      assert.equal(found.size, 3 * GiB);
      assert(Math.abs(found.startedAt.getTime() - began) < 60_000, found.startedAt.toISOString());
      const { tags } = found;
      const expected = { ...tagsOf(backup), "example.com/team": "a", plain: "b" };
      assert.deepEqual({ ...tags, ...expected }, tags);
    });

    for (const state of ["pending", "failed"] as const) {
      test(`one that is ${state} is told as that`, async () => {
        const snapshot = await snap();
        cloud.setState(snapshot, state);
        const found = await cloud.disks.read(snapshot, signal);
        assert.equal(found?.state, state);
        if (state === "failed") assert(found.message);
      });
    }

    test("a disk made of it has the type asked for, the zone, IOPS, throughput and tags", async () => {
      const snapshot = await snap();
      await completed(snapshot);
      const [, zone] = cloud.zones;
      const { type, iops, throughput } = cloud.fast;
      const tags = { "example.com/restore": "r", plain: "c" };
      const id = await cloud.disks.create(snapshot.id, { name: newName(), zone, type, iops, tags, signal });
      const now = await cloud.diskNow({ id, zone });
      assert(now);
      assert.equal(lastOf(now.type), lastOf(type));
      assert.deepEqual([now.zone, now.iops, now.throughput], [zone, iops, throughput]);
      const expected: Record<string, string> = { "example.com/team": "a", ...tags };
      assert.deepEqual({ ...now.tags, ...expected }, now.tags);
      assert(!("kubernetes.io/cluster/old" in now.tags));
    });

    test("asked twice with one name, there is one disk; of another type, where that is asked for", async () => {
      const snapshot = await snap();
      await completed(snapshot);
      const given = options(cloud.zones[0]);
      const id = await cloud.disks.create(snapshot.id, given);
      assert.equal(await cloud.disks.create(snapshot.id, given), id);
      assert.notEqual(await cloud.disks.create(snapshot.id, options(cloud.zones[0])), id);
      const now = await cloud.diskNow({ id, zone: cloud.zones[0] });
      assert.equal(lastOf(now?.type ?? ""), lastOf(cloud.plain));
      assert.equal(now?.iops ?? 0, 0);
    });

    test("what binds a disk to one cluster is not handed on", async () => {
      const owned = await cloud.addDisk(cloud.zones[0], {
        type: cloud.plain,
        tags: { "kubernetes.io/cluster/old": "owned", a: "b" },
      });
      const { tags } = await completed(await snap({ disk: owned }));
      assert.deepEqual([tags.a, tags["kubernetes.io/cluster/old"]], ["b", undefined]);
    });

    test("what there is no room for is left out, the last first", async () => {
      const many = Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`example.com/${n}`, "v".repeat(60)]));
      const name = newName();
      const tags = { first: "1", ...many, "velero.io/backup": name };
      const snapshot = await cloud.disks.snapshot(disk, { name, tags, signal });
      const found = await cloud.disks.read(snapshot, signal);
      assert.deepEqual(await listed({ name: "velero.io/backup", value: name }), [snapshot.id]);
      assert.equal(found?.tags.first, "1");
      assert.equal(found.tags["example.com/0"], "v".repeat(60));
      assert.equal(found.tags["example.com/99"], undefined);
    });

    test("snapshots are listed by a tag and its value, or by a tag alone", async () => {
      const one = newName();
      const ids: string[] = [];
      for (let n = 0; n < 3; n++) ids.push((await snap({ backup: one })).id);
      const other = await snap();
      assert.deepEqual(await listed({ name: "velero.io/backup", value: one }), ids.sort());
      const all = await listed({ name: "velero.io/backup" });
      assert([...ids, other.id].every((id) => all.includes(id)));
      assert.deepEqual(await listed({ name: "velero.io/backup", value: one.slice(0, -1) }), []);
      assert.deepEqual(await listed({ name: "example.com/none" }), []);
      assert.deepEqual(await listed({ name: "velero.io/backup", value: `${one.slice(0, 4)}*` }), []);
    });

    test("removing what is not there succeeds", async () => {
      const snapshot = await snap();
      await completed(snapshot);
      const [zone] = cloud.zones;
      const made = { id: await cloud.disks.create(snapshot.id, options(zone)), zone };
      for (let n = 0; n < 2; n++) await cloud.disks.remove(made, signal);
      assert.equal(await cloud.diskNow(made), undefined);
      for (let n = 0; n < 2; n++) await cloud.disks.removeSnapshot(snapshot, signal);
      assert.equal(await cloud.disks.read(snapshot, signal), undefined);
    });

    test("what isn't there is missing", async () => {
      const { absent, disks, zones } = cloud;
      assert.equal(await disks.read(absent.snapshot, signal), undefined);
      await rejects("missing", disks.snapshot(absent.disk, { name: newName(), tags: {}, signal }));
      await rejects("missing", disks.create(absent.snapshot.id, options(zones[0])));
    });

    test("names that can be none are invalid", async () => {
      const { badDisks, badSnapshots, disks, zones } = cloud;
      assert(badDisks.length > 1 && badSnapshots.length > 1);
      for (const bad of badDisks) {
        await rejects("invalid", disks.snapshot(bad, { name: newName(), tags: {}, signal }));
        await rejects("invalid", disks.remove(bad, signal));
      }
      for (const id of badSnapshots) {
        await rejects("invalid", disks.read({ id, zone: zones[0] }, signal));
        await rejects("invalid", disks.removeSnapshot({ id, zone: zones[0] }, signal));
        await rejects("invalid", disks.create(id, options(zones[0])));
      }
    });

    describe("in trouble", () => {
      let snapshot: InZone;
      let doomed: InZone;
      before(async () => {
        snapshot = await snap();
        doomed = await cloud.addDisk(cloud.zones[0], { type: cloud.plain, tags: {} });
      });
      const calls = (given: AbortSignal): Record<string, () => Promise<unknown>> => ({
        snapshot: () => cloud.disks.snapshot(disk, { name: newName(), tags: {}, signal: given }),
        create: () => cloud.disks.create(snapshot.id, { ...options(cloud.zones[0]), signal: given }),
        remove: () => cloud.disks.remove(doomed, given),
        removeSnapshot: () => cloud.disks.removeSnapshot(snapshot, given),
        list: () => Array.fromAsync(cloud.disks.snapshots({ name: "velero.io/backup" }, disk, given)),
      });

      troubleTests(
        (given = signal) => cloud.disks.read(snapshot, given),
        (trouble, run) => cloud.inTrouble(trouble, run),
        {},
      );

      for (const call of ["snapshot", "create", "remove", "removeSnapshot", "list"]) {
        test(`${call}: denied is told, and a signal ends the wait`, async () => {
          await cloud.inTrouble("denied", async () => void (await rejects("denied", calls(signal)[call]!())));
          const reason = new Error("out of time");
          await assert.rejects(calls(AbortSignal.abort(reason))[call]!(), (thrown) => thrown === reason);
          await cloud.inTrouble("silent", async () => {
            const controller = new AbortController();
            setTimeout(() => controller.abort(reason), 50);
            await assert.rejects(calls(controller.signal)[call]!(), (thrown) => thrown === reason);
          });
        });
      }

      test("too many requests are busy", async () => {
        await cloud.inTrouble("throttled", async () => {
          await rejects("busy", cloud.disks.read(snapshot, signal));
          await rejects("busy", calls(signal).snapshot!());
        });
      });
    });

    test("what is begun and then given up is removed", async () => {
      const snapshot = await snap();
      await completed(snapshot);
      const backup = newName();
      const reason = new Error("given up");
      const attempts: ((given: AbortSignal) => Promise<unknown>)[] = [
        (given) => cloud.disks.snapshot(disk, { name: newName(), tags: tagsOf(backup), signal: given }),
        (given) => cloud.disks.create(snapshot.id, { ...options(cloud.zones[0], backup), signal: given }),
      ];
      for (const attempt of attempts) {
        const controller = new AbortController();
        cloud.hold(true);
        const failed = assert.rejects(attempt(controller.signal), (thrown) => thrown === reason);
        await sleep(100);
        // Removing waits for the cloud too.
        cloud.hold(false);
        controller.abort(reason);
        await failed;
      }
      assert.deepEqual(await listed({ name: "velero.io/backup", value: backup }), []);
      const again = await cloud.disks.create(snapshot.id, options(cloud.zones[0], backup));
      assert.equal((await cloud.diskNow({ id: again, zone: cloud.zones[0] }))?.zone, cloud.zones[0]);
    });

    async function listed(tag: { name: string; value?: string }): Promise<string[]> {
      const found = await Array.fromAsync(cloud.disks.snapshots(tag, disk, signal));
      return found.map(({ id }) => id).sort();
    }
  });
}

const newName = () => `b-${randomUUID()}`;
const lastOf = (path: string) => path.split("/").at(-1);
