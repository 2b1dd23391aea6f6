/** An ordered hand-over from one producer to one consumer, of chunks that may still be in the making. */
export interface Flow {
  /** Adds a chunk; resolves when there is room for another, rejects once the flow has failed. */
  push(chunk: Buffer | Promise<Buffer>): Promise<void>;
  /** No more chunks will come. */
  end(): void;
  /** The consumer and every later `push` get `error`. The first failure counts. */
  fail(error: unknown): void;
  /** Can be iterated once. */
  readonly out: AsyncIterable<Buffer>;
}

/** What the producer gets when the consumer gave up before the end; the consumer's own error tells why. */
export const stopped = new Error("the archive's consumer stopped before its end");

/**
 * A flow that holds at most `room` chunks the consumer hasn't taken. `onStop` hears of a consumer that gave up before
 * the end, or of a chunk that failed.
 */
export function flow(room: number, onStop: (error: unknown) => void): Flow {
  const queue: (Buffer | Promise<Buffer>)[] = [];
  let ended = false;
  const failures: unknown[] = [];
  let changed = Promise.withResolvers<void>();

  function signal(): void {
    changed.resolve();
    changed = Promise.withResolvers<void>();
  }

  function fail(error: unknown): void {
    failures.push(error);
    queue.length = 0;
    signal();
  }

  function stop(error: unknown): void {
    fail(error);
    onStop(error);
  }

  async function* drain(): AsyncGenerator<Buffer> {
    for (;;) {
      if (failures.length > 0) throw failures[0];
      const next = queue[0];
      if (next === undefined && ended) return;
      if (next === undefined) {
        await changed.promise;
        continue;
      }
      const chunk = await next;
      queue.shift();
      signal();
      yield chunk;
    }
  }

  return {
    async push(chunk) {
      if (failures.length > 0) throw failures[0];
      if (ended) throw new Error("the archive is already finished");
      if (chunk instanceof Promise) chunk.catch(() => {});
      queue.push(chunk);
      signal();
      while (queue.length >= room && failures.length === 0) await changed.promise;
      if (failures.length > 0) throw failures[0];
    },
    end() {
      ended = true;
      signal();
    },
    fail,
    out: {
      [Symbol.asyncIterator]() {
        const chunks = drain();
        return {
          next: () =>
            chunks.next().catch((error) => {
              stop(error);
              throw error;
            }),
          // A consumer may stop before it has asked for anything, which a generator wouldn't notice.
          return() {
            if (!ended || queue.length > 0) stop(stopped);
            return chunks.return(undefined);
          },
        };
      },
    },
  };
}

/** What can be fed: Node's streams and streamx's. */
export interface Sink {
  readonly destroyed: boolean;
  write(chunk: Buffer): boolean;
  end(): unknown;
  destroy(error?: Error): unknown;
  once(event: "drain" | "close", listener: () => void): unknown;
  off(event: "drain" | "close", listener: () => void): unknown;
}

/** Feeds `sink` as it drains, and ends it. A source that fails destroys it with its error; a destroyed sink closes the source. */
export async function feed(source: AsyncIterable<Buffer>, sink: Sink): Promise<void> {
  try {
    for await (const chunk of source) {
      if (sink.destroyed) return;
      if (!sink.write(chunk)) await drained(sink);
    }
    sink.end();
  } catch (error) {
    sink.destroy(error as Error);
  }
}

async function drained(sink: Sink): Promise<void> {
  if (sink.destroyed) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      sink.off("drain", done);
      sink.off("close", done);
      resolve();
    };
    sink.once("drain", done);
    sink.once("close", done);
  });
}

/** Runs `tasks` in their order, up to `width` at the same time, and yields their results in that order. */
export async function* ahead<T>(
  tasks: AsyncIterable<() => Promise<T>> | Iterable<() => Promise<T>>,
  width: number,
): AsyncGenerator<T> {
  const running: Promise<T>[] = [];
  for await (const task of tasks) {
    const result = task();
    result.catch(() => {});
    running.push(result);
    if (running.length >= width) yield await (running.shift() as Promise<T>);
  }
  for (const result of running) yield await result;
}
