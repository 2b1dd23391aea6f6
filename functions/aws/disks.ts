import { randomUUID } from "node:crypto";
import {
  CreateSnapshotCommand,
  CreateVolumeCommand,
  DeleteSnapshotCommand,
  DeleteVolumeCommand,
  DescribeVolumesCommand,
  type ResourceType,
  type Snapshot,
  type Tag,
  type VolumeType,
} from "@aws-sdk/client-ec2";
import {
  type DiskSnapshot,
  type Disks,
  ERROR_KINDS,
  type InZone,
  isLifeboatError,
  isRefusal,
  LifeboatError,
  matching,
  NAME_TAG,
  nameTag,
  orRemoved,
  pause,
  polled,
  tagsFor,
  throughputFor,
  throughputTag,
  unlessMissing,
} from "../../core/index.ts";
import { type Ask, ATTEMPTS, ec2, filter, fits, listed, snapshotOf, tagList, tagMap, volumeOf } from "./ec2.ts";

const GiB = 1024 ** 3;
const VOLUME = /^vol-[0-9a-f]{8,17}$/;
const SNAPSHOT = /^snap-[0-9a-f]{8,17}$/;
/** What a gp3 volume has where nothing else is asked for. */
const GP3 = { iops: 3000, throughput: 125 };
/** So many looks may find nothing of a new volume: EC2 takes its time to tell of it. */
const MOST_LOOKS = 10;
/** The type of a new volume; EBS takes and gives more than its SDK knows. */
const typeOf = (type: string) => (type || undefined) as VolumeType | undefined;

/**
 * EBS volumes, `vol-…`, with the credentials that the AWS SDK finds, in the region of their zones (without one: AWS_REGION).
 * A snapshot's or volume's name is its tag `lifeboat/name`; EC2 may take some seconds to find it by that. Encrypted ones
 * stay so, by the snapshot's own key. `pollMs`: how often a new volume is looked at.
 */
