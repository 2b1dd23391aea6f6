import { listRestores } from "../catalog.ts";
import { deleteRestore } from "../delete.ts";
import { NOTES, RESTORES } from "../layout.ts";
import { restoreAfter } from "../names.ts";
import type { Judged, RetentionRow, RetentionScope } from "./document.ts";
import { dateOf, endAfter } from "./facts.ts";
import { foldersIn, newestIn, sizeOf } from "./folders.ts";
import { judge } from "./judge.ts";

/**
 * The restores, by what `restoreTTL` says of them: their record and report, and what their undo needs, also where they
 * were interrupted. One stays as long as a backup that it made before its first write; none is judged where no
 * `restoreTTL` is configured. Velero's are not among them: it keeps no record in the bucket.
 */
export async function judgeRestores(scope: RetentionScope, backups: RetentionRow[]): Promise<Judged[]> {
  const { bucket, config, now, signal } = scope;
  const { restoreTTL } = config;
  if (restoreTTL === undefined) return [];
  const reports = await foldersIn(bucket, RESTORES, signal);
  const notes = await foldersIn(bucket, NOTES, signal);
  const records = new Map((await listRestores(bucket, signal)).map((row) => [row.name, row]));
  const kept = new Map(
    backups.filter(({ action }) => action === "keep").map((backup) => [restoreAfter(backup.name), backup]),
  );

  return [...new Set([...records.keys(), ...notes.keys()])].map((name) => {
    const { record, problem } = records.get(name) ?? {};
    const { phase = "Failed", startTimestamp } = record?.status ?? {};
    const start = record ? dateOf(startTimestamp) : newestIn(notes.get(name)!);
    const end = endAfter(start, restoreTTL, "restoreTTL");
    const [verdict] = judge(now, [{ name, problem, phase, start, end, own: true }], new Map());
    const before = kept.get(name);
    const stays = verdict!.action === "delete" && before;
    const { action, reason } = stays ? keptWith(before) : verdict!;
    const size = sizeOf(records.has(name) ? reports.get(name) : undefined, notes.get(name));
    const row = { kind: "restore", name, action, reason, phase, startTimestamp, ...size } as const;
    return { row, remove: (signal) => deleteRestore(bucket, name, signal) };
  });
}

function keptWith({ name, reason }: RetentionRow) {
  return { action: "keep", reason: `backup ${name} is kept: ${reason}` } as const;
}
