import { isDeepStrictEqual } from "node:util";
import pLimit from "p-limit";
import { sha256 } from "../archive/gzip.ts";
import { type Backup, encryptedPart } from "../catalog.ts";
import { isLifeboatError } from "../errors.ts";
import type { Kube } from "../kube/client.ts";
import { readClusterUid } from "../kube/clusteruid.ts";
import { sliceFolder } from "../layout.ts";
import type { RunLog } from "../log.ts";
import type { Bucket, Signer } from "../ports.ts";
import { type LeftState, leaveSlice, readSlice, type Slice, type SliceRow, signerVoucher } from "../slices.ts";
import { READS_AT_ONCE } from "../state.ts";
import type { PlanCut, PlanProgress } from "./restore.ts";
import type { RestoreSpec } from "./spec.ts";
import type { WriteEvent } from "./write/cut.ts";

/** What a restore is cut by: what slices before this one have left, and what this one adds for the next. */
export interface RestoreCut extends PlanCut {
  /** Whether the first write may have been made: the plan stands. */
  begun(): boolean;
  /** What slices before this one have written, and when they said so (as `Date.now`). */
  written: { at: number; events: WriteEvent[] }[];
  /** What this one has written. */
  note(event: WriteEvent): void;
  /** Leaves what was noted, from time to time. */
  keep(): Promise<void>;
  /** Leaves how far planning has got. */
  leavePlan(): Promise<void>;
  /** Leaves the plan, before the first write. */
  begin(): Promise<void>;
  /** Leaves what was noted. */
  leaveWritten(): Promise<void>;
  /** From here on the restore isn't cut: the next run plans anew. */
  forget(): Promise<undefined>;
  startedAt: Date;
  /** Of the slices before this one, gzipped. */
  logBefore: Buffer;
  /** How many steps have been written. */
  items(): number;
}

/** What is restored; slices of anything else are not gone on with. */
interface Subject {
  name: string;
  spec: RestoreSpec;
  plan: string | undefined;
  cluster: string | undefined;
  clusterUid: string | undefined;
  /** The SHA-256 of the backup's record. */
  backup: string;
}

/** A plan, as far as it has got, which takes the place of all states before it. */
interface PlanState {
  kind: "plan";
  at: number;
  startedAt: number;
  subject: Subject;
  /** Of `tagged` JSON. */
  progress: string;
  begun: boolean;
  /** Of all slices so far: gzipped, in base64. */
  log: string;
}

/** What was written since the state before it. */
interface WrittenState {
  kind: "written";
  at: number;
  /** The number of its plan, and the digest of the state before it. */
  plan: number;
  previous: string;
  events: WriteEvent[];
  /** Since the state before it. */
  log: string;
}

type State = PlanState | WrittenState | { kind: "none"; at: number };

/** For how long what a slice has left is gone on with: what the target was planned on may be anything later. */
const FRESH_MS = 24 * 3_600_000;

/** No more is lost of what a run that is killed knew; the target has what it wrote. */
const KEEP_MS = 60_000;

interface CutRun {
  kube: Kube;
  bucket: Bucket;
  name: string;
  spec: RestoreSpec;
  plan?: { document: { id: string } };
  cluster?: string;
  trustedKeys?: string[];
  signer?: () => Promise<Signer>;
  recipients?: string[];
  log: RunLog;
  signal: AbortSignal;
}

/**
 * Whether a restore may be cut. What its slices leave for each other decides on what is written, and has digests of Secrets: so
 * one that trusts only keys must sign it, and what is encrypted is not told to who can read the bucket.
 */
export function mayBeCut({ trustedKeys = [], signer, recipients = [] }: CutRun, backup: Backup): boolean {
  return (trustedKeys.length === 0 || signer !== undefined) && recipients.length === 0 && !encryptedPart(backup);
}

