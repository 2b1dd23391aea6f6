import { bytesText } from "../report.ts";
import type { Doing } from "../volumes/doing.ts";
import type { Method } from "../volumes/volume.ts";

/** A copy of a claim's data that is not whole yet. */
export interface AwaitedCopy {
  /** The claim's, "namespace/name". */
  name: string;
  /** Once it has begun. */
  method?: Method;
  doing: () => Doing;
}

/** Milliseconds from one look to the next; what is done that long is told. */
const LOOK_MS = 15_000;
/** From one time that something is told of a claim to the next. */
const AGAIN_MS = 2 * LOOK_MS;

/**
 * Looks again and again at the copies that are under way, until it is disposed of, and says which claims do what for long: one line
 * for all that do the same. A claim is in one line in half a minute.
 */
export function watchCopies(awaited: ReadonlySet<AwaitedCopy>, total: number, say: (line: string) => void): Disposable {
  const look = looking(total);
  const timer = setInterval(() => {
    for (const line of look(awaited, performance.now())) say(line);
  }, LOOK_MS);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** What is said at a look, by what the looks before have seen; times in milliseconds. */
export function looking(total: number): (awaited: Iterable<AwaitedCopy>, now: number) => string[] {
  const seen = new Map<AwaitedCopy, Seen>();
  return (awaited, now) => {
    const due: Seen[] = [];
    for (const one of awaited) {
      const doing = one.doing();
      const before = seen.get(one);
      const since = before?.doing.what === doing.what ? before.since : now;
      const told = since === before?.since ? before.told : Number.NEGATIVE_INFINITY;
      const state = { name: one.name, doing, since, told };
      seen.set(one, state);
      if (now - since >= LOOK_MS && now - told >= AGAIN_MS) due.push(state);
    }
    for (const one of due) one.told = now;
    return [...Map.groupBy(due, ({ doing }) => doing.what).values()].map((alike) => lineOf(alike, total, now));
  };
}

interface Seen {
  name: string;
  doing: Doing;
  /** Since when it does that, and when that was told last. */
  since: number;
  told: number;
}

/** "claim shop/db waits for its snapshot to be cut, since 45 s: why", or the same of several. */
function lineOf(alike: Seen[], total: number, now: number): string {
  const longest = alike.reduce((one, other) => (other.since < one.since ? other : one));
  const { what, why } = longest.doing;
  const progress = alike.flatMap(({ doing }) => doing.progress ?? []);
  const sum = (field: "bytes" | "totalBytes") => bytesText(progress.reduce((bytes, one) => bytes + one[field], 0));
  const far = progress.length > 0 ? `, ${sum("bytes")} of ${sum("totalBytes")}` : "";
  const since = `since ${spanText(now - longest.since)}`;
  const who =
    alike.length === 1
      ? `claim ${longest.name} ${what}${far}, ${since}`
      : `${alike.length} of ${total} claims: each ${what}${far}, ${longest.name} ${since}`;
  return why ? `${who}: ${why}` : who;
}

function spanText(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  if (h > 0) return `${h}h${m}m`;
  return m > 0 ? `${m}m${s}s` : `${s} s`;
}
