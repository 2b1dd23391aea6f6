import { pause } from "../../abort.ts";
import type { KubernetesObject } from "../../archive/item.ts";
import { isLifeboatError, LifeboatError } from "../../errors.ts";
import type { Kube } from "../../kube/client.ts";
import { getObject, type Kind } from "../../kube/object.ts";
import { at, entriesOf } from "../../objects/fields.ts";
import type { Tell } from "../doing.ts";
import { newestWarning } from "../events.ts";
import { withhold } from "./credentials.ts";
import { failureOf, INCOMPLETE, lost, neverBegan, overdue, REFUSALS, waitText } from "./failure.ts";
import { CONTAINER, type ResticJob } from "./job.ts";
import { type LogOf, readLog } from "./log.ts";
import { type Output, readOutput } from "./output.ts";
import { type PodState, podState } from "./pod.ts";
import { JOBS, podsOf } from "./removal.ts";
import type { ResticTiming } from "./settings.ts";

/** A Job to be run from outside. */
export interface ResticRun {
  kube: Kube;
  job: Omit<ResticJob, "deadline">;
  /** For messages: "copy its files". */
  what: string;
  timing: ResticTiming;
  signal: AbortSignal;
  tell?: Tell;
  /** Whether what restic calls a failure is one that can be lived with; its `problems` then tell what it is. */
  tolerates?: (output: Output) => boolean;
}

const NODES: Kind = { group: "", version: "v1", name: "nodes", kind: "Node" };

/** Looks at a Pod for one at its node, at its log, or at what events tell of why it has not begun. */
const SELDOM = 5;

/** What is known of a Job under way. */
export interface Began {
  /** Of `performance.now`. */
  at: number;
  uid?: string;
  pod?: KubernetesObject;
  /** Its node is: nobody there will end the Pod. */
  gone: boolean;
  /** What events tell of why it has not begun. */
  told?: { reason?: string; message?: string };
}

/** Looks at the Pod until restic has ended, and gives its exit code, 0 or that for files that could not be read. */
export async function follow(run: ResticRun, began: Began): Promise<number> {
  const { what, timing, signal } = run;
  const clocks: Clocks = { refused: undefined, node: undefined, moved: undefined, shown: "" };
  for (let look = 0; ; look++) {
    const state = await stateOf(run, began, look);
    const now = performance.now();
    if (state.state === "ended") {
      if (state.exitCode === 0 || (state.exitCode === INCOMPLETE && state.container === CONTAINER))
        return state.exitCode;
      const said = await lastWords(run, began, state);
      if (state.container === CONTAINER && run.tolerates?.(said)) return state.exitCode;
      throw failureOf(state, said, what);
    }
    const seconds = timing.total / 1000;
    if (state.state === "lost") throw state.reason === "DeadlineExceeded" ? overdue(seconds, what) : lost(state, what);
    if (now - began.at > timing.total) throw overdue(seconds, what, state.state === "waiting" ? state : undefined);
    if (state.state === "waiting") {
      run.tell?.({ what: "waits for the Pod of its Job to begin", why: waitText(state) });
      checkWait(run, began, clocks, state);
    }
    if (state.state === "running" && clocks.moved === undefined) run.tell?.({ what: "waits for restic" });
    if (look % SELDOM === 0) {
      await checkNode(run, began, clocks);
      if (state.state === "running") await checkProgress(run, began, clocks);
    }
    await pause(timing.poll, signal);
  }
}

/** Since when things are as they should not be, by `performance.now`. */
interface Clocks {
  refused: number | undefined;
  node: number | undefined;
  /** When restic was last seen to come further, and how far. */
  moved: number | undefined;
  shown: string;
}

async function stateOf(run: ResticRun, began: Began, look: number): Promise<PodState> {
  const { kube, job, signal } = run;
  const [pod] = await Array.fromAsync(podsOf(kube, job, signal));
  const state: PodState = pod
    ? podState(pod)
    : began.pod
      ? { state: "lost", reason: "Deleted", message: "it is gone" }
      : { state: "waiting", reason: "Pending", message: "" };
  if (pod) began.pod = pod;
  if (state.state === "lost") return (await jobsEnd(run)) ?? state;
  if (state.state !== "waiting" || state.message) return state;
  if (look % SELDOM === 0) began.told = await told(run, began.pod?.metadata.uid ?? began.uid, pod === undefined);
  return { ...state, ...began.told };
}

