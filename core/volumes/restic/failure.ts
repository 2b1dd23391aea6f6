import { type ErrorKind, LifeboatError } from "../../errors.ts";
import type { Output } from "./output.ts";

/** restic's exit code where it has read all but some files (its manual, "Exit status codes"). */
export const INCOMPLETE = 3;

interface FailureRule {
  /** Of restic's exit codes, or of what it says. */
  code?: number;
  says?: RegExp;
  kind: ErrorKind;
  /** What it is, after "restic: ". */
  what: string;
  hint?: string;
}

const PASSWORD_HINT = "a repository keeps its first password: give back the secret that it was made with";

/** What restic's failures mean, first match wins. Codes are its own since 0.17. */
const FAILURES: FailureRule[] = [
  { code: 12, kind: "denied", what: "the repository does not open with this password", hint: PASSWORD_HINT },
  {
    says: /wrong password|no key found/i,
    kind: "denied",
    what: "the repository does not open with this password",
    hint: PASSWORD_HINT,
  },
  {
    code: 11,
    kind: "busy",
    what: "the repository is locked by another",
    hint: "wait for the run that uses it; what was killed is let go 30 minutes after it was last seen",
  },
  {
    says: /AccessDenied|access denied|InvalidAccessKeyId|SignatureDoesNotMatch|AuthenticationFailed|AuthorizationFailure|ExpiredToken|no credentials found|could not find default credentials|DefaultAzureCredential|(Error|RESPONSE|status(?: code)?:?) 40[13]/i,
    kind: "denied",
    what: "the bucket refused its credentials",
    hint: "volumes.restic.credentials must be allowed to read, write, list and delete below restic/ of the location",
  },
  {
    says: /NoSuchBucket|bucket does not exist|ContainerNotFound|container does not exist/i,
    kind: "missing",
    what: "there is no such bucket",
  },
  { code: 10, kind: "missing", what: "there is no repository", hint: "has somebody deleted restic/ of the location?" },
  {
    says: /no matching ID found|failed to load snapshot.*(not exist|NoSuchKey|NotFound|\b404\b)/i,
    kind: "missing",
    what: "the repository doesn't hold this copy",
  },
  {
    says: /no space left on device|disk quota exceeded/i,
    kind: "invalid",
    what: "the volume is full",
    hint: "give the claim more storage: copies keep no holes of files unless they are restored as sparse",
  },
  {
    says: /ciphertext verification failed|is damaged|invalid data returned|hash mismatch|does not match id/i,
    kind: "corrupt",
    what: "the repository is damaged",
  },
  {
    says: /dial tcp|no such host|i\/o timeout|connection refused|TLS handshake|x509|context deadline exceeded/i,
    kind: "unreachable",
    what: "the bucket can't be reached from the Pod",
    hint: "do NetworkPolicies or the proxy of the cluster keep Pods of this namespace from it?",
  },
];

/** The error of a restic that has ended with a code other than 0. `what` was to be done: "copy its files". */
export function failureOf(
  { exitCode, reason }: { exitCode: number; reason: string },
  output: Output,
  what: string,
): LifeboatError {
  if (reason === "OOMKilled") {
    return new LifeboatError("invalid", `can't ${what}: restic ran out of memory`, {
      hint: "a LimitRange of the namespace gives its Pods too little: repositories of many files take a gigabyte",
    });
  }
  const said = [...output.problems, ...output.words].join("\n");
  const last = output.words.at(-1) ?? output.problems.at(-1) ?? "";
  const rule = FAILURES.find(({ code, says }) => code === exitCode || says?.test(said));
  const detail = last ? `: ${last.slice(0, 500)}` : "";
  const first = output.problems[0] && output.problems[0] !== last ? ` (first ${output.problems[0].slice(0, 200)})` : "";
  const meaning = rule ? `${rule.what}${detail}` : `restic failed with exit code ${exitCode}${detail}`;
  return new LifeboatError(rule?.kind ?? "unreachable", `can't ${what}: ${meaning}${first}`, { hint: rule?.hint });
}

/** What restic could not do to a file that it has written: the beginnings of Go's errors of those calls. */
const ATTRIBUTES = /^(l?chown|l?chmod|f?chtimes|utimes\w*|UtimesNano\w*|l?setxattr|xattr\.\w+) /i;

/**
 * Whether a restore that failed has written all files and lacks only what belongs to them, which some volumes don't take: shares of
 * SMB know no owners, shares of NFS let root change none. restic's summary does not tell: it counts what it could not write.
 */
export function lacksOnlyAttributes({ problems, words }: Output): boolean {
  const errors = Number(/There were (\d+) errors/.exec(words.at(-1) ?? "")?.[1] ?? 0);
  return errors > 0 && problems.length === errors && problems.every((problem) => ATTRIBUTES.test(problem));
}

interface WaitRule {
  reasons: string[];
  kind: ErrorKind;
  what: string;
  hint?: string;
}

/** Why a Pod has not begun, by Kubernetes' word; its own message follows. */
const WAITS: WaitRule[] = [
  {
    reasons: ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"],
    kind: "missing",
    what: "its image can't be pulled",
    hint: "name one that the nodes can pull: volumes.restic.image",
  },
  {
    reasons: ["FailedCreate"],
    kind: "denied",
    what: "the cluster refuses its Pod",
    hint: "Pods that copy volumes run as root with the capabilities that Kubernetes' baseline allows: the namespace must admit them",
  },
  { reasons: ["Unschedulable"], kind: "timeout", what: "no node takes its Pod" },
  {
    reasons: ["CreateContainerConfigError", "CreateContainerError", "RunContainerError"],
    kind: "invalid",
    what: "its container can't be made",
  },
];

/** What is refused, and may pass sooner than what only has to be waited for. */
export const REFUSALS: ReadonlySet<string> = new Set(
  WAITS.filter(({ kind }) => kind !== "timeout").flatMap(({ reasons }) => reasons),
);

/** Why a Pod has not begun: `after` stands behind what it is, before Kubernetes' own words. */
export function waitText({ reason, message }: { reason: string; message: string }, after = ""): string {
  const what = ruleOf(reason)?.what ?? `its Pod is still ${reason}`;
  return `${what}${after}${message ? `: ${message.slice(0, 500)}` : ""}`;
}

function ruleOf(reason: string): WaitRule | undefined {
  return WAITS.find(({ reasons }) => reasons.includes(reason));
}

/** The error of a Job whose Pod has not begun within `seconds`. */
export function neverBegan(state: { reason: string; message: string }, seconds: number, what: string): LifeboatError {
  const { kind = "timeout", hint } = ruleOf(state.reason) ?? {};
  return new LifeboatError(kind, `can't ${what}: ${waitText(state, ` after ${Math.ceil(seconds)} s`)}`, { hint });
}

/** The error of a Job that is not done within `seconds`: of one whose Pod has not begun, by what it waits for. */
export function overdue(seconds: number, what: string, waits?: { reason: string; message: string }): LifeboatError {
  const hint = waits && ruleOf(waits.reason)?.hint;
  const why = waits ? `: ${waitText(waits)}` : "";
  return new LifeboatError("timeout", `can't ${what}: the time for it, ${Math.ceil(seconds)} s, is over${why}`, {
    hint,
  });
}

/** The error of a Job whose Pod the cluster has ended. */
export function lost({ reason, message }: { reason: string; message: string }, what: string): LifeboatError {
  const detail = message ? `: ${message.slice(0, 500)}` : "";
  return new LifeboatError("unreachable", `can't ${what}: its Pod was ended by the cluster (${reason})${detail}`);
}
