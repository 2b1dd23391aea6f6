import { type Bucket, checkNotHeld, isLifeboatError } from "../../core/index.ts";

type Kind = "backup" | "restore";

/** What `read` gives; where it is `missing` because it is being made, throws `busy`, as `checkNotHeld`. */
export async function readMade<T>(
  { bucket, kind, name, signal }: { bucket: Bucket; kind: Kind; name: string; signal: AbortSignal },
  read: () => Promise<T>,
): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (isLifeboatError(error, "missing")) await checkNotHeld({ bucket, kind: `${kind}s`, name }, { signal });
    throw error;
  }
}
