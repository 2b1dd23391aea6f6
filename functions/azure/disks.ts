import {
  cloudName,
  type DiskSnapshot,
  type Disks,
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
  unlessMissing,
} from "../../core/index.ts";
import { callManager, type ManagerAnswer, type ManagerCall } from "./manager.ts";

const API_VERSION = "2024-03-02";
const PARTS = String.raw`^/subscriptions/([\w-]+)/resourceGroups/([\w.()-]*[\w()-])/providers/Microsoft\.Compute`;
const DISK = new RegExp(`${PARTS}/disks/([\\w.-]*[\\w-])$`, "i");
const SNAPSHOT = new RegExp(`${PARTS}/snapshots/([\\w.-]*[\\w-])$`, "i");
/** The providerID of a node: of a virtual machine, or of one of a scale set. */
const NODE = new RegExp(`${PARTS.replace("^", "^azure://")}/virtualMachine`, "i");
const MOST_NAME = 80;
const MOST_TAGS = 50;
const GiB = 1024 ** 3;

/** What is read of Microsoft.Compute's disks and snapshots. */
interface Resource {
  id: string;
  location: string;
  zones?: string[];
  sku?: { name?: string };
  tags?: Record<string, string>;
  properties: {
    provisioningState?: string;
    timeCreated?: string;
    diskSizeGB?: number;
    diskSizeBytes?: number;
    diskIOPSReadWrite?: number;
    diskMBpsReadWrite?: number;
    completionPercent?: number;
    copyCompletionError?: { errorCode?: string; errorMessage?: string };
    creationData?: { createOption?: string; sourceResourceId?: string };
    encryption?: { type?: string; diskEncryptionSetId?: string };
  };
}

/**
 * Azure's managed disks, by their whole resource ids, as `azureCredential`. Snapshots are incremental, and in the disk's own
 * resource group or, in its subscription, in `snapshotGroup` (LIFEBOAT_AZURE_SNAPSHOT_GROUP): the group of an AKS cluster's
 * nodes is deleted with the cluster. A snapshot's name is made of the request's. In the names of tags, "/" is ":", which
 * Kubernetes' labels don't have. `pollMs`: how often an operation is looked at.
 */
export function azureDisks({
  snapshotGroup = process.env.LIFEBOAT_AZURE_SNAPSHOT_GROUP,
  pollMs = 2000,
}: {
  snapshotGroup?: string;
  pollMs?: number;
} = {}): Disks {
  const call = <T>(wanted: string, method: ManagerCall["method"], id: string, signal: AbortSignal, body?: object) =>
    callManager<T>({ wanted, method, path: `${id}?api-version=${API_VERSION}`, body, signal });

  const find = async (wanted: string, id: string, signal: AbortSignal): Promise<Resource | undefined> => {
    const answer = await unlessMissing(call<Resource>(wanted, "GET", id, signal));
    return answer?.body;
  };

  /** Waits until an operation has ended, and throws how, where that is not success. */
  const ended = async (wanted: string, { operation }: ManagerAnswer<unknown>, signal: AbortSignal): Promise<void> => {
    if (!operation) return;
    const look = async () => {
      const { body } = await callManager<Operation>({ wanted, method: "GET", path: operation, signal });
      return /^(succeeded|failed|canceled)$/i.test(body.status ?? "") ? body : undefined;
    };
    const { status, error } = await polled(look, pollMs, signal);
    if (/^succeeded$/i.test(status ?? "")) return;
    const said = [error?.code, error?.message].filter(Boolean).join(": ") || status;
    throw new LifeboatError("unreachable", `can't ${wanted}: ${said}`);
  };

  const removed = async (wanted: string, id: string, signal: AbortSignal): Promise<void> => {
    const answer = await unlessMissing(call(wanted, "DELETE", id, signal));
    if (answer) await ended(wanted, answer, signal);
  };
  const removeSnapshot: Disks["removeSnapshot"] = async ({ id }, signal) => {
    matching(SNAPSHOT, id, "an Azure snapshot");
    await removed(`delete the snapshot ${id}`, id, signal);
  };
  const remove: Disks["remove"] = async ({ id }, signal) => {
    matching(DISK, id, "an Azure disk");
    await removed(`delete the disk ${id}`, id, signal);
  };

  /** Makes what isn't there, of `source`, and waits until it is; what was begun here doesn't outlive a failure. */
  const made = async (
    wanted: string,
    id: string,
    source: string,
    body: object,
    signal: AbortSignal,
  ): Promise<string> => {
    const ready = async () => {
      const now = await find(wanted, id, signal);
      const state = now?.properties.provisioningState ?? "gone";
      if (/^(creating|updating)$/i.test(state)) return undefined;
      if (state === "Succeeded") return id;
      throw new LifeboatError("unreachable", `can't ${wanted}: its state is ${state}`);
    };
    const found = await find(wanted, id, signal);
    const other = found?.properties.creationData?.sourceResourceId;
    if (other && !same(other, source))
      throw new LifeboatError("conflict", `can't ${wanted}: ${id} is made of ${other}`);
    if (found && found.properties.provisioningState !== "Failed") return polled(ready, pollMs, signal);
    return orRemoved(
      async () => {
        await ended(wanted, await call(wanted, "PUT", id, signal, body), signal);
        return polled(ready, pollMs, signal);
      },
      id,
      async (until, error) => {
        if (!isRefusal(error)) await removed(`remove ${id}`, id, until);
      },
    );
  };

  return {
    async snapshot({ id, zone }, { name, tags, signal }) {
      const [, subscription = "", group = ""] = matching(DISK, id, "an Azure disk");
      const wanted = `snapshot the Azure disk ${id}`;
      const disk = await find(wanted, id, signal);
      if (!disk) throw new LifeboatError("missing", `can't ${wanted}: there is no such disk`);
      const { diskIOPSReadWrite: iops, diskMBpsReadWrite: throughput, encryption } = disk.properties;
      const type = disk.sku?.name ?? "";
      const own = {
        [NAME_TAG]: nameTag(name),
        ...tags,
        ...(isFree(type) && throughput && throughputTag(type, throughput)),
      };
      const snapshot = `${groupPath(subscription, snapshotGroup || group)}/snapshots/${cloudName(name, MOST_NAME)}`;
      const body = {
        location: disk.location,
        tags: stored(tagsFor(own, shownTags(disk.tags), fits)),
        properties: {
          creationData: { createOption: "Copy", sourceResourceId: id },
          incremental: true,
          ...keptEncryption(encryption),
        },
      };
      await made(wanted, snapshot, id, body, signal);
      return { id: snapshot, type, zone, ...(isFree(type) && iops && { iops }) };
    },

    async read({ id }, signal) {
      matching(SNAPSHOT, id, "an Azure snapshot");
      const found = await find(`read the snapshot ${id}`, id, signal);
      return found && shown(found);
    },

    async create(snapshotId, { name, zone, type, iops, node, tags, signal }) {
      const [, ...own] = matching(SNAPSHOT, snapshotId, "an Azure snapshot");
      const wanted = `make a disk of the snapshot ${snapshotId} in ${zone || "no zone"}`;
      const [subscription = "", group = ""] = node ? matching(NODE, node, "an Azure node").slice(1) : own;
      const snapshot = await find(wanted, snapshotId, signal);
      if (!snapshot) throw new LifeboatError("missing", `can't ${wanted}: there is no such snapshot`);
      const region = regionOfZone(zone);
      if (region && region !== snapshot.location.toLowerCase().replaceAll(" ", "")) {
        throw new LifeboatError("invalid", `can't ${wanted}: it is in ${snapshot.location}`);
      }
      const inherited = shownTags(snapshot.tags);
      const throughput = throughputFor(type, inherited);
      const zoned = region && !/_ZRS$/i.test(type);
      const id = `${groupPath(subscription, group)}/disks/${cloudName(name, MOST_NAME)}`;
      const body = {
        location: snapshot.location,
        ...(zoned && { zones: [zone.slice(region.length + 1)] }),
        sku: { name: type },
        tags: stored(tagsFor({ [NAME_TAG]: nameTag(name), ...tags }, inherited, fits)),
        properties: {
          creationData: { createOption: "Copy", sourceResourceId: snapshotId },
          ...(isFree(type) && iops && { diskIOPSReadWrite: iops }),
          ...(throughput && { diskMBpsReadWrite: throughput }),
          ...keptEncryption(snapshot.properties.encryption),
        },
      };
      return made(wanted, id, snapshotId, body, signal);
    },

    remove,
    removeSnapshot,

    async *snapshots({ name, value }, { id }, signal) {
      const [, subscription = ""] = matching(DISK, id, "an Azure disk");
      const wanted = `list the snapshots tagged ${name}`;
      let path: string | undefined =
        `/subscriptions/${subscription}/providers/Microsoft.Compute/snapshots?api-version=${API_VERSION}`;
      while (path) {
        const { body }: ManagerAnswer<Page> = await callManager<Page>({ wanted, method: "GET", path, signal });
        for (const found of (body.value ?? []).map(shown)) {
          const tag = found.tags[name];
          if (NAME_TAG in found.tags && tag !== undefined && (value ?? tag) === tag) yield found;
        }
        path = body.nextLink;
      }
    },
  };
}

