import { z } from "zod";
import { type ResourcePolicies, readPolicies } from "./backup/policies.ts";
import type { Backup } from "./catalog.ts";
import { parseDuration } from "./duration.ts";
import { isLifeboatError, LifeboatError } from "./errors.ts";
import { strictFields } from "./fields.ts";
import { RUN } from "./integrity/seal.ts";
import { mappingFault, namespaceFault } from "./restore/clone/mappings.ts";
import {
  checkLists,
  checkOneSelector,
  labelSelectorSchema,
  nameFilter,
  parseItem,
  resourceFilter,
  selectorText,
} from "./select.ts";

const MOST_NAMES = 10_000;
const names = z.array(z.string().min(1, "holds an empty name")).max(MOST_NAMES);

/** Who takes part: the fields that Velero's BackupSpec and RestoreSpec share, with their meaning. */
const filters = {
  /** In a restore, of the backup: before `namespaceMapping`. */
  includedNamespaces: names.optional(),
  excludedNamespaces: names.optional(),
  includedResources: names.optional(),
  excludedResources: names.optional(),
  /** Unset: all cluster-scoped objects, unless `includedNamespaces` limits what takes part. */
  includeClusterResources: z.boolean().optional(),
  labelSelector: labelSelectorSchema.optional(),
};

export type FilterSpec = z.infer<z.ZodObject<typeof filters>>;

/** A field that may be left out, for which Velero writes null. */
function orNull<Schema extends z.ZodType>(schema: Schema) {
  return z.preprocess((given) => given ?? undefined, schema.optional());
}

/** In place of `labelSelector`: an object takes part that one of them selects. */
const orLabelSelectors = orNull(z.array(labelSelectorSchema));

const listOrNull = orNull(names);
const flagOrNull = orNull(z.boolean());

/** Who takes part in a backup: the fields of Velero's BackupSpec alone. */
const backupFilters = {
  ...filters,
  /** In place of the filters of resources above, which may not be given with them: one pair for each scope. */
  includedClusterScopedResources: listOrNull,
  excludedClusterScopedResources: listOrNull,
  includedNamespaceScopedResources: listOrNull,
  excludedNamespaceScopedResources: listOrNull,
  orLabelSelectors,
  /** Ours, in place of `resourcePolicy`: the text of such policies. */
  resourcePolicyRules: z.string().optional(),
};

/** The filters of a backup, as they are asked for or, in its record, as they were carried out. */
export type BackupFilters = z.infer<z.ZodObject<typeof backupFilters>> & {
  /** The backup was made by Velero, with its rules for cluster-scoped objects. */
  veleros?: boolean;
};

const duration = z.string().refine(isDuration, 'should be a duration like "30s" or "5m"');

/** A duration of which "0s" stands for the default, as Velero writes it. */
const timeout = z.preprocess((given) => (isNoTime(given) ? undefined : given), duration.optional());

/** Velero's hooks: Pods that are selected, and what is run in them. */
function hooksSchema<Shape extends z.ZodRawShape>(hooks: Shape) {
  const entry = strictFields({
    name: z.string().min(1),
    includedNamespaces: names.optional(),
    excludedNamespaces: names.optional(),
    includedResources: names.optional(),
    excludedResources: names.optional(),
    labelSelector: labelSelectorSchema.optional(),
    ...hooks,
  }).superRefine((fields, context) => checkFilters(fields as FilterSpec, context));
  return strictFields({ resources: z.array(entry).optional() });
}

/** What both sorts of hooks run. */
const command = {
  /** The Pod's first one where not given. */
  container: z.string().optional(),
  command: z.array(z.string()).min(1),
  onError: z.enum(["Continue", "Fail"]).optional(),
};

const backupHook = z.array(strictFields({ exec: strictFields({ ...command, timeout: duration.optional() }) }));

