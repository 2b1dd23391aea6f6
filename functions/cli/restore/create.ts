import {
  type Bucket,
  checkNewName,
  type Kube,
  LifeboatError,
  newestBackup,
  RESTORABLE,
  type RestoreSpec,
  readModifiers,
  readPlan,
  runDryRun,
  runRestore,
  specOf,
} from "../../../core/index.ts";
import {
  booleanOf,
  configMapFlag,
  type FilterOptions,
  filterSpec,
  readMappings,
  readSelectors,
  readTextFlag,
  timestampedName,
  withoutUndefined,
} from "../filters.ts";
import type { Invocation } from "../options.ts";
import { COMMAND, targetFlags } from "../session.ts";
import { carry } from "./carry.ts";
import { askBeforePruning } from "./consent.ts";

interface CreateOptions extends FilterOptions {
  fromBackup?: string;
  fromSchedule?: string;
  allowPartiallyFailed?: "true" | "false";
  namespaceMappings?: string[];
  existingResourcePolicy?: RestoreSpec["existingResourcePolicy"];
  preserveNodeports?: "true" | "false";
  restoreVolumes?: "true" | "false";
  writeSparseFiles?: "true" | "false";
  zoneMapping?: string[];
  prune?: boolean;
  yes?: boolean;
  resourceModifierFile?: string;
  resourceModifierConfigmap?: string;
  dryRun?: boolean;
  details?: boolean;
  plan?: string;
  orSelector?: string;
  include?: string[];
  statusIncludeResources?: string[];
  statusExcludeResources?: string[];
  mapDomain?: string[];
  mapRegistry?: string[];
  mapStorageClass?: string[];
  mapIngressClass?: string[];
  scaleTo?: string;
}

/**
 * `lifeboat restore create [NAME] --from-backup BACKUP | --from-schedule SCHEDULE | --plan ID`: exit code 3 where it is
 * PartiallyFailed, or where a dry run finds that it would be.
 */
export async function createRestore({ args, options, signal }: Invocation<CreateOptions>): Promise<number> {
  const filters: Omit<RestoreSpec, "backupName"> = withoutUndefined({
    ...filterSpec(options),
    namespaceMapping: readMappings("--namespace-mappings", ":", options.namespaceMappings),
    existingResourcePolicy: options.existingResourcePolicy,
    preserveNodePorts: booleanOf(options.preserveNodeports),
    restorePVs: booleanOf(options.restoreVolumes),
    uploaderConfig: options.writeSparseFiles && { writeSparseFiles: options.writeSparseFiles === "true" },
    zoneMapping: readMappings("--zone-mapping", "=", options.zoneMapping),
    orLabelSelectors: readSelectors(options.orSelector),
    includedItems: options.include,
    restoreStatus: readStatuses(options),
    resourceModifierRules: await readModifierFile(options),
    resourceModifier: configMapFlag(options.resourceModifierConfigmap),
    domainMapping: readMappings("--map-domain", "=", options.mapDomain),
    registryMapping: readMappings("--map-registry", "=", options.mapRegistry),
    storageClassMapping: readMappings("--map-storage-class", "=", options.mapStorageClass),
    ingressClassMapping: readMappings("--map-ingress-class", "=", options.mapIngressClass),
    scaleTo: readCount("--scale-to", options.scaleTo),
    prune: options.prune,
  });
  checkSource(options, filters);
  const first = ({ server }: Kube) => `reading the backup, and what ${server} has`;
  return carry({ args, options, signal }, ["restoring", first], async (bucket) => {
    const plan = options.plan === undefined ? undefined : await readPlan(bucket, options.plan, signal);
    const spec = plan ? specOf(plan) : { ...filters, backupName: await sourceOf(options, bucket, signal) };
    const name = (args[0] as string | undefined) ?? options.plan ?? timestampedName(spec.backupName);
    checkNewName("restore", name);
    return {
      names: [name],
      rehearse: (run) => runDryRun({ ...run, name, spec }),
      carryOut: (run) => runRestore({ ...run, name, spec, plan, check: askBeforePruning(options) }),
      next: ({ counts }) => {
        const consent = counts.prune > 0 ? " --yes" : "";
        return `\nTo do exactly this:\n  ${COMMAND} restore create --plan ${name}${consent}${targetFlags(options)}`;
      },
    };
  });
}

function readStatuses({ statusIncludeResources, statusExcludeResources }: CreateOptions): RestoreSpec["restoreStatus"] {
  if (!statusIncludeResources && !statusExcludeResources) return undefined;
  return withoutUndefined({ includedResources: statusIncludeResources, excludedResources: statusExcludeResources });
}

function checkSource(
  { fromBackup, fromSchedule, allowPartiallyFailed, plan, dryRun, details }: CreateOptions,
  filters: object,
): void {
  if (details && !dryRun) {
    throw new LifeboatError("invalid", "--details goes with --dry-run", {
      hint: 'of a restore that has been done, "restore describe NAME --details" tells of every object',
    });
  }
  if ([fromBackup, fromSchedule, plan].filter((source) => source !== undefined).length !== 1) {
    throw new LifeboatError("invalid", "a restore is from a backup, from a schedule or by a plan", {
      hint: "give one of --from-backup NAME, --from-schedule NAME and --plan ID",
    });
  }
  if (plan !== undefined && (dryRun || Object.keys(filters).length > 0)) {
    throw new LifeboatError("invalid", "a plan says itself what to restore, and how", {
      hint: "leave out the flags beside --plan, or make a new plan with them: --dry-run",
    });
  }
  if (allowPartiallyFailed !== undefined && fromSchedule === undefined) {
    throw new LifeboatError("invalid", "--allow-partially-failed goes with --from-schedule");
  }
}

async function sourceOf(options: CreateOptions, bucket: Bucket, signal: AbortSignal): Promise<string> {
  if (options.fromBackup !== undefined) return options.fromBackup;
  const phases = booleanOf(options.allowPartiallyFailed) ? RESTORABLE : undefined;
  return (await newestBackup(bucket, options.fromSchedule!, { phases, signal })).metadata.name;
}

async function readModifierFile(options: CreateOptions): Promise<string | undefined> {
  const text = await readTextFlag("--resource-modifier-file", options.resourceModifierFile, {
    "--resource-modifier-configmap": options.resourceModifierConfigmap,
  });
  if (text !== undefined) await readModifiers(text, options.resourceModifierFile!);
  return text;
}

function readCount(flag: string, text: string | undefined): number | undefined {
  if (text === undefined || /^\d{1,9}$/.test(text)) return text === undefined ? undefined : Number(text);
  throw new LifeboatError("invalid", `${flag}: "${text}" is not a number of replicas`, {
    hint: `write it like ${flag} 0`,
  });
}
