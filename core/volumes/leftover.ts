import { isLifeboatError, LifeboatError, messageOf } from "../errors.ts";

/** What is left is removed though its run has ended, but not for ever. */
const REMOVAL_MS = 60_000;

/**
 * Gives what `work` gives. Where that throws, `remove` takes away what was begun, and the error is thrown; where that fails
 * too, the message of a LifeboatError says that `what` may be left.
 */
export async function orRemoved<T>(
  work: () => Promise<T>,
  what: string,
  remove: (signal: AbortSignal, error: unknown) => Promise<void>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const failure = await remove(AbortSignal.timeout(REMOVAL_MS), error).then(
      () => undefined,
      (reason: unknown) => messageOf(reason),
    );
    if (failure === undefined || !isLifeboatError(error)) throw error;
    const { kind, hint } = error;
    throw new LifeboatError(kind, `${error.message}; ${what} may be left: ${failure}`, { hint, cause: error.cause });
  }
}

/** Whether an error says that a request was not carried out, as against one whose answer was lost. */
export function isRefusal(error: unknown): boolean {
  return isLifeboatError(error) && error.kind !== "unreachable" && error.kind !== "timeout";
}
