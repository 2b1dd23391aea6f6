import { isLifeboatError, LifeboatError, messageOf } from "../errors.ts";

/** What is left is removed though its run has ended, but not for ever. */
const REMOVAL_MS = 120_000;

/** The end of work that has failed, or was ended, and that has left something behind. */
export class LeftoverError extends LifeboatError {
  /** What is left, and why: of the work that `error` ended, too. */
  readonly left: string;

  /** Of the kind of `error`, the work's; `told` says what is left behind that error's message. */
  constructor(error: unknown, told: string, { left = told, hint }: { left?: string; hint?: string } = {}) {
    const kind = isLifeboatError(error) ? error.kind : "unreachable";
    const hints = [isLifeboatError(error) ? error.hint : undefined, hint].filter((one) => one !== undefined);
    super(kind, `${messageOf(error)}; ${told}`, { hint: hints.join("\n") || undefined, cause: error });
    this.left = error instanceof LeftoverError ? `${error.left}; ${left}` : left;
  }
}

/**
 * Gives what `work` gives. Where that throws, `remove` takes away what was begun, and the error is thrown; where that fails
 * too, a LeftoverError, which says that `what` may be left.
 */
export async function orRemoved<T>(
  work: () => Promise<T>,
  what: string,
  remove: (signal: AbortSignal, error: unknown) => Promise<void>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await remove(AbortSignal.timeout(REMOVAL_MS), error).catch((reason: unknown) => {
      const hint = isLifeboatError(reason) ? reason.hint : undefined;
      throw new LeftoverError(error, `${what} may be left: ${messageOf(reason)}`, { hint });
    });
    throw error;
  }
}

/** Whether an error says that a request was not carried out, as against one whose answer was lost. */
export function isRefusal(error: unknown): boolean {
  return isLifeboatError(error) && error.kind !== "unreachable" && error.kind !== "timeout";
}