interface Operation {
  status?: string;
  error?: { code?: string; message?: string };
}

interface Page {
  value?: Resource[];
  nextLink?: string;
}

function shown({ id, tags, properties }: Resource): DiskSnapshot {
  const { provisioningState = "", completionPercent = 100, copyCompletionError } = properties;
  const failed = copyCompletionError || /^(failed|canceled)$/i.test(provisioningState);
  const complete = provisioningState === "Succeeded" && completionPercent >= 100;
  const state = failed ? "failed" : complete ? "completed" : "pending";
  const progress = completionPercent < 100 ? `${Math.floor(completionPercent)} %` : undefined;
  const message = copyCompletionError?.errorMessage || (failed ? provisioningState : progress);
  const size = properties.diskSizeBytes ?? (properties.diskSizeGB ?? 0) * GiB;
  const startedAt = new Date(properties.timeCreated ?? 0);
  return { id, state, size, tags: shownTags(tags), startedAt, ...(message && { message }) };
}

/** Whether IOPS and throughput of a type are set apart from the size. */
const isFree = (type: string) => /^(UltraSSD_LRS|PremiumV2_LRS)$/i.test(type);

/** A key of the customer's own; another encryption is Azure's, which every disk has. */
const keptEncryption = (encryption: Resource["properties"]["encryption"]) =>
  encryption?.diskEncryptionSetId ? { encryption } : {};

const groupPath = (subscription: string, group: string) =>
  `/subscriptions/${subscription}/resourceGroups/${group}/providers/Microsoft.Compute`;

const same = (one: string, other: string) => one.toLowerCase() === other.toLowerCase();

const renamed = (tags: Record<string, string> = {}, from: string, to: string) =>
  Object.fromEntries(Object.entries(tags).map(([name, value]) => [name.replaceAll(from, to), value]));
const stored = (tags: Record<string, string>) => renamed(tags, "/", ":");
const shownTags = (tags: Record<string, string> | undefined) => renamed(tags, ":", "/");
const fits = (tags: Record<string, string>) =>
  Object.keys(tags).length <= MOST_TAGS &&
  Object.entries(tags).every(([name, value]) => /^[^<>%&\\?]{1,512}$/.test(name) && value.length <= 256);
