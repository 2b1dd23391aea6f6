import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { checkLocation } from "../../core/check/bucket.ts";
import { check } from "../../core/check/check.ts";
import { judgeClock, offBy } from "../../core/check/clock.ts";
import { parseConfig } from "../../core/config.ts";
import { LifeboatError } from "../../core/errors.ts";
import { factsOf } from "../../core/kube/credentials.ts";
import { PROBES } from "../../core/layout.ts";
import { listObjects } from "../../core/once.ts";
import type { Bucket } from "../../core/ports.ts";
import { openSecrets } from "../../core/secrets.ts";
import { memoryBucket } from "../memory-bucket.ts";

const SECOND = 1000;
const time = fc.integer({ min: 0, max: 2 ** 41 });

describe("how far a clock is off", () => {
  it("is never told where both clocks are the same, however long the answer took and whenever in its second it was made", () => {
    const cases = fc.tuple(time, fc.nat(60_000), fc.nat(60_000));
    fc.assert(
      fc.property(cases, ([sent, there, back]) => {
        const said = Math.floor((sent + there) / SECOND) * SECOND;
        assert.equal(offBy({ sent, received: sent + there + back, said }), 0);
      }),
    );
  });

  it("is told to the second and what the answer took", () => {
    const cases = fc.tuple(time, fc.nat(3000), fc.integer({ min: -3_600_000, max: 3_600_000 }));
    fc.assert(
      fc.property(cases, ([at, took, off]) => {
        const told = offBy({ sent: at + off, received: at + off + took, said: Math.floor(at / SECOND) * SECOND });
        assert.ok(
          Math.abs(told) <= Math.abs(off) && Math.abs(told) >= Math.abs(off) - took - SECOND,
          `${told} of ${off}`,
        );
      }),
    );
  });

  const CASES: [off: number, state: string, message: RegExp][] = [
    [0, "ok", /^as the bucket's/],
    [50_000, "ok", /^(49|50) s ahead of the bucket's$/],
    [-120_000, "warning", /^(119|120) s behind the bucket's: a slot/],
    [16 * 60_000, "failed", /^9(59|60) s ahead of the bucket's: S3 refuses/],
  ];
  for (const [off, state, message] of CASES) {
    it(`of ${off / SECOND} s is ${state}`, () => {
      const now = 1_800_000_000_500;
      const found = judgeClock({ sent: now + off, received: now + off + 20, said: now - 500 }, "the bucket");
      assert.equal(found.state, state);
      assert.match(found.message, message);
    });
  }
});

describe("what credentials tell of themselves", () => {
  const bearer = (token: string) => ({ headers: { Authorization: `Bearer ${token}` } });
  const jwt = (claims: object) => `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.x`;

  it("is the end of a JWT, and none of another token", () => {
    assert.deepEqual(factsOf(bearer(jwt({ exp: 1_800_000_000 }))), {
      ...{ means: "token", ends: new Date(1_800_000_000_000), renewed: false },
    });
    for (const token of ["opaque", "k8s-aws-v1.aHR0cHM", jwt({}), jwt({ exp: "soon" }), "a.b.c"])
      assert.deepEqual(factsOf(bearer(token)), { means: "token", ends: undefined, renewed: false });
  });

  it("is what they are", () => {
    assert.equal(factsOf({ headers: { Authorization: "Basic eDp5" } }).means, "password");
    assert.equal(factsOf({ headers: {} }).means, "none");
    assert.deepEqual(factsOf({ headers: {}, cert: "no PEM" }), {
      means: "certificate",
      ends: undefined,
      renewed: false,
    });
  });
});

describe("a location that is asked about", () => {
  const ask = async (bucket: Bucket, holds = false) => {
    const asked = { location: bucket.location, holds, open: async () => bucket };
    const checks = await checkLocation(asked, new AbortController().signal);
    return Object.fromEntries(checks.map((check) => [check.question, check]));
  };
  const denied = async () => {
    throw new LifeboatError("denied", "not allowed");
  };

  it("is left as it was by a credential that may delete; no listing takes the probe for a backup meanwhile", async () => {
    const bucket = memoryBucket();
    const keys: string[] = [];
    const watched: Bucket = {
      ...bucket,
      put: (key, body, options) => {
        keys.push(key);
        return bucket.put(key, body, options);
      },
    };
    const found = await ask(watched);
    assert.deepEqual(
      Object.values(found).map(({ state }) => state),
      ["ok", "ok", "note", "notAsked", "ok"],
    );
    assert.deepEqual(await Array.fromAsync(listObjects(bucket, "")), []);
    assert.ok(keys.length === 3 && keys.every((key) => key.startsWith(PROBES)));
  });

  it("that may not be deleted from keeps one probe; retention takes it", async () => {
    const bucket = memoryBucket();
    const put: Bucket["put"] = (key, body, options) => (options?.ifAbsent ? bucket.put(key, body, options) : denied());
    const found = await ask({ ...bucket, put, delete: denied });
    assert.equal(found["write-once"]?.state, "ok");
    assert.equal((await Array.fromAsync(listObjects(bucket, PROBES))).length, 1);
  });

  it("that disregards If-None-Match has failed: two runs would overwrite each other", async () => {
    const bucket = memoryBucket();
    const { create } = await ask({
      ...bucket,
      put: (key, body, options) => bucket.put(key, body, { ...options, ifAbsent: false }),
    });
    assert.deepEqual([create?.state, create?.error], ["failed", "invalid"]);
    assert.match(create?.message ?? "", /stores an object twice/);
  });

  it("where something else lies beside the backups is told: Velero would not take it", async () => {
    const bucket = memoryBucket();
    await bucket.put("photos/1.jpg", Buffer.from("x"));
    await bucket.put("backups/full/velero-backup.json", Buffer.from("x"));
    const { list } = await ask(bucket);
    assert.equal(list?.state, "warning");
    assert.match(list?.message ?? "", /1 names? of backups.*photos\//);
  });

  it("is asked to hold a probe only where a schedule wants that", async () => {
    assert.equal((await ask(memoryBucket(), false)).hold?.state, "notAsked");
    assert.equal((await ask(memoryBucket(), true)).hold?.state, "ok");
  });
});

describe("what copies of files take", () => {
  const S3 = "s3://bucket?region=eu-west-1";
  const CASES: [what: string, restic: string, location: string, state: string, message: RegExp][] = [
    ["nothing is configured", "", S3, "notAsked", /no files/],
    ["all is there", "{password: env:CHECK_PHRASE, serviceAccount: restic}", S3, "ok", /env:CHECK_PHRASE$/],
    ["an identity is lacking", "{password: env:CHECK_PHRASE}", S3, "warning", /their nodes' identity/],
    [
      "the password is not there",
      "{password: env:CHECK_NOWHERE, serviceAccount: restic}",
      S3,
      "failed",
      /CHECK_NOWHERE/,
    ],
    [
      "Jobs can't reach it",
      "{password: env:CHECK_PHRASE, serviceAccount: restic}",
      "file:///b",
      "failed",
      /a file location/,
    ],
  ];
  for (const [what, restic, location, state, message] of CASES) {
    it(`is asked: ${what}`, async () => {
      process.env.CHECK_PHRASE = "a phrase";
      const text = `location: ${location}\n${restic && `volumes: { restic: ${restic} }`}`;
      const { config } = parseConfig(text, {});
      const secrets = openSecrets({ secrets: {} });
      const checked = { config, source: "here", secrets, openBucket: async () => memoryBucket(), clusters: [] };
      const { signal } = new AbortController();
      const { checks } = await check(async () => checked, { signal });
      const row = checks.find(({ question }) => question === "restic");
      assert.equal(row?.state, state);
      assert.match(row?.message ?? "", message);
      delete process.env.CHECK_PHRASE;
    });
  }
});
