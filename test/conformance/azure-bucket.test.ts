import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { rootCertificates, setDefaultCACertificates } from "node:tls";
import { isLifeboatError } from "../../core/errors.ts";
import type { Bucket } from "../../core/ports.ts";
import { azureBlobBucket } from "../../functions/azure/bucket.ts";
import { type Azure, startAzure } from "../rig/azure.ts";
import { type Azurite, startAzurite } from "../rig/azurite.ts";
import { startProxy, type TcpProxy } from "../rig/proxy.ts";
import { requireOrSkip } from "../rig/require.ts";
import { bucketConformance, read, rejects, streamOf } from "./bucket.ts";
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

describe("Blob storage by an identity", { skip: requireOrSkip("rig", ["npm:azurite"]) }, () => {
  let azurite: Azurite;
  let azure: Azure;
  before(async () => {
    [azurite, azure] = await Promise.all([startAzurite({ tls: true }), startAzure()]);
    Object.assign(process.env, azure.env, { AZURE_STORAGE_CONNECTION_STRING: "", AZURE_STORAGE_KEY: "" });
    setDefaultCACertificates([...rootCertificates, azurite.ca ?? ""]);
  });
  after(() => Promise.all([azurite?.stop(), azure?.stop()]));
  const bucketAt = () => azureBlobBucket(new URL(azurite.location(randomUUID())));

  test("its token opens the container, and is asked for once", async () => {
    const bucket = bucketAt();
    const bytes = randomBytes(9 * MiB);
    await bucket.put("a", streamOf(bytes), { ifAbsent: true });
    await rejects("conflict", bucket.put("a", streamOf(bytes), { ifAbsent: true }));
    assert(bytes.equals(await read(bucket, "a")));
    assert.deepEqual(
      azure.tokens.map(({ resource }) => resource),
      ["https://storage.azure.com"],
    );
  });

  test("a key of another account is left alone", async (t) => {
    t.after(() => Object.assign(process.env, { AZURE_STORAGE_ACCOUNT: "", AZURE_STORAGE_KEY: "" }));
    Object.assign(process.env, { AZURE_STORAGE_ACCOUNT: "another", AZURE_STORAGE_KEY: "a-key" });
    await bucketAt().put("a", Buffer.from("1"));
  });

  test("without an identity it is denied, and says where one is looked for", async (t) => {
    t.after(() => {
      azure.identityTrouble = undefined;
      delete process.env.AZURE_CLIENT_ID;
    });
    process.env.AZURE_CLIENT_ID = randomUUID();
    azure.identityTrouble = "denied";
    for (const attempt of attemptsOn(bucketAt())) {
      const error = await rejects("denied", attempt());
      assert.match(error.hint ?? "", /az login|identity/);
    }
  });
});

describe("azblob locations", () => {
  const bad: [location: string, said: RegExp][] = [
    ["azblob:///prefix?account=acme", /no container/],
    ["azblob://backups/prefix", /no storage account is named/],
    ["azblob://backups/prefix?account=acme.evil.example/", /no storage account has such a name/],
    ["azblob://backups/a%5Cb?account=acme", /backslash/],
    ["azblob://backups?account=acme&key=the-secret", /unknown parameters: key/],
    ["azblob://backups?endpoint=https://me:the-secret@host", /without credentials/],
    ["azblob://backups?endpoint=https://host/?sig=the-secret", /without credentials/],
    ["azblob://backups?endpoint=ftp://host", /not a http\(s\) URL/],
    ["azblob://backups?endpoint=http://host/acme", /clear text/],
  ];
  for (const [location, said] of bad) {
    test(`${location} is refused`, (t) => {
      const names = ["AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT"];
      const kept = names.map((name) => [name, process.env[name] ?? ""]);
      t.after(() => Object.assign(process.env, Object.fromEntries(kept)));
      for (const name of names) delete process.env[name];
      assert.throws(
        () => azureBlobBucket(new URL(location)),
        (error) => {
          assert(isLifeboatError(error, "invalid"));
          assert.match(error.message, said);
          assertNotQuoted(error, "the-secret");
          return true;
        },
      );
    });
  }
});

const attemptsOn = (bucket: Bucket): (() => Promise<unknown>)[] => [
  () => bucket.put("a", Buffer.from("1")),
  () => bucket.put("a", streamOf(randomBytes(9 * MiB))),
  () => bucket.get("a"),
  () => Array.fromAsync(bucket.list("")),
  () => bucket.delete("a"),
];
