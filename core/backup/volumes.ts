import pLimit from "p-limit";
import type { ItemId, KubernetesObject } from "../archive/item.ts";
import { isLifeboatError, messageOf } from "../errors.ts";
import type { Kube } from "../kube/client.ts";
import { throwIfGone } from "../kube/gone.ts";
import { parseExact } from "../kube/json.ts";
import { getObject, listObjects } from "../kube/object.ts";
import { type Resource, resourceApiVersion, resourceKey } from "../kube/resource.ts";
import type { Log } from "../log.ts";
import { at } from "../objects/fields.ts";
import { CLAIMS, SNAPSHOT_CLASSES, VOLUMES } from "../objects/resources.ts";
import type { Problem } from "../report.ts";
import { timestamp } from "../timestamp.ts";
import { choose, type Means, type NotChosen } from "../volumes/choose.ts";
import type { Copiers, ToCopy } from "../volumes/copiers.ts";
import { withSnapshot } from "../volumes/csi/stored.ts";
import { claimsOf, mountsOf, OPT_IN, podVolumes } from "../volumes/mounts.ts";
import type { VolumePolicy } from "../volumes/policies.ts";
import type { VolumeRecord } from "../volumes/record.ts";
import { type Copied, type Method, type Mount, POD, VOLUME } from "../volumes/volume.ts";
import { PODS } from "./hooks.ts";
import type { Lint } from "./lint.ts";
import type { BackupSpec } from "./scope.ts";

/** An object that is stored. */
export interface StoredObject {
  id: ItemId;
  resource: Resource;
  body: Buffer;
  object: KubernetesObject;
}

/** The volumes of one backup. */
export interface BackupVolumes {
  /** Takes account of an object that is about to be stored. True for a claim that has a volume, which is stored when its data have been copied. */
  holdsBack(stored: StoredObject): boolean;
  /** Takes account of a Pod that is not stored, since a pre-hook of it failed: its claims are not copied. */
  leavesOut(id: ItemId, pod: Buffer): void;
  /**
   * Copies the data of the claims that were held back, calls `fixed` once all copies' points in time are, and gives what is
   * then to be stored: the claims, and what restores of their copies need. What can't be copied is told, not thrown.
   */
  copy(fixed: () => Promise<void>): Promise<StoredObject[]>;
  /** What became of each claim's data, once they have been copied; in the order of the claims. */
  records: VolumeRecord[];
  /** How many copies there are. */
  count(): number;
  /** Takes all copies away again: for a run that fails after all. Never throws. */
  discard(): Promise<void>;
}

interface VolumesRun {
  kube: Kube;
  /** The backup's. */
  name: string;
  resources: Resource[];
  spec: BackupSpec;
  policies: VolumePolicy[];
  /** Asked once, and only where a claim has a volume. */
  copiers: (signal: AbortSignal) => Promise<Copiers>;
  /** Told of what a restore will miss. */
  lint: Lint;
  log: Log;
  report: (level: "warning" | "error", problem: Problem) => void;
  /** How many copies are not made yet. */
  progress: (left: number) => void;
  signal: AbortSignal;
}

/** Copies of a kind that are under way at a time: until their point in time is fixed, and of files until their end. */
const AT_ONCE: Record<Method, number> = { CSISnapshot: 50, NativeSnapshot: 10, PodVolumeBackup: 4 };

/** How long a run that failed takes its copies away. */
const DISCARD_MS = 60_000;
const DISCARDS_AT_ONCE = 50;

/** Pods without any of these have no volume to copy, and none that somebody wants to be copied. */
const MARKERS = ['"persistentVolumeClaim"', '"ephemeral"', OPT_IN].map((text) => Buffer.from(text));

