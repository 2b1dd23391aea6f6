import { checkNotHeld, findUndo, type Kube, rehearseUndo, runUndo } from "../../../core/index.ts";
import type { Invocation } from "../options.ts";
import { carry } from "./carry.ts";
import { askBeforeUndoing } from "./consent.ts";

interface UndoOptions {
  yes?: boolean;
  dryRun?: boolean;
  details?: boolean;
}

/** `lifeboat restore undo NAME`: exit code 3 where it is PartiallyFailed, or where a dry run finds that it would be. */
export function undoRestore(invocation: Invocation<UndoOptions>): Promise<number> {
  const { args, options, signal } = invocation;
  const restore = args[0] as string;
  const first = ({ server }: Kube) => `reading what was there, and what ${server} has`;
  return carry(invocation, ["undoing", first], async (bucket) => {
    await checkNotHeld({ bucket, kind: "restores", name: restore }, { signal });
    const undo = await findUndo(bucket, restore, signal);
    const check = askBeforeUndoing(restore, options);
    return {
      names: [undo.name, restore],
      rehearse: (run) => rehearseUndo(run, undo),
      carryOut: (run) => runUndo({ ...run, check }, undo),
    };
  });
}