/** Why the Job controller has ended the Job, where it has: it deletes the Pod then. */
async function jobsEnd({ kube, job, signal }: ResticRun): Promise<PodState | undefined> {
  const ended = await getObject(kube, JOBS, job, signal);
  if (!ended) return { state: "lost", reason: "Deleted", message: "somebody has deleted its Job" };
  const conditions = entriesOf(ended, "status", "conditions");
  const reason = conditions.find(({ type }) => type === "Failed" || type === "FailureTarget")?.reason;
  return reason === "DeadlineExceeded" ? { state: "lost", reason, message: "" } : undefined;
}

/** What events tell of why a Job has no Pod, or its Pod does not begin. */
async function told({ kube, job: { namespace }, signal }: ResticRun, uid: string | undefined, noPod: boolean) {
  if (!uid) return {};
  const reason = noPod ? "FailedCreate" : undefined;
  const message = await newestWarning(kube, { namespace, uid, reason }, signal);
  return message === undefined ? {} : { message, ...(reason && { reason }) };
}

function checkWait(
  { what, timing }: ResticRun,
  began: Began,
  clocks: Clocks,
  state: Extract<PodState, { state: "waiting" }>,
): void {
  const now = performance.now();
  clocks.refused = REFUSALS.has(state.reason) ? (clocks.refused ?? now) : undefined;
  const since = now - began.at > timing.start ? began.at : clocks.refused;
  if (since === undefined) return;
  const limit = since === began.at ? timing.start : timing.refused;
  if (now - since > limit) throw neverBegan(state, (now - began.at) / 1000, what);
}

/** Tells how far restic has come. Throws where it has come no further for too long. */
async function checkProgress(run: ResticRun, began: Began, clocks: Clocks): Promise<void> {
  const { what, timing, tell } = run;
  const log = await readLog(logOf(run, began), { glance: true });
  const now = performance.now();
  clocks.moved ??= now;
  if (log === undefined) {
    tell?.({ what: "waits for restic" });
    clocks.moved = now;
    return;
  }
  const output = readOutput(log);
  const shown = output.progress ? JSON.stringify(output.progress) : (output.words.at(-1) ?? "");
  tell?.({
    what: "waits for restic",
    ...(output.progress ? { progress: output.progress } : { why: output.words.at(-1) }),
  });
  if (shown !== clocks.shown) Object.assign(clocks, { shown, moved: now });
  if (now - clocks.moved <= timing.stall) return;
  const said = output.words.at(-1)?.slice(0, 500);
  const seconds = Math.ceil(timing.stall / 1000);
  throw new LifeboatError(
    "timeout",
    `can't ${what}: restic comes no further since ${seconds} s${said ? `: ${said}` : ""}`,
    {
      hint: "can Pods of this namespace reach the bucket? A NetworkPolicy that keeps them from it lets restic wait",
    },
  );
}

/** Throws where the Pod's node is gone, or has not been ready for too long. Whoever may not read nodes learns of it later. */
async function checkNode({ kube, what, timing, signal }: ResticRun, began: Began, clocks: Clocks): Promise<void> {
  const name = at(began.pod, "spec", "nodeName");
  if (typeof name !== "string" || !name) return;
  let node: KubernetesObject | undefined;
  try {
    node = await getObject(kube, NODES, { name }, signal);
  } catch (error) {
    if (isLifeboatError(error, "denied")) return;
    throw error;
  }
  const gone = node === undefined;
  const ready = entriesOf(node, "status", "conditions").some(
    ({ type, status }) => type === "Ready" && status === "True",
  );
  clocks.node = ready ? undefined : (clocks.node ?? performance.now());
  if (clocks.node === undefined || (!gone && performance.now() - clocks.node <= timing.node)) return;
  began.gone = true;
  const state = gone ? "is gone" : `has not been ready for ${Math.ceil(timing.node / 1000)} s`;
  throw new LifeboatError("unreachable", `can't ${what}: its Pod's node ${name} ${state}`);
}

/** What a failed restic said: its log, or the end of it that Kubernetes keeps in the Pod's status. */
async function lastWords(run: ResticRun, began: Began, ended: Extract<PodState, { state: "ended" }>): Promise<Output> {
  const log = await readLog(logOf(run, began, ended.container)).catch(() => undefined);
  return readOutput(log || withhold(ended.message, run.job.secrets));
}

/** The log of the Job's Pod. */
export function logOf({ kube, job, signal }: ResticRun, { pod }: Began, container = CONTAINER): LogOf {
  const { namespace, secrets } = job;
  return { kube, namespace, pod: pod?.metadata.name ?? "", container, secrets, signal };
}