export function ebsDisks({ pollMs = 2000 }: { pollMs?: number } = {}): Disks {
  const asker = ec2();

  const removeSnapshot: Disks["removeSnapshot"] = async ({ id, zone }, signal) => {
    matching(SNAPSHOT, id, "an EBS snapshot");
    const request = new DeleteSnapshotCommand({ SnapshotId: id });
    await unlessMissing(
      asker(zone, `delete the snapshot ${id}`, signal)((client, options) => client.send(request, options)),
    );
  };

  const remove: Disks["remove"] = async ({ id, zone }, signal) => {
    matching(VOLUME, id, "an EBS volume");
    const request = new DeleteVolumeCommand({ VolumeId: id });
    await unlessMissing(
      asker(zone, `delete the volume ${id}`, signal)((client, options) => client.send(request, options)),
    );
  };

  const snapshotNamed = async (ask: Ask, volume: string, name: string): Promise<Snapshot | undefined> => {
    for await (const found of listed(ask, ownSnapshots(volume, name))) if (found.State !== "error") return found;
    return undefined;
  };

  /** Begins a snapshot. EC2 has no token for that, so it is asked again only where none has come of it. */
  async function beginSnapshot(
    ask: Ask,
    VolumeId: string,
    name: string,
    Tags: Tag[],
    signal: AbortSignal,
  ): Promise<Snapshot> {
    const TagSpecifications = [{ ResourceType: "snapshot" as ResourceType, Tags }];
    const request = new CreateSnapshotCommand({
      VolumeId,
      Description: `Lifeboat: ${name}`.slice(0, 255),
      TagSpecifications,
    });
    for (let attempt = 1; ; attempt++) {
      try {
        return await ask((client, options) => client.send(request, options), true);
      } catch (error) {
        const passes = isLifeboatError(error) && ERROR_KINDS[error.kind].retry;
        if (!passes || attempt === ATTEMPTS) throw error;
        await pause(pollMs, signal);
        const found = await snapshotNamed(ask, VolumeId, name);
        if (found) return found;
      }
    }
  }

  /** Removes what a request may have begun whose answer didn't come. */
  async function removeSnapshots({ id, zone }: InZone, name: string, signal: AbortSignal): Promise<void> {
    const ask = asker(zone, `look for a snapshot of the EBS volume ${id}`, signal);
    for await (const { SnapshotId = "" } of listed(ask, ownSnapshots(id, name)))
      await removeSnapshot({ id: SnapshotId, zone }, signal);
  }

  return {
    async snapshot({ id, zone }, { name, tags, signal }) {
      matching(VOLUME, id, "an EBS volume");
      const wanted = `snapshot the EBS volume ${id}`;
      const ask = asker(zone, wanted, signal);
      const volume = await volumeOf(ask, id);
      const { VolumeType: type = "", AvailabilityZone = zone } = volume;
      const throughput = type === "gp3" && volume.Throughput !== GP3.throughput && volume.Throughput;
      const own = { [NAME_TAG]: nameTag(name), ...tags, ...(throughput && throughputTag(type, throughput)) };
      const ownTags = tagList(tagsFor(own, tagMap(volume.Tags), fits));
      const beginOrNothing = () =>
        orRemoved(
          () => beginSnapshot(ask, id, name, ownTags, signal),
          `a snapshot tagged ${NAME_TAG}=${name}`,
          async (until, error) => {
            if (!isRefusal(error)) await removeSnapshots({ id, zone }, name, until);
          },
        );
      const begun = (await snapshotNamed(ask, id, name)) ?? (await beginOrNothing());
      if (!begun.SnapshotId) throw new LifeboatError("unreachable", `can't ${wanted}: EC2 gave no name of it`);
      return { id: begun.SnapshotId, type, zone: AvailabilityZone, ...iopsOf(type, volume.Iops) };
    },

    async read({ id, zone }, signal) {
      matching(SNAPSHOT, id, "an EBS snapshot");
      const found = await snapshotOf(asker(zone, `read the snapshot ${id}`, signal), id);
      return found && shown(found);
    },

    async create(snapshotId, { name, zone, type, iops, tags, signal }) {
      matching(SNAPSHOT, snapshotId, "an EBS snapshot");
      const wanted = `make a volume of the snapshot ${snapshotId} in ${zone}`;
      const ask = asker(zone, wanted, signal);
      const find = async (asking: Ask) => {
        const Filters = [filter(`tag:${NAME_TAG}`, nameTag(name)), filter("snapshot-id", snapshotId)];
        const request = new DescribeVolumesCommand({ Filters });
        const { Volumes = [] } = await asking((client, options) => client.send(request, options));
        return Volumes.find(({ State = "" }) => ["creating", "available", "in-use"].includes(State))?.VolumeId;
      };
      const begin = async (inherited: Record<string, string>): Promise<string> => {
        const Tags = tagList(tagsFor({ [NAME_TAG]: nameTag(name), ...tags }, inherited, fits));
        const request = new CreateVolumeCommand({
          SnapshotId: snapshotId,
          AvailabilityZone: zone,
          VolumeType: typeOf(type),
          Iops: iopsOf(type, iops).iops,
          Throughput: throughputFor(type, inherited),
          // Good for the SDK's own retries; a name would find a volume that was deleted since.
          ClientToken: randomUUID(),
          TagSpecifications: [{ ResourceType: "volume" as ResourceType, Tags }],
        });
        return (await ask((client, options) => client.send(request, options))).VolumeId ?? "";
      };
      let looks = 0;
      const attachable = async (id: string) => {
        const volume = volumeOf(ask, id);
        const { State } = (looks++ < MOST_LOOKS ? await unlessMissing(volume) : await volume) ?? {};
        if (State === "error") throw new LifeboatError("unreachable", `can't ${wanted}: its state is error`);
        return State === "available" || State === "in-use" ? id : undefined;
      };
      const attached = (id: string) => polled(() => attachable(id), pollMs, signal);
      const found = await find(ask);
      if (found) return attached(found);
      const snapshot = await snapshotOf(ask, snapshotId);
      if (!snapshot) throw new LifeboatError("missing", `can't ${wanted}: there is no such snapshot`);
      let id: string | undefined;
      return orRemoved(
        async () => {
          id = await begin(tagMap(snapshot.Tags));
          return attached(id);
        },
        `a volume tagged ${NAME_TAG}=${name}`,
        async (until, error) => {
          if (!id && isRefusal(error)) return;
          const left = id ?? (await find(asker(zone, wanted, until)));
          if (left) await remove({ id: left, zone }, until);
        },
      );
    },

    remove,
    removeSnapshot,

    async *snapshots({ name, value }, { zone }, signal) {
      const ask = asker(zone, `list the snapshots tagged ${name}`, signal);
      const filters = [value === undefined ? filter("tag-key", name) : filter(`tag:${name}`, value)];
      const ours = { Name: `tag:${NAME_TAG}`, Values: ["*"] };
      for await (const found of listed(ask, [...filters, ours])) yield shown(found);
    },
  };
}

/** Iops where the type has them set apart, as Velero records them, and gp3's where they are not the usual ones. */
function iopsOf(type: string, iops: number | undefined): { iops?: number } {
  const told = /^io[12]$/.test(type) || (type === "gp3" && iops !== GP3.iops);
  return told && iops ? { iops } : {};
}

const STATES: Record<string, DiskSnapshot["state"]> = { completed: "completed", error: "failed" };

function shown({ SnapshotId = "", State, StateMessage, Progress, VolumeSize = 0, StartTime, Tags }: Snapshot) {
  const state = STATES[State ?? ""] ?? "pending";
  const message = StateMessage || (state === "pending" ? Progress : undefined);
  const startedAt = StartTime ?? new Date(0);
  const found: DiskSnapshot = { id: SnapshotId, state, size: VolumeSize * GiB, tags: tagMap(Tags), startedAt };
  return message ? { ...found, message } : found;
}

const ownSnapshots = (volume: string, name: string) => [
  filter(`tag:${NAME_TAG}`, nameTag(name)),
  filter("volume-id", volume),
];
