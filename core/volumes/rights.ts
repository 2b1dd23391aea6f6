import { isLifeboatError, messageOf } from "../errors.ts";
import { diskOf } from "./disk.ts";
import { LeftoverError } from "./leftover.ts";
import type { ClaimedVolume, Method } from "./volume.ts";

/** What Kubernetes says of a right that RBAC doesn't give. */
const REFUSED = /cannot (\w+) resource "([^"]+)"/;

/** The file of infra/kubernetes that gives the rights which a way to copy needs. */
const GIVEN_BY: Record<Method, string> = { CSISnapshot: "csi", NativeSnapshot: "csi", PodVolumeBackup: "restic" };

/**
 * Why data are not copied, in one line that is the same for all claims of which it holds: of a right that is lacking, which one it
 * is, and what gives it, without the name of what was to be made. What is left of a copy is no part of it.
 */
export function causeOf(error: unknown, { method, one }: { method?: Method; one?: ClaimedVolume } = {}): string {
  if (error instanceof LeftoverError) return causeOf(error.cause, { method, one });
  const message = messageOf(error);
  if (!isLifeboatError(error, "denied")) return message;
  const [, verb, resource] = REFUSED.exec(message) ?? [];
  if (!verb) {
    const disk = one && diskOf(one.volume)?.id;
    return disk ? message.replaceAll(disk, "…") : message;
  }
  // What is moved takes both.
  const file = resource?.startsWith("volume") ? "csi" : GIVEN_BY[method ?? "CSISnapshot"];
  return `no right to ${verb} ${resource}: kubectl apply -f infra/kubernetes/${file}.yaml, and belong to its group lifeboat:${file}`;
}
