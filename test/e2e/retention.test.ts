import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type Bucket, listBackups, type RetentionDocument } from "../../core/index.ts";
import { s3Bucket } from "../../functions/aws/bucket.ts";
import { DAY_MS, putBackup } from "../core/retention-sample.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { type S3Proxy, startS3Proxy } from "../rig/s3proxy.ts";
import { document, lifeboat } from "./lifeboat.ts";

const ago = (days: number) => new Date(Date.now() - days * DAY_MS);

describe("retention on S3 with object lock", { skip: requireOrSkip("rig", ["versitygw"]) }, () => {
  let s3: S3;
  let proxy: S3Proxy;
  before(async () => {
    s3 = await startS3({ objectLock: true });
    proxy = await startS3Proxy(s3, ({ method }) => (method === "DELETE" ? "deny" : "pass"));
    Object.assign(process.env, s3.env, { AWS_EC2_METADATA_DISABLED: "true" });
  });
  after(async () => {
    await proxy?.stop();
    await s3?.stop();
  });

  /** A location with five daily backups, of which the rules keep two. */
  async function location(prefix: string) {
    const bucket = s3Bucket(new URL(s3.location(prefix)));
    for (const days of [5, 4, 3, 2, 1]) await putBackup(bucket, { name: `d-${days}`, start: ago(days), schedule: "d" });
    const at = (url: string) => ({
      ...s3.env,
      LIFEBOAT_LOCATION: url,
      LIFEBOAT_CLUSTERS_A_KUBECONFIG: "env:A",
      LIFEBOAT_SCHEDULES_D_SCHEDULE: "@daily",
      LIFEBOAT_SCHEDULES_D_RETENTION_KEEP_LAST: "2",
    });
    return { bucket, env: at(s3.location(prefix)), denied: at(proxy.location(prefix)) };
  }
  const namesIn = async (bucket: Bucket) => (await listBackups(bucket)).map(({ name }) => name);

  it("deletes what the preview shows, but for what the bucket holds, which stays whole", async () => {
    const { bucket, env } = await location("held");
    // As by a default retention of the bucket, of which no record tells.
    const retain = { until: ago(-1), mode: "governance" } as const;
    const holding: Bucket = { ...bucket, put: (key, body, options) => bucket.put(key, body, { ...options, retain }) };
    await putBackup(holding, { name: "d-9", start: ago(9), schedule: "d" });
    const seen = await document<RetentionDocument>(["retention", "preview"], env);
    assert.deepEqual(seen.counts, { delete: 4, keep: 2 });
    const done = await document<RetentionDocument>(["retention", "run", "--yes"], env);
    assert.deepEqual([done.phase, done.counts, done.errors], ["Completed", { delete: 3, keep: 3 }, []]);
    assert.match(done.warnings[0]!.message, /^backup d-9: can't delete .*velero-backup\.json .*: it is locked$/);
    assert.deepEqual(await namesIn(bucket), ["d-1", "d-2", "d-9"]);
    assert.equal((await Array.fromAsync(bucket.list("backups/d-9/"))).length, 5);
    assert.deepEqual(await Array.fromAsync(bucket.list("metadata/lifeboat/locks/retention/")), []);
  });

  it("tells, and changes nothing, where the right to delete is missing", async () => {
    const { bucket, denied, env } = await location("denied");
    const told = await lifeboat(["retention", "run", "--yes"], denied);
    assert.equal(told.code, 3, told.stderr);
    assert.match(told.stdout, /\nErrors:\n {2}backup d-3: .*AccessDenied/);
    assert.equal((await namesIn(bucket)).length, 5);
    assert.equal((await lifeboat(["retention", "run", "--yes"], env)).code, 0);
    assert.deepEqual(await namesIn(bucket), ["d-1", "d-2"]);
  });
});