/** Velero's BackupHooks (velero-format: 4.8). They are for Pods alone: entries whose resources don't include them mean nothing. */
const backupHooks = hooksSchema({ pre: backupHook.optional(), post: backupHook.optional() });

/** A ConfigMap of the namespace `velero`. */
const configMap = strictFields({
  apiGroup: z.literal("").nullish(),
  kind: z.string().regex(/^configmap$/i, "is configmap"),
  name: z.string().min(1),
});

const backupFields = {
  ...backupFilters,
  /** Policies that say who takes part, in a ConfigMap of the cluster's namespace `velero`. */
  resourcePolicy: orNull(configMap),
  /** By the plural of a resource: which objects come first in the archive, "namespace/name,namespace/name". */
  orderedResources: orNull(z.record(z.string(), z.string())),
  /** Claims that share the value of this label come along together; Velero's is velero.io/volume-group. */
  volumeGroupSnapshotLabelKey: z.string().optional(),
  hooks: backupHooks.optional(),
  /** Whether volumes are snapshotted that neither a policy nor a Pod's annotation speaks of; false: they are not. */
  snapshotVolumes: flagOrNull,
  /** Whether the files of claims are copied that no Pod's annotation excludes; as unset, of those that one names. */
  defaultVolumesToFsBackup: flagOrNull,
  /** Its old name. */
  defaultVolumesToRestic: flagOrNull,
  /** Whether files of CSI snapshots are copied in place of the snapshots, which then go (`volumes/moved.ts`). */
  snapshotMoveData: flagOrNull,
  /** How long a CSI snapshot may take; as unset and with "0s", 10 minutes. */
  csiSnapshotTimeout: timeout,
  /** How long a copy of files may take; as unset and with "0s", 4 hours. */
  itemOperationTimeout: timeout,
  /** A Go duration; without one, and with Velero's "0s" for none, the backup never expires. */
  ttl: z.string().refine(isDuration, 'should be a duration like "720h" or "90m"').optional(),
  /** Ours: how long the bucket holds what is stored against deletion and overwriting, from the backup's start. */
  retainFor: z
    .string()
    .refine((text) => isDuration(text) && parseDuration(text) > 0, 'should be a duration like "720h"')
    .optional(),
  /** Whether that can be lifted by who has the right to ("governance", as unset), or by nobody ("compliance"). */
  retainMode: z.enum(["governance", "compliance"]).optional(),
  /** Ours: whether Secrets are stored as all else (as unset), left out, or alone encrypted (encryption.recipients). */
  secrets: z.enum(["keep", "omit", "encrypt"]).optional(),
};

const mapping = z.record(z.string(), z.string());

/** Velero's RestoreHooks (velero-format: 5.9). Hooks are for Pods alone, whatever resources are named; namespaces are those of the target. */
const restoreHooks = hooksSchema({
  postHooks: z
    .array(
      strictFields({
        init: strictFields({
          /** Containers as a Pod has them. */
          initContainers: z
            .array(
              z.looseObject({
                name: z.string().min(1),
                image: z.string().min(1),
                command: z.array(z.string()).min(1),
              }),
            )
            .optional(),
          /** Without effect, as with Velero. */
          timeout: duration.optional(),
        }).optional(),
        exec: strictFields({
          ...command,
          execTimeout: duration.optional(),
          waitTimeout: duration.optional(),
          waitForReady: z.boolean().nullish(),
        }).optional(),
      }),
    )
    .optional(),
});

