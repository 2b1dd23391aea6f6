import { createHash } from "node:crypto";
import {
  cloudName,
  type DiskSnapshot,
  type Disks,
  type InZone,
  isRefusal,
  LifeboatError,
  matching,
  NAME_TAG,
  nameTag,
  orRemoved,
  polled,
  regionOfZone,
  tagsFor,
  throughputFor,
  throughputTag,
  ZONES,
} from "../../core/index.ts";
import { BASE, computeEngine, type Operation, pathOf, type Resource } from "./compute.ts";

const DISK = /^projects\/[\w:.-]+\/(?:zones|regions)\/[a-z0-9-]+\/disks\/[a-z0-9-]+$/;
const SNAPSHOT = /^(projects\/[\w:.-]+)\/global\/snapshots\/[a-z0-9-]+$/;
/** A disk or snapshot of the credentials' project. */
const BARE = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const NODE = /^gce:\/\/([\w:.-]+)\/[^/]+\/[^/]+$/;
const MOST_NAME = 63;
const MOST_LABELS = 64;
const MOST_DESCRIPTION = 2048;
const GiB = 1024 ** 3;

/**
 * Persistent disks and Hyperdisks of Google Cloud, `projects/P/zones/Z/disks/N` or `projects/P/regions/R/disks/N`, or a bare
 * name with its zone or zones, in the project of the credentials. Snapshots, `projects/P/global/snapshots/N`, are in the
 * disk's project, where Google stores them by its defaults. Tags are JSON in the description, as Kubernetes and Velero
 * have them; labels can't hold them, but a form of them, which `snapshots` filters by. `pollMs`: how often an operation is
 * looked at.
 */
