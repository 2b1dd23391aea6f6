import type { IndexEntry } from "../archive/index.ts";
import { type ItemId, itemPath, itemsPath, type KubernetesObject } from "../archive/item.ts";
import type { Archive } from "../archive/reader.ts";
import { storedBy } from "../backup/scope.ts";
import { BEFORE_RESTORE_LABEL } from "../catalog.ts";
import { isLifeboatError } from "../errors.ts";
import type { Resource } from "../kube/resource.ts";
import { fieldsAt } from "../objects/fields.ts";
import { scaledKey } from "../restore/plan/comparable.ts";
import { filtersOf } from "../specs.ts";
import type { OpenBackup } from "./open.ts";

/** One of two states that are compared: a backup, or a cluster as it is now. */
export interface Side {
  /** For messages: `backup "full"`. */
  name: string;
  /** What it has; perhaps more than is wanted. `body` is there until the next one is asked for. */
  objects(wanted: Wanted): AsyncIterable<{ entry: IndexEntry; body?: Buffer }>;
  /** Bodies in the order asked; undefined of what is gone meanwhile. */
  bodies(entries: IndexEntry[]): AsyncIterable<Buffer | undefined>;
  /** What its HorizontalPodAutoscalers scale, as `CompareFacts.scaled`; of one namespace, or of all. */
  scaled(namespace?: string): Promise<Set<string> | undefined>;
  /** What it means that it doesn't have an object. `resources`: those that a filter may name. */
  absence(resources: Resource[]): Absence;
}

/** What is asked of a side. */
export interface Wanted {
  /** Of which resources anything is. */
  resource(entry: Pick<IndexEntry, "resource" | "kind">): boolean;
  /** Nothing but this object. */
  only?: ItemId;
  /** Resources that the other side has. */
  held?: Set<string>;
}

/** What it means that a state doesn't have an object. */
export interface Absence {
  /** Whether it then wasn't there. */
  tells(entry: IndexEntry): boolean;
  /** Why others may have been. */
  why: string;
}

export const SCALERS = "horizontalpodautoscalers.autoscaling";

/** A backup as a side. */
export function backupSide(opened: OpenBackup): Side {
  const { record, archive } = opened;
  return {
    name: `backup "${record.metadata.name}"`,
    async *objects({ only }) {
      const narrow = only && { within: [itemPath(only)], holding: [only.name] };
      for await (const entry of archive.entries(undefined, narrow)) yield { entry };
    },
    async *bodies(entries) {
      for await (const { body } of archive.read(entries)) yield body;
    },
    scaled: (namespace) => scaledIn(archive, namespace),
    absence: (resources) => absenceIn(opened, resources),
  };
}

async function scaledIn(archive: Archive, namespace: string | undefined): Promise<Set<string>> {
  const scalers = archive.entries(({ resource }) => resource === SCALERS, { within: [itemsPath(SCALERS, namespace)] });
  const scaled = new Set<string>();
  for await (const { body } of archive.read(scalers)) scaled.add(scaledBy(JSON.parse(String(body))));
  return scaled;
}

/** What a HorizontalPodAutoscaler scales. */
export function scaledBy(scaler: KubernetesObject): string {
  const { kind, name } = fieldsAt(scaler, "spec", "scaleTargetRef") ?? {};
  return scaledKey(kind, scaler.metadata.namespace, name);
}

/** What it means that a backup doesn't hold an object. `resources`: those that its filters may name, and the object's own. */
export function absenceIn({ record, withoutSecrets }: Omit<OpenBackup, "archive">, resources: Resource[]): Absence {
  const { metadata, status } = record;
  const nothing = (why: string): Absence => ({ tells: () => false, why });
  if (status?.phase !== "Completed") return nothing(`it is ${status?.phase ?? "in no phase"}`);
  if (metadata.labels?.[BEFORE_RESTORE_LABEL] !== undefined)
    return nothing("it holds only what a restore was about to touch");
  try {
    const stored = storedBy(filtersOf(record), resources);
    return {
      tells: (entry) => !(withoutSecrets && entry.resource === "secrets") && stored(entry),
      why: withoutSecrets?.message ?? "its filters leave them out",
    };
  } catch (error) {
    if (!isLifeboatError(error, "invalid")) throw error;
    return nothing(error.message);
  }
}