const restoreFields = {
  ...filters,
  backupName: z.string().min(1).optional(),
  /** In place of `backupName`: the newest backup that this schedule completed. */
  scheduleName: z.string().min(1).optional(),
  /** False: volumes' data are not restored, and claims come back empty. */
  restorePVs: flagOrNull,
  uploaderConfig: orNull(
    strictFields({
      /** Whether restored files have holes where they had zeros. */
      writeSparseFiles: z.boolean().nullish(),
      /** Without effect. */
      parallelFilesDownload: z.int().nullish(),
    }),
  ),
  /** From a namespace of the backup to one of the target. */
  namespaceMapping: mapping.optional(),
  /**
   * "none", as unset: an object that exists is left as it is; "update": it is made what the backup says; "recreate":
   * where the API server refuses that, since a field can't be changed, it is deleted and created anew.
   */
  existingResourcePolicy: z.enum(["none", "update", "recreate"]).optional(),
  preserveNodePorts: z.boolean().optional(),
  hooks: restoreHooks.optional(),
  orLabelSelectors,
  /** Whose status is restored too: unset, nobody's; empty, all; an object's own annotation says otherwise. */
  restoreStatus: strictFields({ includedResources: names.optional(), excludedResources: names.optional() }).optional(),
  /** Ours: only these objects of the backup, "namespace/resource/name" or "resource/name", and what they can't be without. */
  includedItems: names.optional(),
  /** Rules that change objects, in a ConfigMap of the target's namespace `velero`. */
  resourceModifier: configMap.optional(),
  /** Ours, in its place: the text of such rules. */
  resourceModifierRules: z.string().optional(),
  /** Ours: from zones of the backup to those in which disks are made of snapshots. */
  zoneMapping: mapping.optional(),
  /** For clones, ours: from domains, prefixes of images' names and classes of the backup to those of the clone. */
  domainMapping: mapping.optional(),
  registryMapping: mapping.optional(),
  storageClassMapping: mapping.optional(),
  ingressClassMapping: mapping.optional(),
  /** Ours: workloads come up with at most so many replicas, until `restore activate`. */
  scaleTo: z.int().min(0).optional(),
  /** Ours: what the filters select and the backup doesn't hold is deleted (restore/prune/prune.ts). */
  prune: z.boolean().optional(),
};

/** Values of a field that change nothing about what is stored or restored. */
const ANY = () => true;
const OFF = (value: unknown) => value === false;
const EMPTY = (value: unknown): boolean =>
  typeof value === "object" && value !== null ? Object.values(value).every(EMPTY) : value === "" || value === null;

/**
 * Velero's other fields of a BackupSpec (velero-format: 3.2). They are not carried out: the values given here are accepted and
 * left out; any other is refused.
 */
const OTHER_BACKUP_FIELDS: Record<string, (value: unknown) => boolean> = {
  backupType: ANY,
  datamover: ANY,
  /** Labels in it are read by `readSchedule`, as Velero does. */
  metadata: ANY,
  /** The location of the configuration is the one. */
  storageLocation: ANY,
  /** How many files the copier reads at a time is its own matter. */
  uploaderConfig: ANY,
  /** The cloud of the disks is the platform's own. */
  volumeSnapshotLocations: ANY,
};

/** Velero's other fields of a RestoreSpec (velero-format: 5.13), likewise. */
const OTHER_RESTORE_FIELDS: Record<string, (value: unknown) => boolean> = {
  itemOperationTimeout: ANY,
  resourcePolicy: EMPTY,
  skipDefaultResourceModifier: ANY,
};

/** Velero's BackupSpec: what is carried out comes out of it, what changes nothing is left out, all else is refused. */
export const backupSpecSchema = specSchema(backupFields, OTHER_BACKUP_FIELDS).transform(
  ({ ttl, hooks, defaultVolumesToRestic, defaultVolumesToFsBackup = defaultVolumesToRestic, ...spec }) => ({
    ...spec,
    ...(defaultVolumesToFsBackup !== undefined && { defaultVolumesToFsBackup }),
    ...(hooks?.resources?.length && { hooks }),
    ...(ttl !== undefined && parseDuration(ttl) > 0 && { ttl }),
  }),
);

/** The part of Velero's BackupSpec that is carried out; the fields have Velero's names and meaning. */
export type BackupSpec = z.infer<typeof backupSpecSchema>;

