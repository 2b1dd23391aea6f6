import { hash, randomBytes } from "node:crypto";
import type { z } from "zod";
import { isLifeboatError, LifeboatError } from "./errors.ts";
import { progressFolder } from "./layout.ts";
import type { Bucket } from "./ports.ts";
import { leaveSlice, readSlice, removeSlices, secretVoucher } from "./slices.ts";

/**
 * What the jobs name that do the rest of a new run. No one can guess it and it never lies in the bucket: who knows it vouches for
 * what slices leave.
 */
export function newRun(): string {
  return randomBytes(16).toString("hex");
}

/** What a run that is cut into slices knows so far, until it has ended. */
export interface RunProgress<State> {
  /** What the slices before this one have left, or one that was killed at the rest. */
  readonly before: State | undefined;
  /** Leaves what is known now. Throws `conflict` where another run goes on with the same. */
  leave(state: State): Promise<void>;
  /**
   * Hears of each step that is done, and tells whether there is time for another; where there is none, what is known has been
   * left for the next slice. At the rest that is done anyway from time to time: a run may be killed, and its job delivered again.
   */
  goOn(state: () => State): Promise<boolean>;
  /** Whether what was known after the last step has been left for the next slice: where the time was up in the midst of a later one. */
  isLeft(): Promise<boolean>;
  /** Takes away what was left, as far as that is allowed; the rest goes with retention. */
  end(): Promise<void>;
}

/** No more is lost of a rest that is killed; a first slice is made again. */
const LEAVE_MS = 60_000;

/** As long as it may take to say what is known where the time is up. */
const LAST_MS = 10_000;

/** Of a run that is not cut nothing is left: it knows all till its end. */
export const UNCUT: RunProgress<never> = {
  before: undefined,
  leave: async () => {},
  goOn: async () => true,
  isLeft: async () => false,
  end: async () => {},
};

/** A run that may be cut into slices. */
interface CutRun<State> {
  bucket: Bucket;
  /** `newRun`, which the jobs that do the rest name. */
  id: string;
  /** Whether it goes on with what an earlier slice has left: never a run that no job calls the rest of one. */
  isRest: boolean;
  schema: z.ZodType<State>;
  /** When it is time to leave the rest to the next one: never, where there is none. */
  slice?: { ends: AbortSignal };
  /** Aborted when the run is over, done or not. */
  signal: AbortSignal;
}

/**
 * The progress of a run, in a row of numbered objects of its own. Throws `conflict` where somebody else has written there: what
 * was found must not be forged.
 */
export async function openProgress<State>(run: CutRun<State>): Promise<RunProgress<State>> {
  const { bucket, id, isRest, schema, slice, signal } = run;
  if (!slice && !isRest) return UNCUT;
  const folder = progressFolder(hash("sha256", id, "hex").slice(0, 12));
  const row = { bucket, folder, of: `what lies in ${folder}`, voucher: secretVoucher(id), signal };
  const left = isRest ? await readSlice<unknown>(row) : undefined;
  if (left && "flaw" in left)
    throw new LifeboatError("conflict", `${left.key} in ${bucket.location} was not left by the run that is to go on`, {
      hint: "find out who writes there, and run the job again",
    });
  const before = left && schema.safeParse(left.state).data;
  let number = left?.number ?? 0;
  let stored = Date.now();
  let latest: (() => State) | undefined;

  async function leave(state: State, within: AbortSignal = signal): Promise<void> {
    number += 1;
    await leaveSlice({ ...row, signal: within }, number, state);
    stored = Date.now();
  }

  return {
    before,
    leave,
    async goOn(state) {
      latest = state;
      const isOver = slice?.ends.aborted ?? false;
      if (isOver || (isRest && Date.now() - stored >= LEAVE_MS)) await leave(state());
      return !isOver;
    },
    async isLeft() {
      if (!latest || !isLifeboatError(signal.reason, "timeout")) return false;
      await leave(latest(), AbortSignal.timeout(LAST_MS));
      return true;
    },
    async end() {
      if (number === 0) return;
      try {
        await removeSlices(row);
      } catch (error) {
        if (!isLifeboatError(error, "denied") && !isLifeboatError(error, "conflict")) throw error;
      }
    },
  };
}
