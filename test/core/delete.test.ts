import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { deleteBackup, deleteRestore } from "../../core/delete.ts";
import { backupKeys, restoreKeys, sliceFolder } from "../../core/layout.ts";
import { cancelWork, lockState, reopen } from "../../core/lock.ts";
import { pinBackup } from "../../core/pins.ts";
import type { Bucket } from "../../core/ports.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { putBackup } from "./location-sample.ts";

describe("a deletion", () => {
  it("stops once another run has its lock: what lies there from then on is that run's", async () => {
    const bucket = memoryBucket();
    await putBackup(bucket, "b", []);
    const { metadata, tar } = backupKeys("b");
    const stalling: Bucket = {
      ...bucket,
      async delete(key, options) {
        await bucket.delete(key, options);
        if (key !== metadata) return;
        await bucket.put("metadata/lifeboat/locks/backups/b/000002.json", Buffer.from('{"run":"x","state":"held"}'));
        await sleep(300);
      },
    };
    const timing = { renew: 50, valid: 600, poll: 10 };
    await assert.rejects(deleteBackup(stalling, "b", undefined, { timing }), { kind: "busy" });
    assert.equal((await Array.fromAsync(bucket.list(tar))).length, 1);
    assert.equal((await lockState({ bucket, kind: "backups", name: "b" })).state, "held");
  });

  it("that has looked for pins is not told to have been stopped by one that comes then", async () => {
    const bucket = memoryBucket();
    await putBackup(bucket, "b", []);
    let pins = 0;
    const pinning: Bucket = {
      ...bucket,
      async delete(key, options) {
        if (pins++ === 0) await assert.rejects(pinBackup(bucket, "b"), { kind: "busy" });
        await bucket.delete(key, options);
      },
    };
    await deleteBackup(pinning, "b");
    assert.ok(pins > 0);
    await assert.rejects(pinBackup(bucket, "b"), { kind: "missing" });
  });

  it("that has ended before a pin is stored leaves nothing to be pinned", async () => {
    const bucket = memoryBucket();
    await putBackup(bucket, "b", []);
    const late: Bucket = {
      ...bucket,
      async put(key, body, options) {
        await deleteBackup(bucket, "b");
        await bucket.put(key, body, options);
      },
    };
    await assert.rejects(pinBackup(late, "b"), { kind: "missing" });
  });

  it("of what was called off holds its lock, though somebody lets it go on meanwhile", async () => {
    const bucket = memoryBucket();
    const scope = { bucket, kind: "restores", name: "r" } as const;
    const { record } = restoreKeys("r");
    await bucket.put(record, Buffer.from("{}"));
    await cancelWork(scope, "ann");
    let state: string | undefined;
    const asking: Bucket = {
      ...bucket,
      async delete(key, options) {
        if (key === record) {
          await reopen(scope);
          ({ state } = await lockState(scope));
        }
        await bucket.delete(key, options);
      },
    };
    assert.equal(await deleteRestore(asking, "r"), 1);
    assert.equal(state, "held");
    assert.deepEqual(await Array.fromAsync(bucket.list("")), []);
  });

  it("of a restore takes what its slices have left along", async () => {
    const bucket = memoryBucket();
    await bucket.put(restoreKeys("r").record, Buffer.from("{}"));
    await bucket.put(`${sliceFolder("r")}000001.json`, Buffer.from("{}"));
    assert.equal(await deleteRestore(bucket, "r"), 2);
    assert.deepEqual(await Array.fromAsync(bucket.list("")), []);
  });
});
