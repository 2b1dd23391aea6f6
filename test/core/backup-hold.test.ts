import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import { retentionOf } from "../../core/backup/hold.ts";
import { unlocked } from "../../core/encryption/buckets.ts";
import type { Bucket, ObjectRetention } from "../../core/ports.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { backupOf } from "./integrity-sample.ts";
import { sample } from "./restore-sample.ts";

describe("a backup with retainFor", () => {
  let source: ApiServer;
  before(async () => {
    source = await startApiServer({
      objects: [sample("v1", "Secret", "shop/db"), sample("v1", "ConfigMap", "shop/web")],
    });
  });
  after(() => source?.stop());

  for (const encryption of ["none", "secrets", "all"] as const) {
    for (const decrypts of [false, true]) {
      it(`has every file held, with encryption of ${encryption}, in a bucket that ${decrypts ? "decrypts" : "is plain"}`, async () => {
        const identity = await generateX25519Identity();
        const held = new Map<string, ObjectRetention | undefined>();
        const plain = memoryBucket();
        const spy: Bucket = {
          ...plain,
          put: (key, body, options) => {
            held.set(key, options?.retain);
            return plain.put(key, body, options);
          },
        };
        const { record } = await backupOf(source, {
          bucket: decrypts ? unlocked(spy, async () => [identity]) : spy,
          name: "b",
          spec: { retainFor: "48h", retainMode: "compliance", ...(encryption === "secrets" && { secrets: "encrypt" }) },
          recipients: encryption === "none" ? [] : [await identityToRecipient(identity)],
        });
        const until = new Date(Date.parse(record.status?.startTimestamp ?? "") + 48 * 3_600_000);
        assert.ok(held.size >= (encryption === "secrets" ? 12 : 10), `only ${held.size} files`);
        for (const [key, retain] of held) assert.deepEqual(retain, { until, mode: "compliance" }, key);
      });
    }
  }
});

it("what is held ends a duration after the start; nothing is where none is asked for", () => {
  const startTimestamp = "2026-01-31T10:00:00Z";
  assert.equal(retentionOf({ spec: {}, startTimestamp }), undefined);
  assert.deepEqual(retentionOf({ spec: { retainFor: "24h" }, startTimestamp }), {
    until: new Date("2026-02-01T10:00:00Z"),
    mode: "governance",
  });
});
