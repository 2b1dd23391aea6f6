import { joinArchives } from "../../archive/join.ts";
import { type Restore, readRestore, UNDOES } from "../../catalog.ts";
import { isLifeboatError, LifeboatError } from "../../errors.ts";
import { openBackup } from "../../integrity/open.ts";
import { checkName, undoName } from "../../names.ts";
import type { Bucket } from "../../ports.ts";
import { rehearseRestore } from "../plan/dryrun.ts";
import type { PlanDocument } from "../plan/plandocument.ts";
import { type RestoreEnd, type RestoreRun, type RestoreSource, recordRestore } from "../run.ts";
import type { RestoreSpec } from "../spec.ts";
import { backupsBefore, joinNames, type Note, readNotes, withoutNames } from "./notes.ts";
import type { Undoing } from "./remains.ts";
import { readBefore } from "./safety.ts";

/** Everything that undoing a restore starts from. */
export interface Undo {
  /** Its own name as a restore. */
  name: string;
  spec: RestoreSpec;
  undoing: Undoing;
  /** The backups of what was there, those of the restore's first attempt first. */
  backups: string[];
}

/**
 * Reads what there is for undoing a restore, one that ended or one that was interrupted. Nothing is written. Throws `missing` for
 * an unknown restore and where its backups were deleted, `invalid` for one that can't be undone, `conflict` where it has
 * been undone already.
 */
export async function findUndo(bucket: Bucket, restore: string, signal: AbortSignal): Promise<Undo> {
  checkName("restore", restore);
  const notes = await readNotes(bucket, restore, signal);
  const record = await readRestore(bucket, restore, signal).catch((error) => {
    if (notes.length === 0 || !isLifeboatError(error, "missing")) throw error;
  });
  if (record) checkUndoable(record, notes);
  const name = await freeName(bucket, restore, signal);
  const backups = [...new Set(notes.flatMap((note) => note.backups))];
  for (const { name: found, committed } of await backupsBefore(bucket, restore, signal))
    if (committed && !backups.includes(found)) backups.push(found);
  for (const before of backups) await readBefore(bucket, before, restore, signal);
  const all = (pick: (note: Note) => Note["kin"]) => joinNames(notes.map(pick));
  const creates = all((note) => note.creates);
  return {
    name,
    backups,
    // None where the restore only created.
    spec: { backupName: backups[0] ?? "", existingResourcePolicy: "recreate", preserveNodePorts: true },
    undoing: {
      restore,
      clusterUid: notes[0]!.clusterUid,
      since: new Date(record?.status.completionTimestamp ?? notes.at(-1)!.startTimestamp),
      creates,
      statuses: all((note) => note.statuses),
      kin: withoutNames(
        all((note) => note.kin),
        [creates, all((note) => note.touches)],
      ),
    },
  };
}

/**
 * Brings the cluster back to what it was before a restore: what that changed, recreated or pruned is made what it was,
 * what it created is deleted. This is a restore itself, with a record and, since it keeps what it touches as every
 * restore does, with no loss: of what others have changed meanwhile a backup is made first. Run again after an
 * interruption it goes on.
 */
export function runUndo(run: UndoRun, undo: Undo): Promise<RestoreEnd> {
  return recordRestore({ ...run, name: undo.name, spec: undo.spec }, sourceOf(run, undo));
}

/** What an undo would do, rehearsed; nothing is written, and no plan stored. */
export async function rehearseUndo(run: UndoRun, undo: Undo): Promise<PlanDocument> {
  return (await rehearseRestore({ ...run, name: undo.name, spec: undo.spec }, sourceOf(run, undo))).document;
}

type UndoRun = Omit<RestoreRun, "name" | "spec" | "plan">;

function sourceOf({ bucket, signal, trustedKeys }: UndoRun, { backups, undoing }: Undo): RestoreSource {
  const open = async (before: string) =>
    openBackup(bucket, await readBefore(bucket, before, undoing.restore, signal), { trustedKeys, signal });
  // What a later attempt kept once more, others had changed before any attempt touched it.
  return { undoing, open: async () => joinArchives(await Promise.all(backups.toReversed().map(open))) };
}

function checkUndoable({ metadata: { name, annotations = {} } }: Restore, notes: Note[]): void {
  const undone = annotations[UNDOES];
  if (undone !== undefined) {
    throw new LifeboatError("invalid", `restore "${name}" undid "${undone}": an undo isn't undone`, {
      hint: `restore the backup of "${undone}" again; what the undo took away is in the backup "${name}-before"`,
    });
  }
  if (notes.length > 0) return;
  throw new LifeboatError("invalid", `there is nothing to undo of restore "${name}"`, {
    hint: "it wrote nothing to the cluster, or a Lifeboat made it that did not keep what an undo needs",
  });
}

/** The name of the undo: the first that no record has. After one that was PartiallyFailed, or warned of what it left, there may be another. */
async function freeName(bucket: Bucket, restore: string, signal: AbortSignal): Promise<string> {
  for (let number = 1; ; number++) {
    const name = undoName(restore, number);
    const record = await readRestore(bucket, name, signal).catch((error) => {
      if (!isLifeboatError(error, "missing")) throw error;
    });
    if (!record) return name;
    const { phase, warnings } = record.status;
    if (record.metadata.annotations?.[UNDOES] === restore && phase === "Completed" && warnings === 0)
      throw new LifeboatError("conflict", `restore "${restore}" has been undone already, by "${name}"`);
  }
}
