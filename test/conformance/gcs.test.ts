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
import { startProxy } from "../rig/proxy.ts";
import { requireOrSkip } from "../rig/require.ts";
import { attemptsOn, bucketConformance, read, rejects, streamOf } from "./bucket.ts";
import { NINE_MEBIBYTES, networkConformance, ONE_BYTE } from "./network.ts";
import { assertNotQuoted } from "./troubles.ts";

const MiB = 1024 * 1024;

for (const name of ["GCE_METADATA_HOST", "GOOGLE_APPLICATION_CREDENTIALS"]) delete process.env[name];

describe("Cloud Storage", { skip: requireOrSkip("rig", ["fake-gcs-server"]) }, () => {
  let gcs: Gcs;
  before(async () => {
    gcs = await startGcs();
  });
  after(async () => {
    await gcs?.stop();
  });
  const bucketAt = (change: (location: URL) => void = () => {}) => {
    const location = new URL(gcs.location(randomUUID()));
    change(location);
    return gcsBucket(location);
  };
  const bucketBehind = (port: number) =>
    bucketAt((location) => location.searchParams.set("endpoint", `http://127.0.0.1:${port}`));

  bucketConformance("Cloud Storage on fake-gcs-server", () => bucketAt());

  networkConformance(() => gcs.endpoint, bucketBehind, {
    small: "of one chunk",
    large: "of several chunks",
    lastRequests: [
      ["of one chunk", "content-range: bytes 0-0/1", ONE_BYTE],
      ["of several chunks", `content-range: bytes ${8 * MiB}-`, NINE_MEBIBYTES],
      ["of nothing", "content-range: bytes */0", () => Buffer.alloc(0)],
    ],
  });

  test("what is to be held is sent with its retention, which the emulator ignores", async () => {
    const proxy = await startProxy(gcs.endpoint);
    try {
      const bucket = bucketBehind(proxy.port);
      const until = new Date("2099-01-01T00:00:00Z");
      for (const [mode, named] of [
        ["governance", "Unlocked"],
        ["compliance", "Locked"],
      ] as const) {
        const sent = proxy.count(`"retention":{"mode":"${named}","retainUntilTime":"2099-01-01T00:00:00.000Z"}`);
        await bucket.put(mode, Buffer.from("a"), { ifAbsent: true, retain: { until, mode } });
        assert.equal(sent(), 1);
      }
    } finally {
      await proxy.stop();
    }
  });

  for (const size of [4 * MiB, 20 * MiB]) {
    test(`a put of ${size / MiB} MiB goes on where a connection was cut`, async () => {
      const proxy = await startProxy(gcs.endpoint);
      try {
        const bucket = bucketBehind(proxy.port);
        const bytes = randomBytes(size);
        proxy.cutAfter(3 * MiB);
        const put = bucket.put("a", streamOf(bytes), { ifAbsent: true });
        while (proxy.broken() === 0) await new Promise((resolve) => setTimeout(resolve, 5));
        proxy.cutAfter(undefined);
        await put;
        assert(bytes.equals(await read(bucket, "a")));
      } finally {
        await proxy.stop();
      }
    });
  }

  test("a bucket that doesn't exist is missing, and says so", async () => {
    const bucket = bucketAt((location) => {
      location.hostname = "no-such-bucket";
    });
    for (const attempt of allAttemptsOn(bucket)) {
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
    [403, "Object 'b/a' is subject to bucket's retention policy or object retention and cannot be deleted", "conflict"],
    [403, "Object 'b/a' is under active Temporary hold and cannot be deleted", "conflict"],
    [404, "The specified bucket does not exist.", "missing"],
    [400, "Invalid bucket name", "invalid"],
  ];
  for (const [status, message, kind] of refusals) {
    test(`HTTP ${status} is ${kind}, with what Google says`, async () => {
      answer = { status, body: JSON.stringify({ error: { code: status, message, errors: [{ message }] } }) };
      for (const attempt of allAttemptsOn(bucketThere())) {
        const error = await rejects(kind, attempt());
        assert(error.message.includes(message), error.message);
        assert(error.message.includes(`(HTTP ${status})`), error.message);
      }
      assert.deepEqual(tokens, new Set([undefined]), "no token goes to an endpoint on this machine");
    });
  }

  test("that an object can't be overwritten, for want of the right to delete, means to who creates that it exists", async () => {
    const message = "robot@p.iam.gserviceaccount.com does not have storage.objects.delete access to the object.";
    answer = { status: 403, body: JSON.stringify({ error: { code: 403, message, errors: [{ message }] } }) };
    const bucket = bucketThere();
    const error = await rejects("conflict", bucket.put("a", Buffer.from("new"), { ifAbsent: true }));
    assert(error.message.includes(message), error.message);
    await rejects("denied", bucket.put("a", Buffer.from("new")));
    await rejects("denied", bucket.delete("a"));
  });

  test("where a metadata server is named, every request carries its token, and no error shows it", async (t) => {
    await using gcp = await startGcp();
    t.after(() => delete process.env.GCE_METADATA_HOST);
    process.env.GCE_METADATA_HOST = gcp.env.GCE_METADATA_HOST;
    answer = { status: 403, body: JSON.stringify({ error: { code: 403, message: "No." } }) };
    for (const attempt of allAttemptsOn(bucketThere())) {
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

/** An empty range is asked for in a way of its own. */
const allAttemptsOn = (bucket: Bucket) => [
  ...attemptsOn(bucket),
  () => bucket.get("a", { range: { start: 1, end: 1 } }),
];
