import type { Kube } from "../../kube/client.ts";

/** How many requests may be under way at once, learned from how the server answers. */
export interface Pace {
  /** Waits for a place and runs the task in it. */
  run<T>(task: () => Promise<T>): Promise<T>;
  /** Resolves when there is a place; `run` then starts at once. */
  room(): Promise<void>;
  /** Leaves the place of a running task to others for the pause, and waits for one after it. */
  rest(pause: () => Promise<void>): Promise<void>;
  /** Resolves when nothing is running or resting. */
  idle(): Promise<void>;
  /** Tells of an answer that took so long. */
  heard(latencyMs: number): void;
  /** Tells of a 429. */
  refused(): void;
  /** The present limit. */
  limit(): number;
}

/** `kube`, with the pace listening to each answer, and requests resting until they are sent again. */
export function pacedKube(kube: Kube, pace: Pace): Kube {
  return {
    ...kube,
    async request(request) {
      const response = await kube.request({
        ...request,
        pausing(trouble, pause) {
          if (trouble === "throttled") pace.refused();
          return pace.rest(pause);
        },
      });
      if (response.status === 429) pace.refused();
      else pace.heard(response.latencyMs);
      return response;
    },
  };
}

const LEAST = 1;
const START = 16;
const MOST = 64;
/** Latency counts as sharply risen beyond this many times the usual one, and this much above it. */
const RISE = { times: 5, ms: 100 };

/** How many good answers a refusal outweighs: where more than one in five is refused, what rests makes no room. */
const REFUSAL_WEIGHS = 4;

/**
 * Additive increase, multiplicative decrease, as in TCP: one place more for every round of answers; half of them after
 * a 429 or a sharp rise of latency, at most once a round, since the answers of one round tell of the same moment.
 *
 * Tasks that rest make room for others while few are refused: a server that refuses all is asked by no more tasks than
 * the limit. There are never more than `most`.
 */
export function adaptivePace(options: { start?: number; most?: number } = {}): Pace {
  const { start = START, most = MOST } = options;
  let limit = Math.min(start, most);
  let running = 0;
  let resting = 0;
  /** How many tasks there may be beyond the limit, since others rest. */
  let trust = 0;
  let untilNextCut = 0;
  let usual: number | undefined;
  let recent = 0;
  const waiting: (() => void)[] = [];

  const changed = () => {
    for (const wake of waiting.splice(0)) wake();
  };
  const change = () => new Promise<void>((wake) => waiting.push(wake));
  const full = () => running - resting >= Math.floor(limit);
  const taken = () => full() || running >= Math.min(most, Math.floor(limit) + trust);

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

  function learn(good: boolean): void {
    trust = Math.min(most, Math.max(0, good ? trust + 1 : trust - REFUSAL_WEIGHS));
    untilNextCut--;
    if (good) limit = Math.min(most, limit + 1 / limit);
    else if (untilNextCut <= 0) {
      limit = Math.max(LEAST, limit / 2);
      untilNextCut = Math.ceil(limit * 2);
    }
  }

  return {
    async room() {
      while (taken()) await change();
    },
    async run(task) {
      while (taken()) await change();
      running++;
      try {
        return await task();
      } finally {
        running--;
        changed();
      }
    },
    async rest(pause) {
      resting++;
      changed();
      try {
        await pause();
        while (full()) await change();
      } finally {
        resting--;
      }
    },
    async idle() {
      while (running > 0) await change();
    },
    heard: (latencyMs) => learn(!risen(latencyMs)),
    refused: () => learn(false),
    limit: () => Math.floor(limit),
  };
}