export function gceDisks({ pollMs = 2000 }: { pollMs?: number } = {}): Disks {
  const { ask, find, change, ended, hasEnded, removed, project } = computeEngine(pollMs);
  const diskPath = async ({ id, zone }: InZone, signal: AbortSignal): Promise<string> => {
    if (DISK.test(id)) return id;
    matching(BARE, id, "a disk of Google Cloud");
    const place = placeOf(zone, `find the disk ${id}`);
    return `${await project(signal)}/${place}/disks/${id}`;
  };
  const snapshotPath = async (id: string, signal: AbortSignal): Promise<string> => {
    if (SNAPSHOT.test(id)) return id;
    matching(BARE, id, "a snapshot of Google Cloud");
    return `${await project(signal)}/global/snapshots/${id}`;
  };

  const removeSnapshot: Disks["removeSnapshot"] = async ({ id }, signal) =>
    removed(`delete the snapshot ${id}`, await snapshotPath(id, signal), signal);
  const remove: Disks["remove"] = async (disk, signal) =>
    removed(`delete the disk ${disk.id}`, await diskPath(disk, signal), signal);

  const unlessRefused = (path: string) => async (signal: AbortSignal, error: unknown) => {
    if (!isRefusal(error)) await removed(`remove ${path}`, path, signal);
  };

  /** Waits while a snapshot's point in time isn't fixed. */
  const fixed = async (wanted: string, path: string, operation: Operation | undefined, signal: AbortSignal) => {
    const look = async () => {
      const found = await find(wanted, path, signal);
      if (found?.status && found.status !== "CREATING") return found;
      // Looked at after the snapshot, which may have come to be since.
      const done = !operation || (await hasEnded(wanted, operation, signal));
      if (done && !found && !(await find(wanted, path, signal)))
        throw new LifeboatError("missing", `can't ${wanted}: it was deleted meanwhile`);
      return undefined;
    };
    const { status } = await polled(look, pollMs, signal);
    if (status !== "FAILED") return;
    if (operation) await hasEnded(wanted, operation, signal);
    throw new LifeboatError("unreachable", `can't ${wanted}: its status is FAILED`);
  };

  return {
    async snapshot({ id, zone }, { name, tags, signal }) {
      const wanted = `snapshot the disk ${id}`;
      const path = await diskPath({ id, zone }, signal);
      const disk = await find(wanted, path, signal);
      if (!disk) throw new LifeboatError("missing", `can't ${wanted}: there is no such disk`);
      const { type = "", provisionedIops: iops, provisionedThroughput: throughput } = disk;
      const snapshot = `${/^projects\/[^/]+/.exec(path)?.[0]}/global/snapshots/${cloudName(name, MOST_NAME)}`;
      const own = { [NAME_TAG]: nameTag(name), ...tags, ...(throughput && throughputTag(lastOf(type), throughput)) };
      const all = tagsFor(own, tagsIn(disk.description), fits);
      const data = { name: lastOf(snapshot), description: JSON.stringify(all), labels: labelsOf(all) };
      const found = await find(wanted, snapshot, signal);
      const other = pathOf(found?.sourceDisk ?? path);
      if (other !== path) throw new LifeboatError("conflict", `can't ${wanted}: ${snapshot} is of ${other}`);
      if (found?.status === "FAILED") await removed(wanted, snapshot, signal);
      if (found && found.status !== "FAILED") await fixed(wanted, snapshot, undefined, signal);
      else {
        const begin = async () => {
          const operation = await change(wanted, `${path}/createSnapshot`, signal, "POST", data);
          await fixed(wanted, snapshot, operation, signal);
        };
        await orRemoved(begin, snapshot, unlessRefused(snapshot));
      }
      const inZone = /\/zones\/([^/]+)/.exec(path)?.[1] ?? (disk.replicaZones?.map(lastOf).join(ZONES) || zone);
      return { id: snapshot, type, zone: inZone, ...(iops && { iops: Number(iops) }) };
    },

    async read({ id }, signal) {
      const found = await find(`read the snapshot ${id}`, await snapshotPath(id, signal), signal);
      return found && shown(found);
    },

    async create(snapshotId, { name, zone, type, iops, node, tags, signal }) {
      const wanted = `make a disk of the snapshot ${snapshotId} in ${zone}`;
      const source = await snapshotPath(snapshotId, signal);
      const home = node
        ? `projects/${matching(NODE, node, "a node of Google Cloud")[1]}`
        : (SNAPSHOT.exec(source)?.[1] ?? "");
      const place = placeOf(zone, wanted);
      const path = `${home}/${place}/disks/${cloudName(name, MOST_NAME)}`;
      const snapshot = await find(wanted, source, signal);
      if (!snapshot) throw new LifeboatError("missing", `can't ${wanted}: there is no such snapshot`);
      const inherited = tagsIn(snapshot.description);
      const throughput = throughputFor(lastOf(type), inherited);
      const kmsKeyName = snapshot.snapshotEncryptionKey?.kmsKeyName?.replace(/\/cryptoKeyVersions\/\d+$/, "");
      const data = {
        name: lastOf(path),
        description: JSON.stringify(tagsFor({ [NAME_TAG]: nameTag(name), ...tags }, inherited, fits)),
        sourceSnapshot: source,
        ...(type && { type: `${home}/${place}/diskTypes/${lastOf(type)}` }),
        ...(place.startsWith("regions/") && {
          replicaZones: zone.split(ZONES).map((one) => `${BASE}${home}/zones/${one}`),
        }),
        ...(iops && { provisionedIops: String(iops) }),
        ...(throughput && { provisionedThroughput: String(throughput) }),
        ...(kmsKeyName && { diskEncryptionKey: { kmsKeyName } }),
      };
      const ready = async () => {
        const { status } = await ask<Resource>(wanted, path, signal);
        if (status === "READY") return path;
        if (/^(CREATING|RESTORING)$/.test(status ?? "")) return undefined;
        throw new LifeboatError("unreachable", `can't ${wanted}: its status is ${status}`);
      };
      const found = await find(wanted, path, signal);
      const other = pathOf(found?.sourceSnapshot ?? source);
      if (other !== source) throw new LifeboatError("conflict", `can't ${wanted}: ${path} is made of ${other}`);
      if (found) return polled(ready, pollMs, signal);
      const begin = async () => {
        const disks = `${home}/${place}/disks`;
        await ended(wanted, await change(wanted, disks, signal, "POST", data), signal);
        return polled(ready, pollMs, signal);
      };
      return orRemoved(begin, path, unlessRefused(path));
    },

    remove,
    removeSnapshot,

    async *snapshots({ name, value }, disk, signal) {
      const wanted = `list the snapshots tagged ${name}`;
      const home = DISK.test(disk.id) ? /^projects\/[^/]+/.exec(disk.id)?.[0] : await project(signal);
      const filters = [filterOf(name, value), filterOf(NAME_TAG)].map((filter) => `(${filter})`).join(" ");
      let pageToken = "";
      do {
        const query = new URLSearchParams({ filter: filters, ...(pageToken && { pageToken }) });
        const page = await ask<Page>(wanted, `${home}/global/snapshots?${query}`, signal);
        for (const found of (page.items ?? []).map(shown)) {
          const tag = found.tags[name];
          if (NAME_TAG in found.tags && tag !== undefined && (value ?? tag) === tag) yield found;
        }
        pageToken = page.nextPageToken ?? "";
      } while (pageToken);
    },
  };
}

