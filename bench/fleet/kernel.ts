/**
 * A simulation of discrete events. What happens one after the other is a generator, which yields what it waits for; times are seconds
 * since the simulation's begin. The same processes give the same events in the same order.
 */
export interface Simulation {
  readonly now: number;
  /** Begins a process beside those there are. */
  start(process: Process): Running;
  /** Until nothing is left to happen. */
  run(): void;
}

/** What a process waits for: that time passes, that there is room in a gate, or that others have ended. */
export type Wait = { seconds: number } | { room: Gate } | { ended: Running[] };
export type Process<T = void> = Generator<Wait, T, void>;

/** A process that was begun. */
export interface Running {
  ended: boolean;
  heirs: (() => void)[];
}

/** Lets so many in at a time, the others in the order in which they came. */
export interface Gate {
  readonly room: number;
  inside: number;
  /** How many were inside at once, at most. */
  most: number;
  waiting: (() => void)[];
}

export function gate(room: number): Gate {
  return { room, inside: 0, most: 0, waiting: [] };
}

/** Enters a gate that has room: for who would not wait. False where it has none. */
export function enter(gate: Gate): boolean {
  if (gate.inside >= gate.room) return false;
  gate.inside += 1;
  gate.most = Math.max(gate.most, gate.inside);
  return true;
}

/** Whoever is in a gate, by waiting or by `enter`, leaves it once. */
export function leave(gate: Gate): void {
  gate.inside -= 1;
  gate.waiting.shift()?.();
}

/** A bucket of tokens, as clouds limit rates: it is full at first, and gets so many a second. */
export interface Rate {
  readonly size: number;
  readonly perSecond: number;
  tokens: number;
  at: number;
  refused: number;
}

export function rate(size: number, perSecond: number): Rate {
  return { size, perSecond, tokens: size, at: 0, refused: 0 };
}

/** Takes tokens at a time that does not lie before the last one: false, and none, where there are too few. */
export function take(rate: Rate, now: number, count = 1): boolean {
  rate.tokens = Math.min(rate.size, rate.tokens + (now - rate.at) * rate.perSecond);
  rate.at = now;
  if (rate.tokens < count) {
    rate.refused += 1;
    return false;
  }
  rate.tokens -= count;
  return true;
}

export function startSimulation(): Simulation {
  const events = eventQueue();
  let now = 0;

  function step(process: Process, self: Running): void {
    const { done, value } = process.next();
    if (done) {
      self.ended = true;
      for (const heir of self.heirs.splice(0)) heir();
      return;
    }
    const goOn = () => step(process, self);
    if ("seconds" in value) events.add(now + Math.max(0, value.seconds), goOn);
    else if ("room" in value) {
      const { room } = value;
      if (enter(room)) events.add(now, goOn);
      else
        room.waiting.push(() => {
          enter(room);
          events.add(now, goOn);
        });
    } else {
      const running = value.ended.filter(({ ended }) => !ended);
      let left = running.length;
      const one = () => {
        left -= 1;
        if (left === 0) events.add(now, goOn);
      };
      for (const each of running) each.heirs.push(one);
      if (left === 0) events.add(now, goOn);
    }
  }

  return {
    get now() {
      return now;
    },
    start(process) {
      const self: Running = { ended: false, heirs: [] };
      events.add(now, () => step(process, self));
      return self;
    },
    run() {
      for (let next = events.take(); next; next = events.take()) {
        now = next.time;
        next.happen();
      }
    },
  };
}

interface Event {
  time: number;
  number: number;
  happen: () => void;
}

/** The earliest first, of one time the one that was added first: a binary heap. */
function eventQueue() {
  const heap: Event[] = [];
  let number = 0;
  const isBefore = (a: Event, b: Event) => a.time < b.time || (a.time === b.time && a.number < b.number);
  const swap = (a: number, b: number) => {
    [heap[a], heap[b]] = [heap[b]!, heap[a]!];
  };
  return {
    add(time: number, happen: () => void): void {
      let at = heap.push({ time, number: number++, happen }) - 1;
      for (let above = (at - 1) >> 1; at > 0 && isBefore(heap[at]!, heap[above]!); above = (at - 1) >> 1) {
        swap(at, above);
        at = above;
      }
    },
    take(): Event | undefined {
      const first = heap[0];
      const last = heap.pop();
      if (!first || first === last) return first;
      heap[0] = last!;
      for (let at = 0; ; ) {
        const [left, right] = [2 * at + 1, 2 * at + 2];
        let least = at;
        if (left < heap.length && isBefore(heap[left]!, heap[least]!)) least = left;
        if (right < heap.length && isBefore(heap[right]!, heap[least]!)) least = right;
        if (least === at) return first;
        swap(at, least);
        at = least;
      }
    },
  };
}

/** Numbers from 0 to 1, the same for the same seed. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
