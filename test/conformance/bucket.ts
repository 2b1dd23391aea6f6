import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type ErrorKind, isLifeboatError } from "../../core/errors.ts";
import type { Bucket, Listed } from "../../core/ports.ts";

const MiB = 1024 * 1024;

/** How adapters may differ, each with the reason why. */
export interface BucketDifferences {
  /** Why "a" and "a/b" can't both be keys: then the second put is refused and changes nothing. */
  keyBelowKeyRefused?: string;
  /** Why more than one of racing writers can win: that may only be so in an emulator. */
  racesLost?: string;
}

/** The contract of a put that is to be held, on a bucket that can hold objects. */
export function holdingConformance(make: () => Bucket): void {
  describe("held objects", () => {
    for (const mode of ["governance", "compliance"] as const) {
      for (const size of [1, 20 * MiB]) {
        test(`${size} bytes are not deleted under ${mode}, and then they are`, async () => {
          const bucket = make();
          const until = new Date(Date.now() + 3000);
          await bucket.put("a", streamOf(randomBytes(size)), { ifAbsent: true, retain: { until, mode } });
          await rejects("conflict", bucket.delete("a"));
          await rejects("conflict", bucket.put("a", Buffer.from("b"), { ifAbsent: true }));
          assert.equal((await read(bucket, "a")).length, size);
          await sleep(until.getTime() - Date.now() + 1000);
          await bucket.delete("a");
          await rejects("missing", bucket.get("a"));
        });
      }
    }
  });
}

/** That a bucket which can't hold objects takes none that is to be held. */
export async function refusesToHold(bucket: Bucket): Promise<void> {
  const retain = { until: new Date(Date.now() + 3_600_000), mode: "governance" } as const;
  await rejects("invalid", bucket.put("a", Buffer.from("a"), { retain }));
}

/**
 * The contract of the port `Bucket` as tests: every adapter passes them against a real server. `make` gives an empty
 * bucket, or an empty prefix of one, for each test.
 */
