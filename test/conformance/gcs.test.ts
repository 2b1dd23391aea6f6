import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, beforeEach, describe, test } from "node:test";
import type { ErrorKind } from "../../core/errors.ts";
import type { Bucket } from "../../core/ports.ts";
import { gcsBucket } from "../../functions/gcp/bucket.ts";
import { startGcp } from "../rig/gcp.ts";
import { type Gcs, startGcs } from "../rig/gcs.ts";
import { startProxy, type TcpProxy } from "../rig/proxy.ts";
import { requireOrSkip } from "../rig/require.ts";
import { bucketConformance, rejects, streamOf } from "./bucket.ts";
import { assertNotQuoted } from "./troubles.ts";

const MiB = 1024 * 1024;

for (const name of ["GCE_METADATA_HOST", "GOOGLE_APPLICATION_CREDENTIALS"]) delete process.env[name];

describe("Cloud Storage", { skip: requireOrSkip("rig", ["fake-gcs-server"]) }, () => {
  let gcs: Gcs;
  let proxy: TcpProxy;
  before(async () => {
    gcs = await startGcs();
    proxy = await startProxy(gcs.endpoint);
  });
  after(async () => {
    await proxy?.stop();
    await gcs?.stop();
  });
  const bucketAt = (change: (location: URL) => void = () => {}) => {
    const location = new URL(gcs.location(randomUUID()));
    change(location);
    return gcsBucket(location);
  };
  const behindProxy = () =>
    bucketAt((location) => location.searchParams.set("endpoint", `http://127.0.0.1:${proxy.port}`));

  bucketConformance("Cloud Storage on fake-gcs-server", () => bucketAt());

  describe("on a bad network", () => {
    const bodies: [what: string, body: () => Buffer | AsyncIterable<Buffer>][] = [
      ["of one chunk", () => randomBytes(4 * MiB)],
      ["of several chunks", () => streamOf(randomBytes(20 * MiB))],
    ];
    for (const [what, body] of bodies) {
      test(`a connection cut midway fails a put ${what} as unreachable, and leaves nothing`, async () => {
        const bucket = behindProxy();
        proxy.cutAfter(3 * MiB);
        await rejects("unreachable", bucket.put("a", body()));
        assert(proxy.broken() > 0);
        proxy.cutAfter(undefined);
        await rejects("missing", bucket.get("a"));
        assert.deepEqual(await Array.fromAsync(bucket.list("")), []);
      });

      test(`a put ${what} goes on where a connection was cut`, async () => {
        const bucket = behindProxy();
        const bytes = Buffer.isBuffer(body()) ? randomBytes(4 * MiB) : randomBytes(20 * MiB);
        proxy.cutAfter(3 * MiB);
        const put = bucket.put("a", streamOf(bytes), { ifAbsent: true });
        const before = proxy.broken();
        while (proxy.broken() === before) await new Promise((resolve) => setTimeout(resolve, 5));
        proxy.cutAfter(undefined);
        await put;
        assert(bytes.equals(Buffer.concat(await Array.fromAsync(await bucket.get("a")))));
      });
    }

    const lost: [what: string, request: string, body: () => Buffer | AsyncIterable<Buffer>][] = [
      ["of one chunk", "content-range: bytes 0-0/1", () => Buffer.from("1")],
      ["of several chunks", `content-range: bytes ${8 * MiB}-`, () => streamOf(randomBytes(9 * MiB))],
      ["of nothing", "content-range: bytes */0", () => Buffer.alloc(0)],
    ];
    for (const [what, request, body] of lost) {
      test(`a put ${what} whose answer was lost is no conflict with itself`, async () => {
        const bucket = behindProxy();
        const before = proxy.broken();
        proxy.loseAnswerTo(request);
        await bucket.put("a", body(), { ifAbsent: true });
        assert.equal(proxy.broken(), before + 1);
        await rejects("conflict", bucket.put("a", body(), { ifAbsent: true }));
      });
    }

    test("a body cut midway is unreachable, not shorter", async () => {
      const bucket = behindProxy();
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
      const bucket = bucketAt((location) => location.searchParams.set("endpoint", "http://127.0.0.1:9"));
      await rejects("unreachable", bucket.get("a"));
    });
  });

  test("a bucket that doesn't exist is missing, and says so", async () => {
    const bucket = bucketAt((location) => {
      location.hostname = "no-such-bucket";
    });
    for (const attempt of attemptsOn(bucket)) {
      const error = await rejects("missing", attempt());
      assert.match(error.hint ?? "", /create the bucket/);
    }
  });
});

