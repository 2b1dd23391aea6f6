import { z } from "zod";
import { CLUSTER } from "../catalog.ts";
import { LifeboatError } from "../errors.ts";
import { fieldProblems, problemText, strictFields } from "../fields.ts";
import { type BackupSpec, backupSpecSchema, leftOut } from "../specs.ts";

const metadata = z.looseObject({
  name: z.string(),
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});

const scheduleSchema = z.looseObject({
  apiVersion: z.literal("velero.io/v1"),
  kind: z.literal("Schedule"),
  metadata,
  spec: strictFields({
    schedule: z.string(),
    template: z.record(z.string(), z.unknown()).optional(),
    paused: z.boolean().optional(),
    skipImmediately: z.boolean().optional(),
    /** Nothing owns our backups: there is no Schedule in the cluster. */
    useOwnerReferencesInBackup: z.unknown().optional(),
  }),
});

const backupSchema = z.looseObject({
  apiVersion: z.literal("velero.io/v1"),
  kind: z.literal("Backup"),
  metadata,
  spec: backupSpecSchema.optional(),
});

/** Whether a document of YAML is a Kubernetes manifest, as against a configuration of ours. */
export function isManifest(value: unknown): value is { kind: unknown; items?: unknown } {
  return typeof value === "object" && value !== null && "apiVersion" in value && "kind" in value;
}

/** The manifests of a `List` or `ScheduleList`, as `kubectl get -o yaml` prints it; any other manifest is one. */
export function manifestsIn(manifest: { kind: unknown; items?: unknown }): unknown[] {
  return String(manifest.kind).endsWith("List") && Array.isArray(manifest.items) ? manifest.items : [manifest];
}

/** A Velero Schedule as an entry of the configuration's `schedules`, not checked beyond its outline yet. */
export type ScheduleEntry =
  | { name: string; entry: Record<string, unknown>; problems?: undefined }
  | { problems: string[] };

/** Reads a Velero Schedule as it is. Labels are those that Velero would give its backups (velero-format: 7.1). */
export function readScheduleManifest(manifest: unknown): ScheduleEntry {
  const parsed = scheduleSchema.safeParse(manifest);
  if (!parsed.success) {
    const { kind, metadata } = (manifest ?? {}) as { kind?: unknown; metadata?: { name?: unknown } };
    const subject = [kind, metadata?.name].filter((word) => typeof word === "string").join(" ") || "a manifest";
    if (kind !== "Schedule") return { problems: [`${subject} is no Velero Schedule`] };
    return { problems: fieldProblems(parsed.error).map((problem) => `${subject}: ${problemText(problem)}`) };
  }
  const { metadata, spec } = parsed.data;
  const { useOwnerReferencesInBackup: _, ...fields } = spec;
  const cluster = metadata.annotations?.[CLUSTER];
  const { labels } = metadata;
  return { name: metadata.name, entry: { ...fields, ...(labels && { labels }), ...(cluster && { cluster }) } };
}

/**
 * Reads a Velero Backup (parsed YAML or JSON) as what to back up under which name, of the cluster that the annotation
 * `lifeboat/cluster` names. `warnings` names the fields that say something and are left out. Throws `invalid` with all
 * that is wrong.
 */
export function readBackupManifest(manifest: unknown): {
  name: string;
  cluster?: string;
  spec: BackupSpec;
  warnings: string[];
} {
  const given = withoutNulls(manifest);
  const parsed = backupSchema.safeParse(given);
  if (!parsed.success) {
    throw new LifeboatError("invalid", "the manifest is no Velero Backup that can be carried out", {
      hint: fieldProblems(parsed.error).map(problemText).join("\n"),
    });
  }
  const { metadata, spec = {} } = parsed.data;
  const dropped = leftOut("backup", (given as { spec?: object }).spec ?? {});
  return {
    name: metadata.name,
    cluster: metadata.annotations?.[CLUSTER],
    spec,
    warnings: dropped.length ? [`spec: without effect here: ${dropped.join(", ")}`] : [],
  };
}

/** As Kubernetes reads manifests: a field that is null is not there. */
export function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(([, inner]) => inner !== null && inner !== undefined);
  return Object.fromEntries(kept.map(([key, inner]) => [key, withoutNulls(inner)]));
}