/** Velero's RestoreSpec, likewise; it names its backup, or the schedule whose newest completed backup is meant. */
export const restoreSpecSchema = specSchema(restoreFields, OTHER_RESTORE_FIELDS)
  .refine(
    ({ backupName, scheduleName }) => (backupName === undefined) !== (scheduleName === undefined),
    "give one of backupName and scheduleName",
  )
  .superRefine((spec, context) => {
    const fault = mappingFault(spec);
    if (fault) context.addIssue({ code: "custom", path: [fault.field], message: fault.message });
    const namespaces = namespaceFault(spec.namespaceMapping ?? {});
    if (namespaces) context.addIssue({ code: "custom", path: ["namespaceMapping"], message: namespaces });
    if (spec.resourceModifier && spec.resourceModifierRules !== undefined)
      context.addIssue({ code: "custom", path: ["resourceModifier"], message: "give it or resourceModifierRules" });
  });

/** The part of Velero's RestoreSpec that is carried out, once it is known which backup is meant. */
export type RestoreSpec = Omit<z.infer<typeof restoreSpecSchema>, "backupName" | "scheduleName"> & {
  backupName: string;
};

/**
 * The filters that a stored backup, ours or Velero's, was made with. Throws `invalid` where it was made with policies that its
 * record doesn't hold: who took part in it then can't be told.
 */
export function filtersOf({ metadata, spec = {} }: Backup): BackupFilters {
  const backup = `backup "${metadata.name}"`;
  if (spec.resourcePolicy && !spec.resourcePolicyRules)
    throw new LifeboatError("invalid", `${backup} was made with resourcePolicy: what it would have held can't be told`);
  const given = Object.entries(spec).filter(([field, value]) => Object.hasOwn(backupFilters, field) && value !== null);
  const parsed = z.object(backupFilters).safeParse(Object.fromEntries(given));
  if (!parsed.success)
    throw new LifeboatError("invalid", `the filters that ${backup} was made with can't be read`, {
      cause: parsed.error,
    });
  return metadata.annotations?.[RUN] === undefined ? { ...parsed.data, veleros: true } : parsed.data;
}

/** The fields of a valid spec that are left out although they say something: for a warning. */
export function leftOut(kind: "backup" | "restore", spec: object): string[] {
  const others = kind === "backup" ? OTHER_BACKUP_FIELDS : OTHER_RESTORE_FIELDS;
  return Object.entries(spec).flatMap(([field, value]) =>
    Object.hasOwn(others, field) && !OFF(value) && !EMPTY(value) ? [field] : [],
  );
}

function specSchema<Shape extends typeof filters>(shape: Shape, others: Record<string, (value: unknown) => boolean>) {
  const other = (changesNothing: (value: unknown) => boolean) =>
    z
      .unknown()
      .refine((value) => value === null || changesNothing(value), "is not supported")
      .optional();
  const otherShape = Object.fromEntries(Object.entries(others).map(([field, accepts]) => [field, other(accepts)]));
  return strictFields({ ...shape, ...otherShape } as Shape)
    .superRefine((spec, context) => checkFilters(spec as FilterSpec, context))
    .transform(
      (spec) =>
        Object.fromEntries(
          Object.entries(spec).filter(([field, value]) => value !== undefined && !Object.hasOwn(others, field)),
        ) as typeof spec,
    );
}

