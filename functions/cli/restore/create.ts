import { readFile } from "node:fs/promises";
import {
  type Bucket,
  checkNewName,
  type Kube,
  LifeboatError,
  newestBackup,
  parseSelector,
  RESTORABLE,
  type RestoreSpec,
  readModifiers,
  readPlan,
  runDryRun,
  runRestore,
  specOf,
} from "../../../core/index.ts";
import { booleanOf, type FilterOptions, filterSpec, readFlag, timestampedName, withoutUndefined } from "../filters.ts";
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
    orLabelSelectors: readSelectors(options.orSelector),
    includedItems: options.include,
    restoreStatus: readStatuses(options),
    resourceModifierRules: await readModifierFile(options),
    resourceModifier: options.resourceModifierConfigmap
      ? { kind: "configmap", name: options.resourceModifierConfigmap }
      : undefined,
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

function readSelectors(text: string | undefined): RestoreSpec["orLabelSelectors"] {
  return text?.split(/\s+or\s+/).map((selector) => readFlag("--or-selector", selector, parseSelector)!);
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

const EXAMPLES: Record<string, string> = {
  "--namespace-mappings": "shop:shop-copy,db:db-copy",
  "--map-domain": "shop.example=green.example",
  "--map-registry": "registry.example=mirror.example/blue,docker.io=hub.example",
  "--map-storage-class": "gp2=premium",
  "--map-ingress-class": "nginx=traefik",
};

function readMappings(flag: string, between: string, pairs: string[] | undefined): Record<string, string> | undefined {
  if (!pairs) return undefined;
  const mapping: Record<string, string> = {};
  for (const pair of pairs) {
    const [from = "", to = "", ...rest] = pair.split(between);
    const fault =
      !from || !to || rest.length > 0
        ? `"${pair}" is not a pair`
        : Object.hasOwn(mapping, from)
          ? `"${from}" stands there twice`
          : undefined;
    if (fault) throw new LifeboatError("invalid", `${flag}: ${fault}`, { hint: `write it like ${EXAMPLES[flag]}` });
    mapping[from] = to;
  }
  return mapping;
}

async function readModifierFile(options: CreateOptions): Promise<string | undefined> {
  const { resourceModifierFile: file, resourceModifierConfigmap } = options;
  if (file === undefined) return undefined;
  if (resourceModifierConfigmap !== undefined)
    throw new LifeboatError("invalid", "give one of --resource-modifier-file and --resource-modifier-configmap");
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    throw new LifeboatError("invalid", `--resource-modifier-file: can't read ${file}`, { cause });
  }
  await readModifiers(text, file);
  return text;
}

function readCount(flag: string, text: string | undefined): number | undefined {
  if (text === undefined || /^\d{1,9}$/.test(text)) return text === undefined ? undefined : Number(text);
  throw new LifeboatError("invalid", `${flag}: "${text}" is not a number of replicas`, {
    hint: `write it like ${flag} 0`,
  });
}
