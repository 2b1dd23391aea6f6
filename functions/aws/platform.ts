import type { Platform } from "../../core/index.ts";

/** What AWS offers. The SDK of each part is loaded when the part is first used. */
export const aws: Platform = {
  buckets: { "s3:": async (location) => (await import("./bucket.ts")).s3Bucket(location) },
  secrets: { "aws-sm:": async () => (await import("./secrets.ts")).awsSecrets() },
  clusters: { eks: async () => (await import("./clusters.ts")).eksClusters() },
  disks: { aws: async () => (await import("./disks.ts")).ebsDisks() },
  jobs: async () =>
    (await import("./jobs.ts")).stateMachineJobs({ stateMachine: process.env.LIFEBOAT_STATE_MACHINE ?? "" }),
  memory: () => Number(process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE) * 1024 * 1024 || undefined,
};
