import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { ListMultipartUploadsCommand, S3Client } from "@aws-sdk/client-s3";
import type { Bucket } from "../../core/ports.ts";
import { s3Bucket } from "../../functions/aws/bucket.ts";
import { startProxy, type TcpProxy } from "../rig/proxy.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { bucketConformance, read, rejects, streamOf } from "./bucket.ts";

const MiB = 1024 * 1024;

describe("S3", { skip: requireOrSkip("rig", ["versitygw"]) }, () => {
  let s3: S3;
  let proxy: TcpProxy;
  before(async () => {
    s3 = await startS3();
    proxy = await startProxy(s3.endpoint);
    Object.assign(process.env, s3.env, { AWS_EC2_METADATA_DISABLED: "true" });
  });
  after(async () => {
    await proxy?.stop();
    await s3?.stop();
  });
  const bucketAt = (change: (location: URL) => void = () => {}) => {
    const location = new URL(s3.location(randomUUID()));
    change(location);
    return s3Bucket(location);
  };
  const behindProxy = (change: (location: URL) => void = () => {}) =>
    bucketAt((location) => {
      location.searchParams.set("endpoint", `http://127.0.0.1:${proxy.port}`);
      change(location);
    });
  const uploads = async () => {
    const { endpoint, region, accessKeyId, secretAccessKey, bucket } = s3;
    const credentials = { accessKeyId, secretAccessKey };
    const client = new S3Client({ endpoint, region, forcePathStyle: true, credentials });
    const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
    client.destroy();
    return Uploads.map((upload) => upload.Key);
  };

  bucketConformance("S3 on versitygw", () => bucketAt(), { keyBelowKeyRefused: "versitygw keeps objects as files" });

  test("no failure leaves a multipart upload", async () => {
    assert.deepEqual(await uploads(), []);
  });

  test("the checksums of the SDK can be asked for", async (t) => {
    process.env.AWS_REQUEST_CHECKSUM_CALCULATION = "WHEN_SUPPORTED";
    t.after(() => delete process.env.AWS_REQUEST_CHECKSUM_CALCULATION);
    const bucket = bucketAt();
    const bytes = randomBytes(20 * MiB);
    await bucket.put("small", Buffer.from("1"), { ifAbsent: true });
    await bucket.put("large", streamOf(bytes), { ifAbsent: true });
    assert.equal(String(await read(bucket, "small")), "1");
    assert(bytes.equals(await read(bucket, "large")));
  });

  describe("on a bad network", () => {
    const cases: [what: string, body: () => Buffer | AsyncIterable<Buffer>][] = [
      ["of one request", () => randomBytes(4 * MiB)],
      ["of parts", () => streamOf(randomBytes(20 * MiB))],
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
        assert.deepEqual(await uploads(), []);
      });
    }

    const lost: [what: string, request: string, body: () => Buffer | AsyncIterable<Buffer>][] = [
      ["of one request", "PUT /", () => Buffer.from("1")],
      ["of parts", "POST /backups/lost/a?uploadId=", () => streamOf(randomBytes(9 * MiB))],
    ];
    for (const [what, request, body] of lost) {
      test(`a put ${what} whose answer was lost is no conflict with itself`, async () => {
        const bucket = behindProxy((location) => {
          location.pathname = "lost";
        });
        const brokenBefore = proxy.broken();
        proxy.loseAnswerTo(request);
        await bucket.put("a", body(), { ifAbsent: true });
        assert.equal(proxy.broken(), brokenBefore + 1);
        await rejects("conflict", bucket.put("a", body(), { ifAbsent: true }));
        await bucket.delete("a");
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

  describe("errors", () => {
    test("a bucket that doesn't exist is missing, and says so", async () => {
      const bucket = bucketAt((location) => {
        location.hostname = "no-such-bucket";
      });
      for (const attempt of attemptsOn(bucket)) {
        const error = await rejects("missing", attempt());
        assert.match(error.message, /NoSuchBucket/);
        assert.match(error.hint ?? "", /create the bucket/);
      }
    });

    const wrong: [what: string, env: () => Record<string, string>][] = [
      ["an unknown access key", () => ({ AWS_ACCESS_KEY_ID: "UNKNOWNKEY0000000000" })],
      ["a wrong secret key", () => ({ AWS_SECRET_ACCESS_KEY: "not-the-secret-key" })],
      ["no credentials", () => ({ AWS_ACCESS_KEY_ID: "", AWS_SECRET_ACCESS_KEY: "" })],
    ];
    for (const [what, env] of wrong) {
      test(`${what}: denied, with a hint and without the secret`, async (t) => {
        t.after(() => Object.assign(process.env, s3.env));
        Object.assign(process.env, env(), { AWS_SHARED_CREDENTIALS_FILE: "/dev/null", AWS_CONFIG_FILE: "/dev/null" });
        const bucket = bucketAt();
        for (const attempt of attemptsOn(bucket)) {
          const error = await rejects("denied", attempt());
          assert.match(error.hint ?? "", /AWS_ACCESS_KEY_ID/);
          assert.doesNotMatch(error.message, /not-the-secret-key|rig-secret/);
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
