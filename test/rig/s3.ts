import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { binary } from "./binaries.ts";
import { startMotoServer } from "./moto.ts";
import { freePorts, makeDir, removeDir, startServer, until } from "./process.ts";

/** An S3 server on 127.0.0.1 with one empty bucket. */
export interface S3 extends AsyncDisposable {
  endpoint: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
  bucket: string;
  /** The credentials and region as environment variables of the AWS SDKs. */
  env: Readonly<Record<string, string>>;
  /** The location of a prefix in the bucket, as lifeboat takes it. */
  location(prefix: string): string;
  /** With versitygw, the bucket's objects lie in `<dir>/data/<bucket>` as files. */
  dir: string;
  stop(): Promise<void>;
}

/** Starts versitygw, which checks signatures, or moto, whose keys are no files. With `objectLock` the bucket can hold objects. */
export async function startS3(
  options: { server?: "versitygw" | "moto"; bucket?: string; objectLock?: boolean } = {},
): Promise<S3> {
  const { server = "versitygw", bucket = "backups", objectLock = false } = options;
  const dir = makeDir("s3");
  const [port = 0] = await freePorts(1);
  const endpoint = `http://127.0.0.1:${port}`;
  const region = "us-east-1";
  const accessKeyId = "RIGACCESSKEY00000000";
  const secretAccessKey = "rig-secret-access-key";
  const data = join(dir, "data");
  const versions = join(dir, "versions");
  await mkdir(data);
  await mkdir(versions);
  const process =
    server === "moto"
      ? await startMotoServer(dir, port)
      : startServer(
          dir,
          "versitygw",
          await binary("versitygw"),
          [
            "--port",
            `127.0.0.1:${port}`,
            "--region",
            region,
            "--health",
            "/health",
            "--quiet",
            "posix",
            ...(objectLock ? ["--versioning-dir", versions] : []),
            data,
          ],
          { ROOT_ACCESS_KEY_ID: accessKeyId, ROOT_SECRET_ACCESS_KEY: secretAccessKey },
        );
  const stop = async () => {
    await process.stop();
    await removeDir(dir);
  };
  try {
    const client = new S3Client({
      endpoint,
      region,
      forcePathStyle: true,
      credentials: { accessKeyId, secretAccessKey },
    });
    await until("the S3 server", async () => (await fetch(`${endpoint}/health`)).status > 0, { servers: [process] });
    await client.send(new CreateBucketCommand({ Bucket: bucket, ObjectLockEnabledForBucket: objectLock }));
    client.destroy();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    endpoint,
    region,
    accessKeyId,
    secretAccessKey,
    bucket,
    env: { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_REGION: region },
    location: (prefix) =>
      `s3://${bucket}/${prefix}?${new URLSearchParams({ region, endpoint, forcePathStyle: "true" })}`,
    dir,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
