import type { Platform } from "../../core/index.ts";

/** What Google Cloud offers. The SDK of each part is loaded when the part is first used. */
export const gcp: Platform = {
  buckets: { "gs:": async (location) => (await import("./bucket.ts")).gcsBucket(location) },
  secrets: { "gcp-sm:": async () => (await import("./secrets.ts")).googleSecrets() },
  clusters: { gke: async () => (await import("./clusters.ts")).gkeClusters() },
  disks: { gcp: async () => (await import("./disks.ts")).gceDisks() },
  jobs: async () => {
    const { LIFEBOAT_TASKS_QUEUE: queue = "", LIFEBOAT_TASKS_URL: url = "" } = process.env;
    const { LIFEBOAT_TASKS_SERVICE_ACCOUNT: serviceAccount = "" } = process.env;
    return (await import("./jobs.ts")).cloudTasksJobs({ queue, url, serviceAccount });
  },
  memory: () => process.constrainedMemory() || undefined,
};