interface Page {
  items?: Resource[];
  nextPageToken?: string;
}

const lastOf = (path: string) => path.split("/").at(-1) ?? "";

/** A disk's zone, or the region of a disk of several. Throws `invalid` where it is none. */
function placeOf(zone: string, wanted: string): string {
  const region = regionOfZone(zone);
  if (!region) throw new LifeboatError("invalid", `can't ${wanted}: ${JSON.stringify(zone)} is no zone`);
  return zone.includes(ZONES) ? `regions/${region}` : `zones/${zone}`;
}

const STATES: Record<string, DiskSnapshot["state"]> = { READY: "completed", FAILED: "failed" };

function shown({ selfLink, status = "", description, diskSizeGb, creationTimestamp }: Resource): DiskSnapshot {
  const state = STATES[status] ?? "pending";
  const startedAt = new Date(creationTimestamp ?? 0);
  const found = { id: pathOf(selfLink), state, size: Number(diskSizeGb) * GiB, tags: tagsIn(description), startedAt };
  return state === "completed" ? found : { ...found, message: status };
}

/** The tags in a description, which may be any text. */
function tagsIn(description = ""): Record<string, string> {
  try {
    const tags: unknown = JSON.parse(description);
    const entries = typeof tags === "object" && tags !== null && !Array.isArray(tags) ? Object.entries(tags) : [];
    return Object.fromEntries(entries.filter(([, value]) => typeof value === "string"));
  } catch {
    return {};
  }
}

const fits = (tags: Record<string, string>) => JSON.stringify(tags).length <= MOST_DESCRIPTION;

/** A text as a label's name or value: what they can't hold is "_", and what is too long ends in a digest. */
function labelled(text: string): string {
  const plain = text.toLowerCase().replace(/[^a-z0-9_-]/g, "_");
  if (plain.length <= MOST_NAME) return plain;
  return `${plain.slice(0, MOST_NAME - 13)}_${createHash("sha256").update(text).digest("hex").slice(0, 12)}`;
}

/** A label's name begins with a letter, and not as Google's own do. */
const labelName = (name: string) => labelled(/^(?!goog)[a-z]/i.test(name) ? name : `l_${name}`);

const labelsOf = (tags: Record<string, string>) =>
  Object.fromEntries(
    Object.entries(tags)
      .slice(0, MOST_LABELS)
      .map(([name, value]) => [labelName(name), labelled(value)]),
  );

const filterOf = (name: string, value?: string) =>
  value === undefined ? `labels.${labelName(name)}:*` : `labels.${labelName(name)}="${labelled(value)}"`;
