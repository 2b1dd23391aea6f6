import { readFile } from "node:fs/promises";
import {
  type Bucket,
  checkNewName,
  EXIT_CODES,
  LifeboatError,
  newestBackup,
  parseSelector,
  RESTORABLE,
  type RestoreDocument,
  type RestoreSpec,
  readModifiers,
  readPlan,
  restoreDocument,
  runDryRun,
  runRestore,
  specOf,
  startRunLog,
} from "../../../core/index.ts";
import { pointingToLog } from "../failure.ts";
import { booleanOf, type FilterOptions, filterSpec, readFlag, timestampedName, withoutUndefined } from "../filters.ts";
import type { Invocation } from "../options.ts";
import { countText, durationText, fields, phaseText, plural, printResult, say } from "../output.ts";
import { problemBlock } from "../problems.ts";
import { startProgress } from "../progress.ts";
import {
  COMMAND,
  clusterText,
  locationFlags,
  openBucket,
  openCluster,
  recipientsOf,
  signerOf,
  targetFlags,
  trustedKeysOf,
} from "../session.ts";
import { refuseUnderWay } from "../underway.ts";
import { askBeforePruning } from "./consent.ts";
import { countsText } from "./counts.ts";
import { planText } from "./plan.ts";

const PROBLEMS_SHOWN = 10;

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
  const kube = await openCluster(options, signal);
  const progress = startProgress("restoring", `reading the backup, and what ${kube.server} has`);
  try {
    const bucket = await openBucket(options);
    const plan = options.plan === undefined ? undefined : await readPlan(bucket, options.plan, signal);
    const spec = plan ? specOf(plan) : { ...filters, backupName: await sourceOf(options, bucket, signal) };
    const name = (args[0] as string | undefined) ?? options.plan ?? timestampedName(spec.backupName);
    checkNewName("restore", name);
    await refuseUnderWay(bucket, "restore", name, signal);
    const logs = `${COMMAND} restore logs ${name}${locationFlags(options)}`;
    const log = startRunLog({ restore: `velero/${name}` }, options.verbose ? progress.line : undefined);
    const startedAt = performance.now();
    const run = {
      trustedKeys: await trustedKeysOf(options, signal),
      signer: await signerOf(options),
      recipients: await recipientsOf(options),
      kube,
      bucket,
      name,
      spec,
      log,
      signal,
      progress: (done: number, total: number) => progress.update({ done, total }),
    };
    if (options.dryRun) {
      const document = await pointingToLog(log, logs, () => runDryRun(run));
      progress.end();
      await printResult(options.output, document, () =>
        planText(document, clusterText(kube, options), options.details),
      );
      const { skip: _, blocked: __, ...acts } = document.counts;
      const empty = Object.values(acts).every((count) => count === 0);
      if (!empty && (!options.output || options.output === "table")) {
        const consent = document.counts.prune > 0 ? " --yes" : "";
        say(`\nTo do exactly this:\n  ${COMMAND} restore create --plan ${name}${consent}${targetFlags(options)}`);
      }
      return document.errors.length === 0 ? EXIT_CODES.ok : EXIT_CODES.partial;
    }
    const { record, result } = await pointingToLog(log, logs, () =>
      runRestore({ ...run, plan, check: askBeforePruning(options) }),
    );
    progress.end();
    const durationMs = Math.round(performance.now() - startedAt);
    const document = restoreDocument(record, bucket.location, { durationMs, ...result.problems });
    await printResult(options.output, document, () => restoreSummary(document, clusterText(kube, options)));
    if (!options.output || options.output === "table") {
      say(`\nWhat became of each object:\n  ${COMMAND} restore describe ${name} --details${locationFlags(options)}`);
    }
    return document.phase === "Completed" ? EXIT_CODES.ok : EXIT_CODES.partial;
  } finally {
    progress.end();
    await kube.close();
  }
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

/** How the run went, for people. */
export function restoreSummary(
  { name, backup = "<none>", phase, counts, durationMs = 0, warnings, errors }: RestoreDocument,
  cluster: string,
): string {
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const rate = durationMs > 1000 ? `, ${countText(Math.round(total / (durationMs / 1000)))} objects/s` : "";
  return [
    `Restore ${name}: ${phaseText(phase)}\n\n`,
    `${fields(
      [
        ["Backup", backup],
        ["Cluster", cluster],
        ["Objects", countsText(counts)],
        ["Duration", `${durationText(durationMs)}${rate}`],
        [
          "Problems",
          errors.length + warnings.length
            ? `${plural(errors.length, "error")}, ${plural(warnings.length, "warning")}`
            : "none",
        ],
      ],
      "  ",
    )}\n`,
    problemBlock("Errors", errors, PROBLEMS_SHOWN),
    problemBlock("Warnings", warnings, PROBLEMS_SHOWN),
  ].join("");
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
