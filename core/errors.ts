/** What can go wrong, by what the reader can do about it. */
export type ErrorKind = keyof typeof ERROR_KINDS;

/** One table from the kind of an error to its HTTP status and the exit code of the command line (design: contract 6.1). */
export const ERROR_KINDS = {
  invalid: { http: 400, exit: 2, retryable: false },
  denied: { http: 403, exit: 4, retryable: false },
  missing: { http: 404, exit: 5, retryable: false },
  conflict: { http: 409, exit: 1, retryable: false },
  busy: { http: 423, exit: 7, retryable: true },
  corrupt: { http: 422, exit: 6, retryable: false },
  unreachable: { http: 502, exit: 1, retryable: true },
  timeout: { http: 504, exit: 1, retryable: true },
} as const;

/**
 * The one error of the product. `message` says in one line what was wanted and what came instead, `hint` what to do.
 * Neither ever holds a secret.
 */
export class LifeboatError extends Error {
  readonly kind: ErrorKind;
  readonly hint: string | undefined;

  constructor(kind: ErrorKind, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.name = "LifeboatError";
    this.kind = kind;
    this.hint = options.hint;
  }
}

/** Whether `error` is a LifeboatError, of `kind` where one is given. */
export function isLifeboatError(error: unknown, kind?: ErrorKind): error is LifeboatError {
  return error instanceof LifeboatError && (kind === undefined || error.kind === kind);
}

/** The first line of any thrown value, for reports. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text.split("\n", 1)[0] ?? "";
}
