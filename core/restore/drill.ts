import { startApiServer } from "../apiserver/server.ts";
import type { Archive } from "../archive/reader.ts";
import type { Backup } from "../catalog.ts";
import { openBackup } from "../integrity/open.ts";
import { connect, type Kube } from "../kube/client.ts";
import { readKubeconfig } from "../kube/kubeconfig.ts";
import type { Log } from "../log.ts";
import type { Bucket } from "../ports.ts";
import type { Problem } from "../report.ts";
import { rehearse } from "./plan/rehearsal.ts";
import { type PlanInput, planRestore, restore } from "./restore.ts";

/** How a restore that was rehearsed would have gone. */
export interface Drill {
  /** The API server it was rehearsed against; absent where that was one of ours, in memory, which knows no more than the structure. */
  target?: string;
  /** Objects that it would take. */
  restorable: number;
  /** Objects that are left as they are, or never restored, each for a reason of its own. */
  skipped: number;
  /** What it would refuse, and why. */
  refused: Problem[];
  warnings: Problem[];
}

/** What a drill takes. */
export interface DrillOptions {
  /** The target; where none is given, an API server in memory. */
  kube?: Kube;
  trustedKeys?: string[];
  log: Log;
  signal: AbortSignal;
  progress?: (done: number, total: number) => void;
}

/**
 * Rehearses the restore of a backup: against a cluster by its own dry run (`dryRun=All`), which checks every object whose
 * Namespace and kind are there and keeps nothing; else by restoring into an API server in memory. That one tells of definitions,
 * owners, names and order, and has no validation, no admission and no controllers.
 *
 * Nothing is written but to memory. Throws as `openBackup` and `planRestore`.
 */
export async function drillBackup(bucket: Bucket, record: Backup, options: DrillOptions): Promise<Drill> {
  const archive = await openBackup(bucket, record, options);
  try {
    return await (options.kube
      ? rehearsed(options.kube, archive, record, options)
      : inMemory(archive, record, options));
  } finally {
    await archive.close();
  }
}

/** Longer than an API server in memory takes for anything. */
const MEMORY_WAIT_MS = 5_000;

function inputOf(kube: Kube, archive: Archive, record: Backup, { log, signal, progress }: DrillOptions): PlanInput {
  const backupName = record.metadata.name;
  const spec = { backupName, existingResourcePolicy: "update" } as const;
  return { kube, archive, name: `${backupName}-drill`, backupName, backup: record, spec, log, signal, progress };
}

async function rehearsed(kube: Kube, archive: Archive, record: Backup, options: DrillOptions): Promise<Drill> {
  const input = { ...inputOf(kube, archive, record, options), waitMs: 0 };
  const planned = await planRestore(input);
  const drill: Drill = {
    target: kube.server,
    restorable: 0,
    skipped: 0,
    refused: [],
    warnings: toProblems(planned.warnings),
  };
  const problemOf = ({ item }: (typeof planned.steps)[number], message: string): Problem => ({
    resource: item.entry.resource,
    namespace: item.namespace || undefined,
    name: item.name,
    message,
  });
  for (const step of planned.steps) {
    if (step.action === "blocked") drill.refused.push(problemOf(step, step.reason ?? ""));
    if (step.action === "skip") drill.skipped++;
  }
  await rehearse(input, planned, (step, { action, reason = "" }) => {
    if (action === "blocked") drill.refused.push(problemOf(step, reason));
    else if (action === "skip") drill.skipped++;
    else drill.restorable++;
    options.progress?.(drill.restorable + drill.skipped + drill.refused.length, planned.steps.length);
  });
  drill.refused.push(...toProblems(planned.errors));
  return drill;
}

async function inMemory(archive: Archive, record: Backup, options: DrillOptions): Promise<Drill> {
  const server = await startApiServer();
  const kube = connect(readKubeconfig(server.kubeconfig));
  try {
    const drill: Drill = { restorable: 0, skipped: 0, refused: [], warnings: [] };
    const { problems } = await restore({
      ...inputOf(kube, archive, record, options),
      waitMs: MEMORY_WAIT_MS,
      outcome: ({ resource, namespace, name, action, reason = "" }) => {
        if (action === "failed" || action === "blocked")
          drill.refused.push({ resource, namespace, name, message: reason });
        else if (action === "skipped") drill.skipped++;
        else drill.restorable++;
      },
    });
    drill.refused.push(...problems.errors.filter(({ name }) => name === undefined));
    drill.warnings.push(...problems.warnings);
    return drill;
  } finally {
    await kube.close();
    await server.stop();
  }
}

function toProblems(messages: string[]): Problem[] {
  return messages.map((message) => ({ message }));
}
