import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import type { Bucket } from "../../core/ports.ts";
import { azureBlobBucket } from "../../functions/azure/bucket.ts";
import { type Azurite, startAzurite } from "../rig/azurite.ts";
import { startProxy, type TcpProxy } from "../rig/proxy.ts";
import { requireOrSkip } from "../rig/require.ts";
import { bucketConformance, rejects, streamOf } from "./bucket.ts";
import { assertNotQuoted } from "./troubles.ts";

const MiB = 1024 * 1024;

describe("Blob storage", { skip: requireOrSkip("rig", ["npm:azurite"]) }, () => {
  let azurite: Azurite;
  let proxy: TcpProxy;
  before(async () => {
    azurite = await startAzurite();
    proxy = await startProxy(azurite.blob);
    Object.assign(process.env, azurite.env);
  });
  after(async () => {
    await proxy?.stop();
    await azurite?.stop();
  });
  const bucketAt = (change: (location: URL) => void = () => {}) => {
    const location = new URL(azurite.location(randomUUID()));
    change(location);
    return azureBlobBucket(location);
  };
  const behindProxy = (change: (location: URL) => void = () => {}) =>
    bucketAt((location) => {
      location.searchParams.set("endpoint", `http://127.0.0.1:${proxy.port}/${azurite.account}`);
      change(location);
    });

  bucketConformance("Blob storage on azurite", () => bucketAt());

  describe("on a bad network", () => {
    const cases: [what: string, body: () => Buffer | AsyncIterable<Buffer>][] = [
      ["of one request", () => randomBytes(4 * MiB)],
      ["of blocks", () => streamOf(randomBytes(20 * MiB))],
    ];
    for (const [what, body] of cases) {
      test(`a connection cut midway fails a put ${what} as unreachable, and leaves nothing`, async () => {
        const bucket = behindProxy();
        proxy.cutAfter(3 * MiB);
        await rejects("unreachable", bucket.put("a", body()));
        assert(proxy.broken() > 0);
        proxy.cutAfter(undefined);
        await rejects("missing", bucket.get("a"));
        assert.deepEqual(await Array.fromAsync(bucket.list("")), []);
      });
    }

    const lost: [what: string, request: string, body: () => Buffer | AsyncIterable<Buffer>][] = [
      ["of one request", "PUT /", () => Buffer.from("1")],
      ["of blocks", "comp=blocklist", () => streamOf(randomBytes(9 * MiB))],
    ];
    for (const [what, request, body] of lost) {
      test(`a put ${what} whose answer was lost is no conflict with itself`, async () => {
        const bucket = behindProxy();
        const brokenBefore = proxy.broken();
        proxy.loseAnswerTo(request);
        await bucket.put("a", body(), { ifAbsent: true });
        assert.equal(proxy.broken(), brokenBefore + 1);
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
      const bucket = bucketAt((location) => location.searchParams.set("endpoint", "http://127.0.0.1:9/lifeboatrig"));
      await rejects("unreachable", bucket.get("a"));
    });
  });

  describe("errors", () => {
    test("a container that doesn't exist is missing, and says so", async () => {
      const bucket = bucketAt((location) => {
        location.hostname = "no-such-container";
      });
      for (const attempt of attemptsOn(bucket)) {
        const error = await rejects("missing", attempt());
        assert.match(error.message, /ContainerNotFound/);
        assert.match(error.hint ?? "", /create the container/);
      }
    });

    const key = randomBytes(64).toString("base64");
    const wrong: [what: string, env: Record<string, string>][] = [
      ["a wrong key", { AZURE_STORAGE_CONNECTION_STRING: "", AZURE_STORAGE_KEY: key }],
      ["what is no key", { AZURE_STORAGE_CONNECTION_STRING: "", AZURE_STORAGE_KEY: "not-the-key" }],
      ["a connection string with a wrong key", {}],
    ];
    for (const [what, env] of wrong) {
      test(`${what}: denied, with a hint and without the key`, async (t) => {
        t.after(() => Object.assign(process.env, { AZURE_STORAGE_KEY: "", ...azurite.env }));
        const connection = `AccountName=${azurite.account};AccountKey=${key}`;
        Object.assign(process.env, { AZURE_STORAGE_CONNECTION_STRING: connection }, env);
        const bucket = bucketAt();
        for (const attempt of attemptsOn(bucket)) {
          const error = await rejects("denied", attempt());
          assert.match(error.hint ?? "", /AZURE_STORAGE_KEY/);
          for (const secret of [azurite.key, key, "not-the-key"]) assertNotQuoted(error, secret);
        }
      });
    }
  });
});

const attemptsOn = (bucket: Bucket): (() => Promise<unknown>)[] => [
  () => bucket.put("a", Buffer.from("1")),
  () => bucket.put("a", streamOf(randomBytes(9 * MiB))),
  () => bucket.get("a"),
  () => Array.fromAsync(bucket.list("")),
  () => bucket.delete("a"),
];
