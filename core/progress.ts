import { hash, randomUUID } from "node:crypto";
import type { z } from "zod";
import { progressFolder } from "./catalog.ts";
import { isLifeboatError, LifeboatError } from "./errors.ts";
import type { Bucket } from "./ports.ts";
import { leaveSlice, readSlice, removeSlices } from "./slices.ts";

/** What is the same for every delivery of one trigger, short enough for names. */
export function deliveryId(delivery: string = randomUUID()): string {
  return hash("sha256", delivery, "hex").slice(0, 12);
}

/** What a run that is cut into slices knows so far, until it has ended. */
export interface Progress<State> {
  /** What the slices before this one have left, or one that was killed. */
  readonly before: State | undefined;
  /** Leaves what is known now. Throws `conflict` where another run goes on with the same. */
  leave(state: State): Promise<void>;
  /**
   * Hears of each step that is done, and tells whether there is time for another; where there is none, what is known has been
   * left for the next slice. From time to time that is done anyway: a run may be killed.
   */
  goOn(state: () => State): Promise<boolean>;
  /** Whether what was known after the last step has been left for the next slice: where the time was up in the midst of a later one. */
  isLeft(): Promise<boolean>;
  /** Takes away what was left, as far as that is allowed; the rest goes with retention. */
  end(): Promise<void>;
}

/** No more is lost of a run that is killed. */
const LEAVE_MS = 60_000;

/** As long as it may take to say what is known where the time is up. */
const LAST_MS = 10_000;

/** Of a run that is not cut nothing is left: it knows all till its end. */
export const UNCUT: Progress<never> = {
  before: undefined,
  leave: async () => {},
  goOn: async () => true,
  isLeft: async () => false,
  end: async () => {},
};

/** A run that may be cut into slices. */
interface CutRun<State> {
  bucket: Bucket;
  /** `deliveryId` of what began it; the jobs that do the rest name it. */
  id: string;
  /** Whether it goes on with what an earlier slice has left. */
  isRest: boolean;
  schema: z.ZodType<State>;
  /** When it is time to leave the rest to the next one: never, where there is none. */
  slice?: { ends: AbortSignal };
  /** Aborted when the run is over, done or not. */
  signal: AbortSignal;
}

/** The progress of a run, in a row of numbered objects of its own. What is there but can't be read is disregarded. */
export async function openProgress<State>(run: CutRun<State>): Promise<Progress<State>> {
  const { bucket, id, isRest, schema, slice, signal } = run;
  if (!slice && !isRest) return UNCUT;
  const folder = progressFolder(id);
  const row = { bucket, folder, signer: undefined, signal };
  const left = await readSlice<unknown>(row);
  const before = left && "state" in left ? schema.safeParse(left.state).data : undefined;
  let number = left?.number ?? 0;
  let stored = Date.now();
  let latest: (() => State) | undefined;

  async function leave(state: State, within: AbortSignal = signal): Promise<void> {
    number += 1;
    if ((await leaveSlice({ ...row, signal: within }, number, state)) === undefined)
      throw new LifeboatError("conflict", `another run goes on with what lies in ${folder} of ${bucket.location}`, {
        hint: "that run's result counts",
      });
    stored = Date.now();
  }

  return {
    before,
    leave,
    async goOn(state) {
      latest = state;
      const isOver = slice?.ends.aborted ?? false;
      if (isOver || Date.now() - stored >= LEAVE_MS) await leave(state());
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