export function bucketConformance(
  name: string,
  make: () => Bucket | Promise<Bucket>,
  differences: BucketDifferences = {},
) {
  const check = (title: string, run: (bucket: Bucket) => Promise<void>) => test(title, async () => run(await make()));

  describe(`bucket: ${name}`, () => {
    describe("put and get", () => {
      for (const size of [0, 1, 5 * MiB, 8 * MiB, 20 * MiB + 1]) {
        check(`${size} bytes come back, put whole or as a stream of unknown length`, async (bucket) => {
          const bytes = randomBytes(size);
          await bucket.put("a/whole", bytes);
          await bucket.put("a/stream", streamOf(bytes, 300_001));
          assert.equal(digest(await read(bucket, "a/whole")), digest(bytes));
          assert.equal(digest(await read(bucket, "a/stream")), digest(bytes));
          assert.deepEqual(
            (await list(bucket, "")).map((listed) => [listed.key, sizeOf(listed)]),
            [
              ["a/stream", size],
              ["a/whole", size],
            ],
          );
        });
      }

      check("a stream's chunks may be of any size, also empty", async (bucket) => {
        const chunks = [Buffer.alloc(0), Buffer.from("a"), Buffer.alloc(0), randomBytes(9 * MiB), Buffer.from("b")];
        await bucket.put("a", toStream(chunks));
        assert.equal(digest(await read(bucket, "a")), digest(Buffer.concat(chunks)));
      });

      check("a put without ifAbsent replaces the object", async (bucket) => {
        await bucket.put("a", Buffer.from("old, and longer"));
        await bucket.put("a", streamOf(Buffer.from("new")));
        assert.equal(String(await read(bucket, "a")), "new");
      });

      const keys = [
        "a b",
        "a+b",
        "a%b",
        "a%20b",
        "a&b=c",
        "a?b#c",
        "a'\"<b>",
        "ü/日本/🚣",
        "~!*(){}[]@:;,$",
        "..a/.b/c.",
      ];
      for (const key of keys) {
        check(`a key may be ${key}`, async (bucket) => {
          await bucket.put(key, Buffer.from(key));
          assert.equal(String(await read(bucket, key)), key);
          assert.deepEqual(await names(bucket, key), [key]);
          await bucket.delete(key);
          assert.deepEqual(await names(bucket, ""), []);
        });
      }

      for (const key of [
        "",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/../b",
        "a/./b",
        "a\0b",
        "a\nb",
        "a\\b",
        "\ud800",
        "k".repeat(1025),
      ]) {
        check(`a key may not be ${JSON.stringify(key.slice(0, 10))} (${key.length} characters)`, async (bucket) => {
          await rejects("invalid", bucket.put(key, Buffer.from("a")));
          await rejects("invalid", bucket.get(key));
          await rejects("invalid", bucket.delete(key));
        });
      }

      check("a key may lie below another one, or that is refused", async (bucket) => {
        const { keyBelowKeyRefused } = differences;
        for (const [first, second] of [
          ["a", "a/b"],
          ["b/c/d", "b/c"],
        ] as const) {
          await bucket.put(first, Buffer.from("first"));
          for (const ifAbsent of [true, false]) {
            const put = bucket.put(second, Buffer.from("second"), { ifAbsent }).catch((error: unknown) => error);
            if (keyBelowKeyRefused)
              assert(isLifeboatError(await put, "invalid"), `${keyBelowKeyRefused}: ${await put}`);
            else assert.equal(ifAbsent ? await put : undefined, undefined);
          }
          assert.equal(String(await read(bucket, first)), "first");
          if (!keyBelowKeyRefused) assert.equal(String(await read(bucket, second)), "second");
        }
        await rejects("missing", bucket.get("a/b/c/d"));
        await bucket.delete("a/b/c/d");
      });
    });

    describe("complete or invisible", () => {
      for (const size of [100, 20 * MiB]) {
        check(
          `a body that throws after ${size} bytes fails the put with that error and leaves nothing`,
          async (bucket) => {
            const error = new Error("the body broke");
            const body = async function* () {
              yield* streamOf(randomBytes(size));
              throw error;
            };
            await assert.rejects(bucket.put("a/b", body()), (thrown) => thrown === error);
            await rejects("missing", bucket.get("a/b"));
            assert.deepEqual(await list(bucket, ""), []);
            assert.deepEqual(await list(bucket, "", "/"), []);
          },
        );

        check(`a put that fails after ${size} bytes leaves the object that was there`, async (bucket) => {
          await bucket.put("a", Buffer.from("old"));
          const body = async function* () {
            yield* streamOf(randomBytes(size));
            throw new Error("the body broke");
          };
          await assert.rejects(bucket.put("a", body()), /the body broke/);
          assert.equal(String(await read(bucket, "a")), "old");
        });

        check(`an object is invisible while its put is under way, ${size} bytes after its start`, async (bucket) => {
          const { promise: sent, resolve: onSent } = Promise.withResolvers<void>();
          const { promise: looked, resolve: onLooked } = Promise.withResolvers<void>();
          const body = async function* () {
            yield* streamOf(randomBytes(size));
            onSent();
            await looked;
            yield Buffer.from("end");
          };
          const put = bucket.put("a/b", body());
          await sent;
          await rejects("missing", bucket.get("a/b"));
          assert.deepEqual(await list(bucket, ""), []);
          assert.deepEqual(await list(bucket, "", "/"), []);
          onLooked();
          await put;
          assert.equal((await read(bucket, "a/b")).length, size + 3);
        });
      }
    });

    describe("create if absent", () => {
      check("it makes what isn't there and leaves what is", async (bucket) => {
        await bucket.put("a", Buffer.from("first"), { ifAbsent: true });
        await rejects("conflict", bucket.put("a", Buffer.from("second"), { ifAbsent: true }));
        await rejects("conflict", bucket.put("a", streamOf(Buffer.from("third")), { ifAbsent: true }));
        await rejects("conflict", bucket.put("a", streamOf(randomBytes(20 * MiB)), { ifAbsent: true }));
        assert.equal(String(await read(bucket, "a")), "first");
      });

      check("a key that was deleted is absent", async (bucket) => {
        await bucket.put("a", Buffer.from("first"), { ifAbsent: true });
        await bucket.delete("a");
        await bucket.put("a", Buffer.from("second"), { ifAbsent: true });
        assert.equal(String(await read(bucket, "a")), "second");
      });

      const races = [
        { writers: 20, size: 100, body: (bytes: Buffer) => bytes },
        { writers: 20, size: 100, body: (bytes: Buffer) => streamOf(bytes) },
        { writers: 4, size: 20 * MiB, body: (bytes: Buffer) => streamOf(bytes) },
      ];
      for (const { writers, size, body } of races) {
        const kind = Buffer.isBuffer(body(Buffer.alloc(0))) ? "buffers" : "streams";
        const skip = differences.racesLost;
        test(`of ${writers} racing writers of ${size} bytes as ${kind} exactly one wins`, { skip }, async () => {
          const bucket = await make();
          for (const key of size < MiB ? ["a/1", "a/2", "b"] : ["a/1"]) {
            const bodies = Array.from({ length: writers }, () => randomBytes(size));
            const puts = await Promise.allSettled(
              bodies.map((bytes) => bucket.put(key, body(bytes), { ifAbsent: true })),
            );
            const winners = bodies.filter((_, index) => puts[index]?.status === "fulfilled");
            assert.equal(winners.length, 1);
            assert.equal(digest(await read(bucket, key)), digest(winners[0] ?? Buffer.alloc(0)));
            for (const put of puts) assert(put.status === "fulfilled" || isLifeboatError(put.reason, "conflict"));
          }
        });
      }
    });

    describe("ranges", () => {
      const ranges: [start: number, end: number, expected: string][] = [
        [0, 10, "0123456789"],
        [0, 1, "0"],
        [3, 6, "345"],
        [9, 10, "9"],
        [5, 1000, "56789"],
        [10, 20, ""],
        [1000, 2000, ""],
        [4, 4, ""],
        [0, 0, ""],
        [1000, 1000, ""],
      ];
      check("they are cut at the object's end", async (bucket) => {
        await bucket.put("a", Buffer.from("0123456789"));
        await bucket.put("empty", Buffer.alloc(0));
        for (const [start, end, expected] of ranges) {
          assert.equal(String(await read(bucket, "a", { start, end })), expected, `${start} to ${end}`);
          assert.equal(String(await read(bucket, "empty", { start, end })), "", `${start} to ${end} of nothing`);
        }
      });

      check("they reach into the middle of a large object", async (bucket) => {
        const bytes = randomBytes(20 * MiB);
        await bucket.put("a", streamOf(bytes));
        const range = { start: 8 * MiB - 5, end: 8 * MiB + 70_000 };
        assert.equal(digest(await read(bucket, "a", range)), digest(bytes.subarray(range.start, range.end)));
      });

      check("those that aren't ranges are invalid", async (bucket) => {
        await bucket.put("a", Buffer.from("0123456789"));
        for (const [start, end] of [
          [-1, 2],
          [3, 2],
          [0.5, 2],
          [0, Number.NaN],
          [0, Number.POSITIVE_INFINITY],
        ] as const) {
          await rejects("invalid", bucket.get("a", { range: { start, end } }));
        }
      });

      check("of a missing object they are missing", async (bucket) => {
        await rejects("missing", bucket.get("a"));
        await rejects("missing", bucket.get("a", { range: { start: 0, end: 10 } }));
        await rejects("missing", bucket.get("a", { range: { start: 5, end: 5 } }));
      });
    });

    describe("list", () => {
      check("an empty bucket and a missing prefix list nothing", async (bucket) => {
        assert.deepEqual(await list(bucket, ""), []);
        assert.deepEqual(await list(bucket, "", "/"), []);
        await bucket.put("a/b", Buffer.from("1"));
        for (const prefix of ["b", "a/b/", "a/c", "/", "a//", "../", "./", "a/../a"]) {
          assert.deepEqual(await list(bucket, prefix), [], prefix);
          assert.deepEqual(await list(bucket, prefix, "/"), [], prefix);
        }
      });

      check("it gives sizes and modification times", async (bucket) => {
        const before = Date.now();
        await bucket.put("a", Buffer.from("12345"));
        const [listed] = await list(bucket, "");
        assert(listed && listed.key !== undefined);
        assert.equal(listed.size, 5);
        // Some stores keep whole seconds, and the clock of a server may differ a little.
        assert(Math.abs(listed.modified.getTime() - before) < 5000, `modified ${listed.modified.toISOString()}`);
      });

      check("a prefix is one of characters, not of segments", async (bucket) => {
        const keys = ["a", "ab", "ab-c/1", "ab/1", "ab/2/3", "abc/1", "b"].filter(
          (key) => !differences.keyBelowKeyRefused || key !== "ab",
        );
        for (const key of keys) await bucket.put(key, Buffer.from(key));
        for (const prefix of ["", "a", "ab", "ab/", "ab/2", "ab/2/", "b"]) {
          assert.deepEqual(
            await names(bucket, prefix),
            keys.filter((key) => key.startsWith(prefix)),
            prefix,
          );
        }
        const folded: [prefix: string, expected: string[]][] = [
          ["", ["a", "ab", "ab-c/", "ab/", "abc/", "b"]],
          ["a", ["a", "ab", "ab-c/", "ab/", "abc/"]],
          ["ab/", ["ab/1", "ab/2/"]],
          ["ab/2", ["ab/2/"]],
          ["ab/2/", ["ab/2/3"]],
        ];
        for (const [prefix, expected] of folded) {
          const present = expected.filter((name) => name.endsWith("/") || keys.includes(name));
          assert.deepEqual(await names(bucket, prefix, "/"), present, prefix);
        }
      });

      check("the order is that of the keys' UTF-8 bytes", async (bucket) => {
        const keys = ["a!", "a-b/1", "a.b", "a/b", "a/é", "a/\uffee", "a/🚣", "a0", "aB", "ab", "é", "\uffee", "🚣"];
        for (const key of keys.toReversed()) await bucket.put(key, Buffer.from("1"));
        assert.deepEqual(await names(bucket, ""), keys);
        assert.deepEqual(
          await names(bucket, "", "/"),
          keys
            .filter((key) => !key.includes("/"))
            .concat("a-b/", "a/")
            .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
        );
      });

      check(
        "it goes beyond a server's page, with and without a delimiter, and stops with its reader",
        async (bucket) => {
          const keys = Array.from({ length: 1100 }, (_, index) => `runs/${String(index).padStart(4, "0")}/x`);
          const left = keys.toReversed();
          const writer = async () => {
            for (let key = left.pop(); key; key = left.pop()) await bucket.put(key, Buffer.from("1"));
          };
          await Promise.all(Array.from({ length: 16 }, writer));
          assert.deepEqual(await names(bucket, "runs/"), keys);
          assert.deepEqual(
            await names(bucket, "runs/", "/"),
            keys.map((key) => key.slice(0, -1)),
          );
          assert.deepEqual(await names(bucket, "", "/"), ["runs/"]);
          for await (const first of bucket.list("runs/")) {
            assert.equal(first.key, keys[0]);
            break;
          }
        },
      );
    });

    describe("delete", () => {
      check("it removes one object, and what is not there", async (bucket) => {
        await bucket.put("a/b/1", Buffer.from("1"));
        await bucket.put("a/b/2", Buffer.from("2"));
        await bucket.delete("a/b/1");
        await bucket.delete("a/b/1");
        await bucket.delete("a/b");
        await bucket.delete("never/was");
        await rejects("missing", bucket.get("a/b/1"));
        assert.deepEqual(await names(bucket, ""), ["a/b/2"]);
        await bucket.delete("a/b/2");
        assert.deepEqual(await list(bucket, "", "/"), []);
      });
    });

    describe("signal", () => {
      const reason = new Error("out of time");
      const withReason = (promise: Promise<unknown>) => assert.rejects(promise, (thrown) => thrown === reason);

      check("everything rejects with the reason of a signal already aborted", async (bucket) => {
        const signal = AbortSignal.abort(reason);
        await bucket.put("a", Buffer.from("old"));
        await withReason(bucket.put("a", Buffer.from("new"), { signal }));
        await withReason(bucket.put("a", streamOf(Buffer.from("new")), { signal }));
        await withReason(bucket.get("a", { signal }));
        await withReason(bucket.get("a", { signal, range: { start: 0, end: 1 } }));
        await withReason(bucket.delete("a", { signal }));
        await withReason(Array.fromAsync(bucket.list("", { signal })));
        assert.equal(String(await read(bucket, "a")), "old");
      });

      for (const size of [100, 20 * MiB]) {
        check(
          `it ends a put whose body is silent after ${size} bytes, closes the body and leaves nothing`,
          async (bucket) => {
            const controller = new AbortController();
            const { promise: closed, resolve: onClosed } = Promise.withResolvers<void>();
            const { promise: silence, resolve: endSilence } = Promise.withResolvers<void>();
            const body = async function* () {
              try {
                yield* streamOf(randomBytes(size));
                setTimeout(() => controller.abort(reason), 20);
                await silence;
                yield Buffer.from("never taken");
                yield Buffer.from("never taken");
              } finally {
                onClosed();
              }
            };
            await withReason(bucket.put("a", body(), { signal: controller.signal }));
            endSilence();
            await closed;
            await rejects("missing", bucket.get("a"));
            assert.deepEqual(await list(bucket, ""), []);
          },
        );
      }

      check("it ends a get and a list midway", async (bucket) => {
        await bucket.put("a", streamOf(randomBytes(20 * MiB)));
        await bucket.put("b", Buffer.from("1"));
        const reading = new AbortController();
        const body = await bucket.get("a", { signal: reading.signal });
        await withReason(
          (async () => {
            for await (const _ of body) {
              reading.abort(reason);
              await sleep(1);
            }
          })(),
        );
      });

      check("a reader may leave in the middle of a body", async (bucket) => {
        await bucket.put("a", streamOf(randomBytes(20 * MiB)));
        for (let round = 0; round < 60; round++) {
          for await (const chunk of await bucket.get("a")) {
            assert(chunk.length > 0);
            break;
          }
        }
        assert.equal((await read(bucket, "a", { start: 0, end: 3 })).length, 3);
      });
    });
  });
}

