import { type Bucket, isLifeboatError, LifeboatError, lockState } from "../../core/index.ts";

type Kind = "backup" | "restore";

/**
 * Throws `busy` while a function or server makes the backup or restore of that name. The command line takes no lock
 * itself: a run of it that was killed can be repeated at once.
 */
export async function refuseUnderWay(bucket: Bucket, kind: Kind, name: string, signal: AbortSignal): Promise<void> {
  const { state, since } = await lockState({ bucket, kind: `${kind}s`, name }, { signal });
  if (state !== "held") return;
  const seen = since ? `, last seen at ${since.toISOString().slice(11, 19)} UTC` : "";
  throw new LifeboatError("busy", `${kind} "${name}" is being made by another run${seen}`, {
    hint: `once that has ended, "lifeboat ${kind} get ${name}" shows it`,
  });
}

/** What `read` gives; where it is `missing` because it is being made, throws `busy`, as `refuseUnderWay`. */
export async function readMade<T>(
  { bucket, kind, name, signal }: { bucket: Bucket; kind: Kind; name: string; signal: AbortSignal },
  read: () => Promise<T>,
): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (isLifeboatError(error, "missing")) await refuseUnderWay(bucket, kind, name, signal);
    throw error;
  }
}
