import type { Kube } from "../../kube/client.ts";
import { labelValue, RESTORE_NAME } from "../../labels.ts";
import { restoreCommand } from "./commands.ts";
import { lacksOnlyAttributes } from "./failure.ts";
import type { Placement } from "./job.ts";
import { count } from "./output.ts";
import { leftWarning, MOST_NAMED } from "./run.ts";
import type { ResticSettings } from "./settings.ts";
import { runUnlocking, type Work } from "./work.ts";

/** A claim that is to get its files back. */
export interface ClaimToFill {
  /** It exists, is new, and no Pod uses it. */
  claim: { namespace: string; name: string };
  /** The copy: its id, and the source namespace, whose repository it is in. */
  from: { namespace: string; snapshotId: string };
  restoreName: string;
  /** Where the Pods that will use the claim may run: a volume that is made for its first Pod is made there. */
  placement?: Placement;
  /** Zeros become holes. */
  sparse: boolean;
  signal: AbortSignal;
}

/**
 * Brings a copy's files back into a claim, with their owners, modes, times and links. Resolves with how much it was; `warnings` tell of
 * what files have that the volume doesn't take, such as extended attributes. Throws where a file's content is missing.
 */
export async function fillClaim(
  kube: Kube,
  settings: ResticSettings,
  { claim, from, restoreName, placement, sparse, signal }: ClaimToFill,
): Promise<{ size: number; files: number; warnings: string[] }> {
  const work: Work = {
    kube,
    settings,
    namespace: claim.namespace,
    repository: from.namespace,
    labels: { [RESTORE_NAME]: labelValue(restoreName) },
    signal,
    tolerates: lacksOnlyAttributes,
  };
  const end = await runUnlocking(work, `restore the files of ${claim.namespace}/${claim.name}`, {
    command: restoreCommand(from.snapshotId, settings.timing, { sparse }),
    claim: { name: claim.name, use: "write" },
    placement,
  });
  const { summary } = end.output;
  return {
    size: count(summary, "total_bytes"),
    files: count(summary, "total_files"),
    warnings: [...end.output.problems.slice(0, MOST_NAMED), ...end.left.map(leftWarning)],
  };
}