/** Asserts that `promise` rejects with a LifeboatError of this kind, and gives it. */
export async function rejects(kind: ErrorKind, promise: Promise<unknown>) {
  const error: unknown = await promise.then(
    () => assert.fail(`should have failed as ${kind}`),
    (error: unknown) => error,
  );
  if (!isLifeboatError(error)) throw error;
  assert.equal(error.kind, kind, error.message);
  return error;
}

/** `bytes` as a stream, in chunks of `size`. */
export async function* streamOf(bytes: Buffer, size = MiB): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}

async function* toStream(chunks: Buffer[]): AsyncGenerator<Buffer> {
  yield* chunks;
}

/** The bytes of an object, or of a range of it. */
export async function read(bucket: Bucket, key: string, range?: { start: number; end: number }): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(await bucket.get(key, { range })));
}

const list = (bucket: Bucket, prefix: string, delimiter?: "/"): Promise<Listed[]> =>
  Array.fromAsync(bucket.list(prefix, { delimiter }));

const names = async (bucket: Bucket, prefix: string, delimiter?: "/") =>
  (await list(bucket, prefix, delimiter)).map((listed) => listed.key ?? listed.prefix);

const sizeOf = (listed: Listed) => (listed.key === undefined ? undefined : listed.size);

const digest = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

/** Each thing that can be asked of a bucket, for what goes wrong with all of them. */
export function attemptsOn(bucket: Bucket): (() => Promise<unknown>)[] {
  return [
    () => bucket.put("a", Buffer.from("1")),
    () => bucket.put("a", streamOf(randomBytes(9 * MiB))),
    () => bucket.get("a"),
    () => Array.fromAsync(bucket.list("")),
    () => bucket.delete("a"),
  ];
}
