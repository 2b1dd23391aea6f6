import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";
import type { Bucket } from "../../core/ports.ts";
import { startProxy, type TcpProxy } from "../rig/proxy.ts";
import { read, rejects, streamOf } from "./bucket.ts";

const MiB = 1024 * 1024;

/** What of a cloud's uploads the suite must know: their words, and what on the wire ends a put. */
export interface Uploads {
  /** How a put of one request and one of several is called: "of one request", "of parts". */
  small: string;
  large: string;
  /** What the requests hold whose answers complete a put: of 1 byte and of 9 MiB in a stream; others by their names. */
  lastRequests: readonly (readonly [what: string, request: string, body: () => Buffer | AsyncIterable<Buffer>])[];
}

/** The requests whose answers complete the puts of every cloud. */
export const ONE_BYTE = () => Buffer.from("1");
export const NINE_MEBIBYTES = () => streamOf(randomBytes(9 * MiB));

/**
 * What a bucket behind a network does whose connections break. `bucketAt` gives a new, empty place in the server's
 * bucket, reached at `http://127.0.0.1:PORT`; `leftBehind` names what a failed put left, where the port can't tell.
 */
export function networkConformance(
  upstream: () => string,
  bucketAt: (port: number) => Bucket,
  { small, large, lastRequests }: Uploads,
  leftBehind: () => Promise<unknown[]> = async () => [],
): void {
  describe("on a bad network", () => {
    let proxy: TcpProxy;
    before(async () => {
      proxy = await startProxy(upstream());
    });
    after(() => proxy?.stop());

    const bodies: [what: string, body: () => Buffer | AsyncIterable<Buffer>][] = [
      [small, () => randomBytes(4 * MiB)],
      [large, () => streamOf(randomBytes(20 * MiB))],
    ];
    for (const [what, body] of bodies) {
      test(`a connection cut midway fails a put ${what} as unreachable, and leaves nothing`, async () => {
        const bucket = bucketAt(proxy.port);
        proxy.cutAfter(3 * MiB);
        await rejects("unreachable", bucket.put("a", body()));
        assert(proxy.broken() > 0);
        proxy.cutAfter(undefined);
        await rejects("missing", bucket.get("a"));
        assert.deepEqual(await Array.fromAsync(bucket.list("")), []);
        assert.deepEqual(await leftBehind(), []);
      });
    }

    for (const [what, request, body] of lastRequests) {
      test(`a put ${what} whose answer was lost is no conflict with itself`, async () => {
        const bucket = bucketAt(proxy.port);
        const before = proxy.broken();
        proxy.loseAnswerTo(request);
        await bucket.put("a", body(), { ifAbsent: true });
        assert.equal(proxy.broken(), before + 1);
        await rejects("conflict", bucket.put("a", body(), { ifAbsent: true }));
        assert((await read(bucket, "a")).length <= 9 * MiB);
      });
    }

    test("a body cut midway is unreachable, not shorter", async () => {
      const bucket = bucketAt(proxy.port);
      await bucket.put("a", streamOf(randomBytes(20 * MiB)));
      const body = await bucket.get("a");
      await rejects(
        "unreachable",
        (async () => {
          for await (const _ of body) proxy.cut();
        })(),
      );
    });

    test("a server that isn't there is unreachable", async () => {
      await rejects("unreachable", bucketAt(9).get("a"));
    });
  });
}