describe("Cloud Storage's refusals", () => {
  let server: Server;
  let answer: { status: number; body: string; headers?: Record<string, string> };
  const tokens = new Set<string | undefined>();
  before(async () => {
    server = createServer((request, response) => {
      tokens.add(request.headers.authorization);
      request.resume().on("end", () => {
        const { status, body, headers } = answer;
        response.writeHead(status, { "content-type": "application/json", ...headers }).end(body);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  beforeEach(() => tokens.clear());
  after(() => {
    server?.closeAllConnections();
    server?.close();
  });
  const bucketThere = () =>
    gcsBucket(new URL(`gs://b/p?endpoint=http://127.0.0.1:${(server.address() as AddressInfo).port}`));

  const refusals: [status: number, message: string, kind: ErrorKind][] = [
    [401, "Anonymous caller does not have storage.objects.create access to the Google Cloud Storage object.", "denied"],
    [403, "robot@p.iam.gserviceaccount.com does not have storage.objects.get access.", "denied"],
    [404, "The specified bucket does not exist.", "missing"],
    [400, "Invalid bucket name", "invalid"],
  ];
  for (const [status, message, kind] of refusals) {
    test(`HTTP ${status} is ${kind}, with what Google says`, async () => {
      answer = { status, body: JSON.stringify({ error: { code: status, message, errors: [{ message }] } }) };
      for (const attempt of attemptsOn(bucketThere())) {
        const error = await rejects(kind, attempt());
        assert(error.message.includes(message), error.message);
        assert(error.message.includes(`(HTTP ${status})`), error.message);
      }
      assert.deepEqual(tokens, new Set([undefined]), "no token goes to an endpoint on this machine");
    });
  }

  test("where a metadata server is named, every request carries its token, and no error shows it", async (t) => {
    await using gcp = await startGcp();
    t.after(() => delete process.env.GCE_METADATA_HOST);
    process.env.GCE_METADATA_HOST = gcp.env.GCE_METADATA_HOST;
    answer = { status: 403, body: JSON.stringify({ error: { code: 403, message: "No." } }) };
    for (const attempt of attemptsOn(bucketThere())) {
      const error = await rejects("denied", attempt());
      for (const token of gcp.tokens) assertNotQuoted(error, token);
    }
    const given = new Set(gcp.tokens.map((token) => `Bearer ${token}`));
    assert(
      tokens.size > 0 && [...tokens].every((token) => given.has(String(token))),
      `${tokens.size} of ${given.size} tokens`,
    );
  });

  test("a body that hasn't the object's CRC32C ends in corrupt", async () => {
    const headers = { "x-goog-stored-content-encoding": "identity", "x-goog-hash": "crc32c=4waSgw==" };
    for (const [body, kind] of [
      ["123456789", undefined],
      ["123456780", "corrupt"],
    ] as const) {
      answer = { status: 200, headers, body };
      const all = Array.fromAsync(await bucketThere().get("a"));
      if (kind) await rejects(kind, all);
      else assert.equal(Buffer.concat(await all).toString(), body);
    }
  });

  const locations: [location: string, said: RegExp][] = [
    ["gs:///p", /names no bucket/],
    ["gs://b?endpoint=nowhere", /not a http\(s\) URL/],
    ["gs://b?endpoint=http://user:pass@localhost", /not a http\(s\) URL/],
    ["gs://b?endpoint=http://storage.example.com", /clear text/],
    ["gs://b?region=r", /unknown parameters: region/],
  ];
  for (const [location, said] of locations) {
    test(`${location} is no location`, () => {
      assert.throws(() => gcsBucket(new URL(location)), { name: "LifeboatError", kind: "invalid", message: said });
    });
  }
});

const attemptsOn = (bucket: Bucket): (() => Promise<unknown>)[] => [
  () => bucket.put("a", Buffer.from("1")),
  () => bucket.put("a", streamOf(randomBytes(9 * MiB))),
  () => bucket.get("a"),
  () => bucket.get("a", { range: { start: 1, end: 1 } }),
  () => Array.fromAsync(bucket.list("")),
  () => bucket.delete("a"),
];
