import type { Platform } from "../../core/index.ts";

/** The queue that carries jobs, in the function app's own storage account. */
export const QUEUE = process.env.LIFEBOAT_QUEUE ?? "lifeboat-jobs";

/** What Azure offers. The SDK of each part is loaded when the part is first used. */
export const azure: Platform = {
  buckets: { "azblob:": async (location) => (await import("./bucket.ts")).azureBlobBucket(location) },
  secrets: { "azure-kv:": async () => (await import("./secrets.ts")).keyVaultSecrets() },
  clusters: { aks: async () => (await import("./clusters.ts")).aksClusters() },
  disks: { azure: async () => (await import("./disks.ts")).azureDisks() },
  jobs: async () => {
    const account = process.env.AzureWebJobsStorage__accountName ?? "";
    return (await import("./jobs.ts")).storageQueueJobs({ account, queue: QUEUE });
  },
  memory: () => process.constrainedMemory() || undefined,
};
