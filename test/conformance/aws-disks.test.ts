import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { CreateVolumeCommand, DescribeVolumesCommand, EC2Client, type VolumeType } from "@aws-sdk/client-ec2";
import { copyDisk, restoreDisk } from "../../core/volumes/native.ts";
import { ebsDisks } from "../../functions/aws/disks.ts";
import { type Ec2Proxy, startEc2Proxy } from "../rig/ec2.ts";
import { type Moto, startMoto } from "../rig/moto.ts";
import { requireOrSkip } from "../rig/require.ts";
import { rejects } from "./bucket.ts";
import { disksConformance } from "./disks.ts";

const ZONES: [string, string] = ["eu-west-1a", "eu-west-1b"];
const signal = AbortSignal.timeout(300_000);

interface Aws {
  moto: Moto;
  proxy: Ec2Proxy;
  client: EC2Client;
  stop(): Promise<void>;
}

/** moto behind the proxy, in another region than that of the environment: zones tell it. */
async function start(): Promise<Aws> {
  const moto = await startMoto();
  const proxy = await startEc2Proxy(moto.endpoint);
  Object.assign(process.env, moto.env, { AWS_ENDPOINT_URL_EC2: proxy.endpoint });
  const client = new EC2Client({ region: "eu-west-1", endpoint: moto.endpoint });
  const stop = async () => {
    client.destroy();
    for (const name of [...Object.keys(moto.env), "AWS_ENDPOINT_URL_EC2"]) delete process.env[name];
    await proxy.stop();
    await moto.stop();
  };
  return { moto, proxy, client, stop };
}

async function addVolume(client: EC2Client, zone: string, type = "gp3", tags: Record<string, string> = {}) {
  const Tags = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
  const { VolumeId = "" } = await client.send(
    new CreateVolumeCommand({
      AvailabilityZone: zone,
      Size: 3,
      VolumeType: type as VolumeType,
      ...(type === "gp3" && { Iops: 4000, Throughput: 300 }),
      TagSpecifications: [{ ResourceType: "volume", Tags: [...Tags, { Key: "CSIVolumeName", Value: "pvc-1" }] }],
    }),
  );
  return { id: VolumeId, zone };
}

async function volumeNow(client: EC2Client, id: string) {
  const Filters = [{ Name: "volume-id", Values: [id] }];
  return (await client.send(new DescribeVolumesCommand({ Filters }))).Volumes?.[0];
}

describe("AWS", { skip: requireOrSkip("rig", ["moto"]) }, () => {
  disksConformance("EBS", async () => {
    const { moto, proxy, client, stop } = await start();
    return {
      disks: ebsDisks({ pollMs: 5 }),
      zones: ZONES,
      fast: { type: "gp3", iops: 4000, throughput: 300 },
      plain: "gp2",
      addDisk: (zone, { type, tags }) => addVolume(client, zone, type, tags),
      async diskNow({ id }) {
        const volume = await volumeNow(client, id);
        if (!volume) return undefined;
        const { VolumeType: type = "", Iops: iops, Throughput: throughput, AvailabilityZone: zone = "", Tags } = volume;
        const tags = Object.fromEntries((Tags ?? []).map(({ Key = "", Value = "" }) => [Key, Value]));
        return { type, zone, tags, ...(type === "gp3" && iops && throughput && { iops, throughput }) };
      },
      setState: ({ id }, state) => proxy.states.set(id, state === "failed" ? "error" : state),
      hold: (held) => {
        proxy.held = held;
      },
      inTrouble: async (trouble, run) => {
        if (trouble === "denied") await moto.refuse(true);
        if (trouble === "silent") moto.pause(true);
        proxy.throttled = trouble === "throttled";
        proxy.broken = trouble === "unreachable";
        await run().finally(async () => {
          if (trouble === "denied") await moto.refuse(false);
          if (trouble === "silent") moto.pause(false);
          proxy.throttled = false;
          proxy.broken = false;
        });
      },
      absent: {
        disk: { id: "vol-0123456789abcdef0", zone: ZONES[0] },
        snapshot: { id: "snap-0123456789abcdef0", zone: ZONES[0] },
      },
      badDisks: [
        { id: "", zone: ZONES[0] },
        { id: "vol-x", zone: ZONES[0] },
        { id: "snap-0123456789abcdef0", zone: ZONES[0] },
      ],
      badSnapshots: ["", "snap-", "vol-0123456789abcdef0"],
      stop,
    };
  });

  describe("EBS's own", () => {
    let aws: Aws;
    before(async () => {
      aws = await start();
    });
    after(() => aws?.stop());

    test("a snapshot whose answer was lost is not made twice", async () => {
      const disk = await addVolume(aws.client, ZONES[0]);
      const name = randomUUID();
      aws.proxy.lost = { action: "CreateSnapshot", times: 1 };
      const { id } = await ebsDisks({ pollMs: 5 }).snapshot(disk, { name, tags: { name }, signal });
      const found = await Array.fromAsync(ebsDisks().snapshots({ name: "name", value: name }, disk, signal));
      assert.deepEqual(
        found.map((snapshot) => snapshot.id),
        [id],
      );
      assert.equal(aws.proxy.actions.filter((action) => action === "CreateSnapshot").length, 1);
    });

    test("a disk is copied by a snapshot, and made again in another zone", async () => {
      const disk = await addVolume(aws.client, ZONES[0], "gp3", { "ebs.csi.aws.com/cluster": "true" });
      const disks = ebsDisks({ pollMs: 5 });
      const name = randomUUID();
      const copy = copyDisk(disks, disk, { name, tags: { "velero.io/backup": name }, signal, pollMs: 5 });
      await copy.fixed;
      const { native, discard } = await copy.done;
      assert(native);
      const { snapshotHandle, ...facts } = native;
      assert.deepEqual(facts, { volumeId: disk.id, volumeType: "gp3", volumeAZ: ZONES[0], iops: 4000 });
      const id = await restoreDisk(disks, native, { name: "restored", zone: ZONES[1], tags: {}, signal });
      const volume = await volumeNow(aws.client, id);
      assert.deepEqual(
        [volume?.SnapshotId, volume?.AvailabilityZone, volume?.VolumeType, volume?.Iops, volume?.Throughput],
        [snapshotHandle, ZONES[1], "gp3", 4000, 300],
      );
      assert(volume?.Tags?.some(({ Key, Value }) => Key === "ebs.csi.aws.com/cluster" && Value === "true"));
      await discard!(signal);
      const gone = restoreDisk(disks, native, { name: "again", zone: ZONES[1], tags: {}, signal });
      assert.match((await rejects("missing", gone)).message, /is gone/);
    });
  });
});
