/** What can go wrong, by what the reader can do about it. */
export type ErrorKind = keyof typeof ERROR_KINDS;

/** The exit codes of the command line, by their meaning. */
export const EXIT_CODES = {
  ok: 0,
  failed: 1,
  invalid: 2,
  partial: 3,
  denied: 4,
  missing: 5,
  corrupt: 6,
  busy: 7,
  cancelled: 130,
} as const;

/**
 * One table from the kind of an error to its HTTP status and the exit code of the command line (design: contract 6.1).
 * `retry`: whether the same thing done again may well succeed, with nobody's help.
 */
export const ERROR_KINDS = {
  invalid: { http: 400, exit: EXIT_CODES.invalid, retry: false },
  denied: { http: 403, exit: EXIT_CODES.denied, retry: false },
  missing: { http: 404, exit: EXIT_CODES.missing, retry: false },
  conflict: { http: 409, exit: EXIT_CODES.failed, retry: false },
  busy: { http: 423, exit: EXIT_CODES.busy, retry: true },
  corrupt: { http: 422, exit: EXIT_CODES.corrupt, retry: false },
  unreachable: { http: 502, exit: EXIT_CODES.failed, retry: true },
  timeout: { http: 504, exit: EXIT_CODES.failed, retry: true },
} as const;

/**
 * The one error of the product. `message` says in one line what was wanted and what came instead, `hint` what to do, a line for each thing.
 * Neither ever holds a secret.
 */
export class LifeboatError extends Error {
  readonly kind: ErrorKind;
  readonly hint: string | undefined;
  /** Whether the same thing done again may well succeed, with nobody's help. */
  readonly retry: boolean;
  /** Of `corrupt`: the key of what is damaged, where that is one object or file. */
  readonly key: string | undefined;

  /** `retry`: as of the kind, where not given. */
  constructor(
    kind: ErrorKind,
    message: string,
    options: { hint?: string; key?: string; retry?: boolean; cause?: unknown } = {},
  ) {
    super(withoutIdentities(message), { cause: options.cause });
    this.name = "LifeboatError";
    this.kind = kind;
    this.hint = options.hint && withoutIdentities(options.hint);
    this.retry = options.retry ?? ERROR_KINDS[kind].retry;
    this.key = options.key;
  }
}

/** Whether `error` is a LifeboatError, of `kind` where one is given. */
export function isLifeboatError(error: unknown, kind?: ErrorKind): error is LifeboatError {
  return error instanceof LifeboatError && (kind === undefined || error.kind === kind);
}

/** Whether the same thing done again may well succeed; of what nobody expected that isn't known, so it may. */
export function mayPass(error: unknown): boolean {
  return !isLifeboatError(error) || error.retry;
}

/** What comes, or undefined where it rejects as `missing`. */
export async function unlessMissing<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (isLifeboatError(error, "missing")) return undefined;
    throw error;
  }
}

/** The first line of any thrown value, for reports. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return withoutIdentities(text.split("\n", 1)[0] ?? "");
}

/** The text with no private key of age in it, wherever one came from: the last net of errors, reports and logs. */
export function withoutIdentities(text: string): string {
  return text.replace(/AGE-SECRET-KEY-[-0-9A-Z]+/gi, "AGE-SECRET-KEY-…");
}
