import type { Kube } from "../../kube/client.ts";

/** How many requests may be under way at once, learned from how the server answers. */
export interface Pace {
  /** Waits for a place and runs the task in it. */
  run<T>(task: () => Promise<T>): Promise<T>;
  /** Resolves when there is a place; `run` then starts at once. */
  room(): Promise<void>;
  /** Resolves when nothing is running. */
  idle(): Promise<void>;
  /** Tells of an answer: whether a 429 was met, how long the server took. */
  heard(answer: { throttled: boolean; latencyMs: number }): void;
  /** The present limit. */
  limit(): number;
}

/** `kube`, with the pace listening to each answer. */
export function pacedKube(kube: Kube, pace: Pace): Kube {
  return {
    ...kube,
    async request(request) {
      const response = await kube.request(request);
      pace.heard(response);
      return response;
    },
  };
}

const LEAST = 1;
const START = 16;
const MOST = 64;
/** Latency counts as sharply risen beyond this many times the usual one, and this much above it. */
const RISE = { times: 5, ms: 100 };

/**
 * Additive increase, multiplicative decrease, as in TCP: one place more for every round of answers; half of them after
 * a 429 or a sharp rise of latency, at most once a round, since the answers of one round tell of the same moment.
 */
export function adaptivePace(options: { start?: number; most?: number } = {}): Pace {
  const { start = START, most = MOST } = options;
  let limit = Math.min(start, most);
  let running = 0;
  let untilNextCut = 0;
  let usual: number | undefined;
  let recent = 0;
  const waiting: (() => void)[] = [];
  const idlers: (() => void)[] = [];

  function admit(): void {
    for (let free = Math.floor(limit) - running; free > 0 && waiting.length; free--) waiting.shift()!();
  }

  async function room(): Promise<void> {
    while (running >= Math.floor(limit)) await new Promise<void>((resolve) => waiting.push(resolve));
  }

  function risen(latencyMs: number): boolean {
    if (usual === undefined) {
      usual = latencyMs;
      recent = latencyMs;
    }
    recent += (latencyMs - recent) / 8;
    // Falls at once to what the server can do, rises slowly when it does get slower for good.
    usual = latencyMs < usual ? latencyMs : usual + (latencyMs - usual) / 256;
    return recent > usual * RISE.times && recent > usual + RISE.ms;
  }

  return {
    room,
    async run(task) {
      await room();
      running++;
      try {
        return await task();
      } finally {
        running--;
        admit();
        if (running === 0) for (const resolve of idlers.splice(0)) resolve();
      }
    },
    async idle() {
      while (running > 0) await new Promise<void>((resolve) => idlers.push(resolve));
    },
    heard({ throttled, latencyMs }) {
      const slow = risen(latencyMs);
      untilNextCut--;
      if (!throttled && !slow) limit = Math.min(most, limit + 1 / limit);
      else if (untilNextCut <= 0) {
        limit = Math.max(LEAST, limit / 2);
        untilNextCut = Math.ceil(limit * 2);
      }
    },
    limit: () => Math.floor(limit),
  };
}
