import { type ArchiveWriter, HEADER_FILE } from "../archive/writer.ts";
import { OMITTED } from "../catalog.ts";
import type { Resource } from "../kube/resource.ts";
import type { Log, LogLevel } from "../log.ts";
import { type Problem, problemLine } from "../report.ts";
import { openCopiers } from "../volumes/copiers.ts";
import type { BackupRun } from "./backup.ts";
import { type CollectPlace, type CollectState, collect, type ShardRange } from "./collect.ts";
import type { SecretsArchive } from "./encryption.ts";
import { type Lint, type LintState, startLint } from "./lint.ts";
import type { Namespaces } from "./participants.ts";
import { type Consistency, type Photograph, photograph } from "./photograph.ts";
import type { PodHooks } from "./podhooks.ts";
import { volumePolicies } from "./policies.ts";
import type { ArchiveHeader, ArchiveOutcome } from "./record.ts";
import { clearLeft } from "./release.ts";
import type { BackupScope } from "./scope.ts";
import { type Inventory, type InventoryState, startInventory } from "./sidefiles.ts";
import { type BackupVolumes, backupVolumes, type VolumesState } from "./volumes.ts";

/** What is read of the cluster, and what is learned of it on the way. */
export interface ClusterReading {
  run: BackupRun;
  header: ArchiveHeader;
  resources: Resource[];
  scope: BackupScope;
  namespaces: Namespaces;
  problems: Problems;
  report: Report;
  photograph: Photograph;
  inventory: Inventory;
  /** Of a backup that is to stand for itself, as `volumes`. */
  lint: Lint | undefined;
  volumes: BackupVolumes | undefined;
  /** What was last told. */
  progress: { items: number };
  /** Ends what volumes are copied by. */
  failing: AbortController;
}

/** By their levels. */
export type Problems = Record<Exclude<LogLevel, "info">, Problem[]>;
type Report = (level: keyof Problems, problem: Problem) => void;

/** Problems so far, and what adds to them and tells the log. */
export function reporting(log: Log, from?: Problems): { problems: Problems; report: Report } {
  const problems = { warning: [...(from?.warning ?? [])], error: [...(from?.error ?? [])] };
  const report: Report = (level, problem) => {
    problems[level].push(problem);
    log(level, problemLine(problem));
  };
  return { problems, report };
}

/** Begins to read, or goes on with what another has read. */
export function startReading(
  run: BackupRun,
  facts: Pick<ClusterReading, "header" | "resources" | "scope" | "namespaces" | "problems" | "report">,
  from?: Read,
): ClusterReading {
  const { kube, signal } = run;
  const { header, resources, report } = facts;
  const { log } = run.log;
  const progress = { items: 0 };
  const failing = new AbortController();
  const lint = run.only ? undefined : startLint(from?.lint);
  const policies = volumePolicies(header.settled ?? header.spec);
  const copying = { ...run, signal: AbortSignal.any([signal, failing.signal]), policies, log, report };
  const volumes =
    lint &&
    backupVolumes({
      ...copying,
      resources,
      lint,
      copiers: async (signal) => {
        await clearLeft({ ...copying, warn: (message) => report("warning", { message }), signal });
        return openCopiers({ ...copying, signal });
      },
      progress: (left, total) =>
        run.progress?.({ items: progress.items, resource: `volumes: ${left} of ${total} left`, remaining: undefined }),
      say: (line, level = "info") => {
        log(level, line);
        run.say?.(line);
      },
      from: from?.volumes,
    });
  return {
    ...facts,
    run,
    progress,
    photograph: photograph(kube, header.resourceVersion, { taken: from?.consistency, signal }),
    inventory: startInventory(from?.inventory),
    lint,
    volumes,
    failing,
  };
}

/** What was read and learned, as JSON. */
export interface Read {
  collected: CollectState;
  consistency: Consistency;
  inventory: InventoryState;
  lint: LintState | undefined;
  volumes: VolumesState | undefined;
  problems: Problems;
}

/** Where what is read goes. */
interface Reader {
  writer: Pick<ArchiveWriter, "file" | "item">;
  secrets?: SecretsArchive;
  hooks?: PodHooks;
  from?: CollectState;
  /** As of `collect`. */
  range?: ShardRange;
  goOn?: (place: CollectPlace, read: () => Read) => Promise<boolean>;
}

/** Reads the cluster, or the rest of it, into an archive, all but its end. Undefined where it did not go on to the end. */
export async function readCluster(reading: ClusterReading, reader: Reader): Promise<ArchiveOutcome | undefined> {
  const { run, header, problems, report, photograph, inventory, lint, volumes } = reading;
  const { writer, secrets, hooks, goOn } = reader;
  const { spec } = header;
  if (!reader.from) await writer.file(HEADER_FILE, Buffer.from(JSON.stringify(header)));
  const read = (collected: CollectState): Read => ({
    collected,
    consistency: photograph.consistency(),
    inventory: inventory.state(),
    lint: lint?.state(),
    volumes: volumes?.state(),
    problems,
  });
  const collected = await collect({
    ...run,
    ...reading,
    ...reader,
    unprepared: hooks?.unprepared ?? new Set(),
    allRead: async () => await hooks?.post(),
    log: run.log.log,
    fail: (problem) => report("error", problem),
    warn: (problem) => report("warning", problem),
    progress: (progress) => {
      reading.progress.items = progress.items;
      run.progress?.(progress);
    },
    goOn: goOn && ((place, state) => goOn(place, () => read(state()))),
  });
  if (!collected) return undefined;
  const { secretsLeftOut, ...counts } = collected;
  const omitted = spec.secrets === "omit" ? ({ suffix: OMITTED, count: secretsLeftOut } as const) : undefined;
  return {
    schemaVersion: 1,
    consistency: photograph.consistency(),
    ...counts,
    secrets: (await secrets?.finish()) ?? omitted,
    hooks: hooks?.pods ? hooks.status : undefined,
    findings: lint?.findings(),
    volumes: volumes?.records.length ? volumes.records : undefined,
    podVolumes: volumes?.podVolumes() || undefined,
    warnings: problems.warning,
    errors: problems.error,
  };
}