/** Velero's rules for filters, as far as they can be told without a cluster. */
function checkFilters(spec: FilterSpec, context: z.RefinementCtx): void {
  const check = (field: string, read: () => void) => {
    try {
      read();
    } catch (error) {
      if (!isLifeboatError(error)) throw error;
      const [, named = "", message] = /^(\w+): (.*)$/s.exec(error.message) ?? [];
      const itself = Object.hasOwn(backupFilters, named);
      context.addIssue({ code: "custom", path: [itself ? named : field], message: itself ? message : error.message });
    }
  };
  check("includedNamespaces", () => nameFilter(spec.includedNamespaces, spec.excludedNamespaces));
  const { resourcePolicy, resourcePolicyRules: rules } = spec as z.infer<z.ZodObject<typeof backupFields>>;
  check("includedResources", () => checkBackupFilters(spec as BackupFilters));
  check("retainMode", () => checkHold(spec as z.infer<z.ZodObject<typeof backupFields>>));
  check("resourcePolicyRules", () => {
    if (resourcePolicy && rules !== undefined) throw new LifeboatError("invalid", "give it or resourcePolicy");
    if (rules !== undefined) checkPolicies(spec, readPolicies(rules));
  });
  if (spec.labelSelector) check("labelSelector", () => selectorText(spec.labelSelector!));
  const { orLabelSelectors, restoreStatus, includedItems } = spec as z.infer<z.ZodObject<typeof restoreFields>>;
  for (const [at, selector] of (orLabelSelectors ?? []).entries())
    check(`orLabelSelectors.${at}`, () => selectorText(selector));
  check("orLabelSelectors", () => checkOneSelector(spec.labelSelector, orLabelSelectors));
  if (restoreStatus) {
    const { includedResources, excludedResources } = restoreStatus;
    check("restoreStatus", () => resourceFilter(includedResources, excludedResources, []));
  }
  for (const item of includedItems ?? []) check("includedItems", () => parseItem(item));
}

/** Throws `invalid` where a way of holding what is stored is given, and not for how long. */
export function checkHold({ retainFor, retainMode }: Pick<BackupSpec, "retainFor" | "retainMode">): void {
  if (retainMode && !retainFor)
    throw new LifeboatError("invalid", "retainMode holds nothing without retainFor", { hint: "give both, or neither" });
}

/** Throws `invalid` for lists of resources that Velero refuses. */
export function checkBackupFilters(spec: BackupFilters): void {
  checkLists(spec.includedResources, spec.excludedResources, "Resources");
  const { includedClusterScopedResources: included, excludedClusterScopedResources: excluded } = spec;
  checkLists(included, excluded, "ClusterScopedResources");
  checkLists(spec.includedNamespaceScopedResources, spec.excludedNamespaceScopedResources, "NamespaceScopedResources");
  if (usesOldFilters(spec) && usesNewFilters(spec))
    throw new LifeboatError("invalid", "the filters of both scopes can't be given with those of one", {
      hint: "use includedResources, excludedResources and includeClusterResources, or includedClusterScopedResources, excludedClusterScopedResources, includedNamespaceScopedResources and excludedNamespaceScopedResources",
    });
}

/** Whether filters of both scopes are used, Velero's older ones. */
export function usesOldFilters({ includedResources, excludedResources, includeClusterResources }: FilterSpec): boolean {
  return !!includedResources?.length || !!excludedResources?.length || includeClusterResources !== undefined;
}

function usesNewFilters(spec: BackupFilters): boolean {
  return [
    spec.includedClusterScopedResources,
    spec.excludedClusterScopedResources,
    spec.includedNamespaceScopedResources,
    spec.excludedNamespaceScopedResources,
  ].some((list) => list?.length);
}

/** Throws `invalid` for policies that can't be given with the filters (Velero, 4.1). */
export function checkPolicies(spec: FilterSpec, policies: ResourcePolicies): void {
  const filtering =
    policies.includeExcludePolicy || policies.clusterScopedFilterPolicy || policies.namespacedFilterPolicies?.length;
  if (filtering && usesOldFilters(spec))
    throw new LifeboatError(
      "invalid",
      "policies that filter can't be given with includedResources, excludedResources or includeClusterResources",
    );
}

function isNoTime(given: unknown): boolean {
  return given === null || (typeof given === "string" && isDuration(given) && parseDuration(given) === 0);
}

function isDuration(text: string): boolean {
  try {
    return parseDuration(text) >= 0;
  } catch {
    return false;
  }
}
