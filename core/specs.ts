import { z } from "zod";

const names = z.array(z.string().min(1)).max(10_000);
const labelSelector = z.strictObject({
  matchLabels: z.record(z.string(), z.string()).optional(),
  matchExpressions: z
    .array(
      z.strictObject({
        key: z.string(),
        operator: z.enum(["In", "NotIn", "Exists", "DoesNotExist"]),
        values: z.array(z.string()).optional(),
      }),
    )
    .optional(),
});
const filters = {
  includedNamespaces: names.optional(),
  excludedNamespaces: names.optional(),
  includedResources: names.optional(),
  excludedResources: names.optional(),
  includeClusterResources: z.boolean().optional(),
  labelSelector: labelSelector.optional(),
};

/** Velero's BackupSpec, as far as it is understood. */
export const backupSpecSchema = z.strictObject({ ...filters, ttl: z.string().optional() });

/** Velero's RestoreSpec, as far as it is understood. */
export const restoreSpecSchema = z.strictObject({
  ...filters,
  backupName: z.string().min(1).optional(),
  /** In place of `backupName`: the newest backup that this schedule completed. */
  scheduleName: z.string().min(1).optional(),
  namespaceMapping: z.record(z.string(), z.string()).optional(),
  existingResourcePolicy: z.enum(["none", "update"]).optional(),
  preserveNodePorts: z.boolean().optional(),
});