export function backupVolumes(run: VolumesRun): BackupVolumes {
  const { kube, spec, log, report } = run;
  const failing = new AbortController();
  const signal = AbortSignal.any([run.signal, failing.signal]);
  const find = (id: ItemId, reason: string) =>
    run.lint.tell({ ...id, rule: "claim-without-data", message: `its data are not in the backup: ${reason}` });
  const held: StoredObject[] = [];
  const volumes = new Map<string, KubernetesObject>();
  const mounts = new Map<string, Mount[]>();
  /** The name of a Pod that was not made ready, by the claims that it uses. */
  const unprepared = new Map<string, string>();
  /** Where the Pods were listed once more. */
  const lookedInto = new Map<string, Promise<void>>();
  const copies: Copied[] = [];
  const records: VolumeRecord[] = [];
  /** Names of the VolumeSnapshotClasses that are stored. */
  const classes = new Set<string>();

  async function volumeOf(claim: KubernetesObject): Promise<KubernetesObject | undefined> {
    const name = String(at(claim, "spec", "volumeName"));
    const known = volumes.get(name);
    if (known) return known;
    return await getObject(kube, VOLUME, { name }, signal);
  }

  /** Makes one copy in its turn; `fixed` is called once its point in time is. */
  async function make(copying: ToCopy, { start, limits }: Making, fixed: () => void): Promise<Copied> {
    const { method } = copying.choice;
    const { done } = await limits[method](async () => {
      signal.throwIfAborted();
      const copy = await start(copying);
      copy.done.catch(() => {});
      await copy.fixed.catch(() => copy.done);
      fixed();
      if (method === "PodVolumeBackup") await copy.done;
      return { done: copy.done };
    });
    const copied = await done;
    copies.push(copied);
    return copied;
  }

  /** Why the data of a claim are not in the backup, though they should be. Throws what ends the run. */
  async function lack({ record, stored: { id } }: Decided, error: unknown): Promise<void> {
    signal.throwIfAborted();
    await throwIfGone(kube, error, signal);
    Object.assign(record, { reason: messageOf(error), lacking: true });
    find(id, messageOf(error));
    const unasked = isLifeboatError(error, "denied") && spec.snapshotVolumes === undefined;
    report(unasked ? "warning" : "error", { ...id, message: `its data are not in the backup: ${messageOf(error)}` });
  }

  /** Decides whether and how the data of one claim are copied. */
  async function decide(stored: StoredObject, means: Means): Promise<Decided> {
    const { id, object: claim } = stored;
    const record: VolumeRecord = {
      volume: String(at(claim, "spec", "volumeName")),
      claim: { namespace: id.namespace, name: id.name, uid: claim.metadata.uid ?? "" },
    };
    const decided: Decided = { stored, record };
    try {
      const volume = await volumeOf(claim);
      const name = `${id.namespace}/${id.name}`;
      const one = { claim, volume, mounts: mounts.get(name) ?? [], unprepared: unprepared.get(name) };
      let choice = choose(one, means);
      if (choice.method === "PodVolumeBackup" && one.mounts.length === 0) {
        await lookIntoAll(id.namespace);
        one.mounts = mounts.get(name) ?? [];
        choice = choose(one, means);
      }
      if (choice.method && volume) return { ...decided, copying: { one: { ...one, volume }, choice } };
      const { reason = "", lacking = true, stays } = choice as NotChosen;
      Object.assign(record, { reason, ...(lacking && { lacking }) });
      if (lacking) report("warning", { ...id, message: `its data are not in the backup: ${reason}` });
      if (lacking || stays === "node") find(id, reason);
    } catch (error) {
      await lack(decided, error);
    }
    return decided;
  }

  /** Copies the data of one claim, where that was decided. */
  async function settle(decided: Decided, making: Making, fixed: () => void): Promise<Copied | undefined> {
    const { record, copying, stored } = decided;
    const { id } = stored;
    try {
      if (!copying) return undefined;
      const { method, instead } = copying.choice;
      record.startTimestamp = timestamp(new Date());
      const { csi, native, files, warnings = [], ...copied } = await make(copying, making, fixed);
      Object.assign(record, { method, csi, native, files, completionTimestamp: timestamp(new Date()) });
      if (instead) warnings.push(`a snapshot was made, not a copy of its files: ${instead}`);
      for (const message of warnings) report("warning", { ...id, message });
      log("info", `Copied the data of claim ${id.namespace}/${id.name}`, { method });
      return { csi, ...copied };
    } catch (error) {
      await lack(decided, error);
      return undefined;
    } finally {
      fixed();
    }
  }

  function addMount(namespace: string, { claim, mount }: ReturnType<typeof mountsOf>[number]): void {
    const name = `${namespace}/${claim}`;
    const known = mounts.get(name) ?? [];
    mounts.set(name, mount.running ? [mount, ...known] : [...known, mount]);
  }

  /** What the Pods of a namespace mount, stored or not: whose files are read, and on which node, depends on it. */
  function lookIntoAll(namespace: string): Promise<void> {
    const looking = lookedInto.get(namespace) ?? listMounts(namespace);
    lookedInto.set(namespace, looking);
    return looking;
  }

  async function listMounts(namespace: string): Promise<void> {
    const known = new Set(mounts.keys());
    const found: ReturnType<typeof mountsOf> = [];
    for await (const pod of listObjects(kube, POD, { namespace, signal })) found.push(...mountsOf(pod));
    for (const one of found) if (!known.has(`${namespace}/${one.claim}`)) addMount(namespace, one);
  }

  /** What a Pod mounts, and what of it can't be copied though somebody wants it. */
  function lookInto(pod: KubernetesObject, id: ItemId): void {
    for (const one of mountsOf(pod)) addMount(id.namespace, one);
    for (const { volumeName, reason } of podVolumes(pod, run.policies))
      report("warning", { ...id, message: `its volume ${volumeName} is not copied: ${reason}` });
  }

  function isNew({ id }: StoredObject): boolean {
    if (id.resource !== SNAPSHOT_CLASSES) return true;
    if (classes.has(id.name)) return false;
    classes.add(id.name);
    return true;
  }

  /** What is stored of a claim and its copy. */
  function outcome(stored: StoredObject, copied: Copied | undefined): StoredObject[] {
    if (!copied?.csi || !copied.objects) return [stored];
    const claim = withSnapshot(parseExact(stored.body) as KubernetesObject, copied.csi, run.name);
    const others = copied.objects.flatMap((object) => asStored(object, run.resources)).filter(isNew);
    return [{ ...stored, object: claim, body: Buffer.from(JSON.stringify(claim)) }, ...others];
  }

  return {
    records,
    holdsBack({ id, resource, body }) {
      if (id.resource === SNAPSHOT_CLASSES) classes.add(id.name);
      if (id.resource === VOLUMES) volumes.set(id.name, JSON.parse(body.toString()) as KubernetesObject);
      if (id.resource === PODS && (run.policies.length > 0 || MARKERS.some((marker) => body.includes(marker))))
        lookInto(JSON.parse(body.toString()) as KubernetesObject, id);
      if (id.resource !== CLAIMS) return false;
      const object = parseExact(body) as KubernetesObject;
      if (!at(object, "spec", "volumeName")) return false;
      held.push({ id, resource, body: Buffer.from(body), object });
      return true;
    },
    leavesOut({ namespace, name }, body) {
      const pod = JSON.parse(body.toString()) as KubernetesObject;
      for (const claim of claimsOf(pod)) unprepared.set(`${namespace}/${claim}`, name);
      for (const one of mountsOf(pod)) addMount(namespace, one);
    },
    async copy(fixed) {
      const copiers = held.length > 0 ? await run.copiers(signal) : undefined;
      const decided = copiers ? await Promise.all(held.map((one) => decide(one, copiers.means))) : [];
      records.push(...decided.map(({ record }) => record));
      const making = copiers && startMaking(copiers, decided);
      const pending = new Set(held);
      const allFixed = Promise.withResolvers<void>();
      const isFixed = (one: StoredObject) => {
        if (pending.delete(one)) run.progress(pending.size);
        if (pending.size === 0) allFixed.resolve();
      };
      if (!making) allFixed.resolve();
      const settling = decided.map((one) =>
        settle(one, making!, () => isFixed(one.stored)).catch((error: unknown) => failing.abort(error)),
      );
      await allFixed.promise;
      await fixed().catch((error: unknown) => failing.abort(error));
      // Also when the run ends: each copy that is under way takes itself back first.
      const settled = await Promise.all(settling);
      signal.throwIfAborted();
      return held.flatMap((one, place) => outcome(one, settled[place] ?? undefined));
    },
    count: () => copies.length,
    async discard() {
      const late = AbortSignal.timeout(DISCARD_MS);
      await pLimit(DISCARDS_AT_ONCE).map(copies, (copied) =>
        copied.discard(late).catch((error: unknown) => {
          log("warning", `The copy of a volume is left over: ${messageOf(error)}`);
        }),
      );
    },
  };
}

/** A claim whose data are copied if that is said, and what becomes of them. */
interface Decided {
  stored: StoredObject;
  record: VolumeRecord;
  copying?: ToCopy;
}

interface Making {
  start: ReturnType<Copiers["starter"]>;
  limits: Record<Method, ReturnType<typeof pLimit>>;
}

function startMaking(copiers: Copiers, decided: Decided[]): Making {
  const limits = Object.entries(AT_ONCE).map(([method, most]) => [method, pLimit(most)]);
  const start = copiers.starter(decided.flatMap(({ copying }) => copying ?? []));
  return { start, limits: Object.fromEntries(limits) };
}

/** An object that was made for a copy, of a resource that the cluster serves. */
function asStored(object: KubernetesObject, resources: Resource[]): StoredObject[] {
  const { apiVersion, kind, metadata } = object;
  const resource = resources.find((one) => one.kind === kind && resourceApiVersion(one) === apiVersion);
  if (!resource) return [];
  const id = { resource: resourceKey(resource), namespace: metadata.namespace ?? "", name: metadata.name };
  return [{ id, resource, object, body: Buffer.from(JSON.stringify(object)) }];
}
