import type { Judgement } from "./document.ts";

/** What another clock said, and between which times of ours (all in milliseconds) it did. */
export interface Reading {
  sent: number;
  received: number;
  said: number;
}

/** Other clocks are read to the second: what they said lasted so long. */
const RESOLUTION_MS = 1000;

/** How far off a clock may be, the worst first. */
const LIMITS = [
  {
    over: 15 * 60_000,
    state: "failed",
    why: "S3 refuses requests that are 15 minutes off, and EKS its tokens",
  },
  {
    over: 60_000,
    state: "warning",
    why: "a slot that lies more than a minute ahead is taken for the one before it",
  },
] as const;

/** How far our clock is off at least, in milliseconds; positive where it is ahead. */
export function offBy({ sent, received, said }: Reading): number {
  const ahead = sent - (said + RESOLUTION_MS);
  const behind = said - received;
  if (ahead > 0) return ahead;
  return behind > 0 ? -behind : 0;
}

/** Whether our clock is right, by that of `whose`. */
export function judgeClock(reading: Reading, whose: string): Judgement {
  const off = offBy(reading);
  const seconds = Math.round(Math.abs(off) / 1000);
  if (seconds === 0) return { state: "ok", message: `as ${whose}'s, to the second` };
  const message = `${seconds} s ${off > 0 ? "ahead of" : "behind"} ${whose}'s`;
  const limit = LIMITS.find(({ over }) => Math.abs(off) > over);
  if (!limit) return { state: "ok", message };
  return { state: limit.state, message: `${message}: ${limit.why}`, todo: "set this machine's clock, by NTP" };
}
