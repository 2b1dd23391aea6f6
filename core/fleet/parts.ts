import type { LockedJob } from "../job.ts";

/** More jobs are not handed over at once. */
export const MOST_PARTS = 500;
/** What engines take as an answer is limited, Step Functions to 256 KiB; in bytes, without what stands beside the parts. */
const MOST_BYTES = 240 * 1024;

/** The first of the parts, as many as one answer has room for. */
export function inOneAnswer(parts: LockedJob[]): LockedJob[] {
  let bytes = 0;
  const over = parts.findIndex((part, number) => {
    bytes += Buffer.byteLength(JSON.stringify(part)) + 1;
    return number >= MOST_PARTS || bytes > MOST_BYTES;
  });
  return over < 0 ? parts : parts.slice(0, over);
}
