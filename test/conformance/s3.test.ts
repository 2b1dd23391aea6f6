import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { ListMultipartUploadsCommand, S3Client } from "@aws-sdk/client-s3";
import { s3Bucket } from "../../functions/aws/bucket.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { attemptsOn, bucketConformance, holdingConformance, read, refusesToHold, rejects, streamOf } from "./bucket.ts";
import { NINE_MEBIBYTES, networkConformance, ONE_BYTE } from "./network.ts";

const MiB = 1024 * 1024;

describe("S3", { skip: requireOrSkip("rig", ["versitygw"]) }, () => {
  let s3: S3;
  before(async () => {
    s3 = await startS3();
    Object.assign(process.env, s3.env, { AWS_EC2_METADATA_DISABLED: "true" });
  });
  after(async () => {
    await s3?.stop();
  });
  const bucketAt = (change: (location: URL) => void = () => {}) => {
    const location = new URL(s3.location(randomUUID()));
    change(location);
    return s3Bucket(location);
  };
  const uploads = async () => {
    const { endpoint, region, accessKeyId, secretAccessKey, bucket } = s3;
    const credentials = { accessKeyId, secretAccessKey };
    const client = new S3Client({ endpoint, region, forcePathStyle: true, credentials });
    const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
    client.destroy();
    return Uploads.map((upload) => upload.Key);
  };

  bucketConformance("S3 on versitygw", () => bucketAt(), { keyBelowKeyRefused: "versitygw keeps objects as files" });

  describe("with object lock", () => {
    let locked: S3;
    before(async () => {
      locked = await startS3({ objectLock: true });
    });
    after(() => locked?.stop());
    holdingConformance(() => s3Bucket(new URL(locked.location(randomUUID()))));
  });

  test("a bucket without object lock takes no object that is to be held", () => refusesToHold(bucketAt()));

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

  networkConformance(
    () => s3.endpoint,
    (port) => bucketAt((location) => location.searchParams.set("endpoint", `http://127.0.0.1:${port}`)),
    {
      small: "of one request",
      large: "of parts",
      lastRequests: [
        ["of one request", "PUT /", ONE_BYTE],
        ["of parts", "/a?uploadId=", NINE_MEBIBYTES],
      ],
    },
    uploads,
  );

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
