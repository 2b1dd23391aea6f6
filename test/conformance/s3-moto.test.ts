import { randomUUID } from "node:crypto";
import { after, before, describe } from "node:test";
import { s3Bucket } from "../../functions/aws/bucket.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { bucketConformance } from "./bucket.ts";

describe("S3, where keys are no files", { skip: requireOrSkip("rig", ["moto"]) }, () => {
  let s3: S3;
  before(async () => {
    s3 = await startS3({ server: "moto" });
    Object.assign(process.env, s3.env, { AWS_EC2_METADATA_DISABLED: "true" });
  });
  after(() => s3?.stop());

  bucketConformance("S3 on moto", () => s3Bucket(new URL(s3.location(randomUUID()))), {
    racesLost: "moto looks for the key first and stores it later, without a lock; versitygw does it right",
  });
});
