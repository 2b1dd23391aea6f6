import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { rootCertificates, setDefaultCACertificates } from "node:tls";
import { isLifeboatError } from "../../core/errors.ts";
import { azureBlobBucket } from "../../functions/azure/bucket.ts";
import { type Azure, startAzure } from "../rig/azure.ts";
import { type Azurite, startAzurite } from "../rig/azurite.ts";
import { startProxy } from "../rig/proxy.ts";
import { requireOrSkip } from "../rig/require.ts";
import { attemptsOn, bucketConformance, read, rejects, streamOf } from "./bucket.ts";
import { NINE_MEBIBYTES, networkConformance, ONE_BYTE } from "./network.ts";
import { assertNotQuoted } from "./troubles.ts";

const MiB = 1024 * 1024;

describe("Blob storage", { skip: requireOrSkip("rig", ["npm:azurite"]) }, () => {
  let azurite: Azurite;
  before(async () => {
    azurite = await startAzurite();
    Object.assign(process.env, azurite.env);
  });
  after(async () => {
    await azurite?.stop();
  });
  const bucketAt = (change: (location: URL) => void = () => {}) => {
    const location = new URL(azurite.location(randomUUID()));
    change(location);
    return azureBlobBucket(location);
  };

  bucketConformance("Blob storage on azurite", () => bucketAt());

  networkConformance(
    () => azurite.blob,
    (port) =>
      bucketAt((location) => location.searchParams.set("endpoint", `http://127.0.0.1:${port}/${azurite.account}`)),
    {
      small: "of one request",
      large: "of blocks",
      lastRequests: [
        ["of one request", "PUT /", ONE_BYTE],
        ["of blocks", "comp=blocklist", NINE_MEBIBYTES],
      ],
    },
  );

  test("what is to be held is sent with its policy, which the emulator ignores", async () => {
    const proxy = await startProxy(azurite.blob);
    try {
      const endpoint = `http://127.0.0.1:${proxy.port}/${azurite.account}`;
      const bucket = bucketAt((location) => location.searchParams.set("endpoint", endpoint));
      const until = new Date("2099-01-01T00:00:00Z");
      for (const [mode, named] of [
        ["governance", "Unlocked"],
        ["compliance", "Locked"],
      ] as const) {
        const dates = proxy.count("x-ms-immutability-policy-until-date: Thu, 01 Jan 2099 00:00:00 GMT");
        const modes = proxy.count(`x-ms-immutability-policy-mode: ${named}`);
        await bucket.put(`${mode}-small`, Buffer.from("a"), { ifAbsent: true, retain: { until, mode } });
        await bucket.put(`${mode}-large`, NINE_MEBIBYTES(), { ifAbsent: true, retain: { until, mode } });
        assert.deepEqual([dates(), modes()], [2, 2]);
      }
    } finally {
      await proxy.stop();
    }
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