/** Takes up what slices before this one have left of the restore, where it is of the same and new enough. */
export async function openCut(run: CutRun, backup: Backup, slice: Slice): Promise<RestoreCut> {
  const { bucket, name, log, signal } = run;
  const voucher = signerVoucher(await run.signer?.());
  const row: SliceRow = { bucket, folder: sliceFolder(name), of: `restore "${name}"`, voucher, signal };
  const subject = await subjectOf(run, backup);
  const { states, flaw, ...newest } = await readStates(row, subject);
  if (flaw) log.log("warning", `What an earlier slice left of this restore is not gone on with: ${flaw}`);
  if (states) log.log("info", "Goes on with what slices before this one have left", { slice: newest.number + 1 });
  const plan = states?.plan.state;
  const before = states?.written ?? [];
  const written = before.map(({ state: { at, events } }) => ({ at, events }));
  const logs = [plan?.log ?? "", ...before.map(({ state }) => state.log)];
  const logBefore = Buffer.concat(logs.map((text) => Buffer.from(text, "base64")));
  const progress = plan ? (untagged(plan.progress) as PlanProgress) : {};
  const startedAt = new Date(plan?.startedAt ?? Date.now());

  let { number } = newest;
  let planNumber = states?.plan.number ?? 0;
  let previous = (before.at(-1) ?? states?.plan)?.digest ?? "";
  let begun = plan?.begun ?? false;
  let events: WriteEvent[] = [];
  let ended = written.reduce((sum, one) => sum + one.events.length, 0);
  let logged = 0;
  let kept = Date.now();

  const leave = async (state: State) => {
    previous = await leaveSlice(row, number + 1, state);
    number += 1;
    kept = Date.now();
  };
  const leavePlan = async () => {
    const all = Buffer.concat([logBefore, run.log.gzipped()]);
    const at = Date.now();
    const told = { progress: tagged(progress), begun, log: all.toString("base64") };
    await leave({ kind: "plan", at, startedAt: startedAt.getTime(), subject, ...told });
    planNumber = number;
    logged = all.length - logBefore.length;
  };
  const leaveWritten = async () => {
    const all = run.log.gzipped();
    const some = events;
    events = [];
    const more = { events: some, log: all.subarray(logged).toString("base64") };
    await leave({ kind: "written", at: Date.now(), plan: planNumber, previous, ...more });
    logged = all.length;
  };
  return {
    progress,
    over: () => slice.ends.aborted,
    begun: () => begun,
    written,
    note(event) {
      events.push(event);
      ended++;
    },
    async keep() {
      if (events.length > 0 && Date.now() - kept >= (slice.pieceMs ?? KEEP_MS)) await leaveWritten();
    },
    leavePlan,
    async begin() {
      if (begun) return;
      begun = true;
      await leavePlan();
    },
    leaveWritten,
    async forget() {
      if (number > 0) await leave({ kind: "none", at: Date.now() });
      return undefined;
    },
    startedAt,
    logBefore,
    items: () => ended,
  };
}

interface Left {
  plan: LeftState<PlanState>;
  written: LeftState<WrittenState>[];
}

/** The newest plan in a row and what follows it, or why that can't be gone on with; and the newest number. */
async function readStates(row: SliceRow, subject: Subject): Promise<{ number: number; states?: Left; flaw?: string }> {
  const newest = await readSlice<State>(row);
  if (!newest) return { number: 0 };
  const { number } = newest;
  if ("flaw" in newest) return { number, flaw: FLAWS[newest.flaw] };
  const { state } = newest;
  if (state.kind === "none") return { number };
  const first = state.kind === "plan" ? number : state.plan;
  const numbers = Array.from({ length: number - first }, (_, at) => first + at);
  const limit = pLimit(READS_AT_ONCE);
  const before = numbers.map((one) => limit(() => readSlice<State>(row, one).catch(absent)));
  const all = [...(await Promise.all(before)), newest];
  const [plan, ...written] = all.filter((one): one is LeftState<State> => one !== undefined && !("flaw" in one));
  const isRow = written.every(
    ({ state }, at) => state.kind === "written" && state.previous === (written[at - 1] ?? plan)!.digest,
  );
  if (plan?.state.kind !== "plan" || written.length !== number - first || !isRow)
    return { number, flaw: FLAWS.unreadable };
  const states = { plan, written } as Left;
  const flaw = unusable(states, subject);
  return flaw ? { number, flaw } : { number, states };
}

function absent(error: unknown): undefined {
  if (!isLifeboatError(error, "missing")) throw error;
}

const FLAWS = {
  unreadable: "it can't be read",
  foreign: "it is not signed by who signs now",
};

/** Why what lies there is not gone on with; undefined where it is. */
function unusable({ plan, written }: Left, subject: Subject): string | undefined {
  const { at } = (written.at(-1) ?? plan).state;
  if (Date.now() - at > FRESH_MS) return "it is more than a day old";
  const asStored = JSON.parse(JSON.stringify(subject));
  return isDeepStrictEqual(plan.state.subject, asStored) ? undefined : "it is of another restore of that name";
}

async function subjectOf({ kube, name, spec, plan, cluster, signal }: CutRun, backup: Backup): Promise<Subject> {
  const clusterUid = await readClusterUid(kube, signal);
  const digest = sha256(Buffer.from(JSON.stringify(backup)));
  return { name, spec, plan: plan?.document.id, cluster, clusterUid, backup: digest };
}

const MAP = "lifeboat:map";
const SET = "lifeboat:set";

/** JSON in which Maps and Sets are told by what they hold. Functions are left out. */
function tagged(value: unknown): string {
  return JSON.stringify(value, (_key, one) => {
    if (one instanceof Map) return { [MAP]: [...one] };
    return one instanceof Set ? { [SET]: [...one] } : one;
  });
}

function untagged(text: string): unknown {
  return JSON.parse(text, (_key, one: { [MAP]?: unknown; [SET]?: unknown } | null) => {
    const [entries, members] = [one?.[MAP], one?.[SET]];
    if (Array.isArray(entries)) return new Map(entries);
    return Array.isArray(members) ? new Set(members) : one;
  });
}
