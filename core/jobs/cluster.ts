import { openCluster } from "../cluster.ts";
import { clusterName } from "../configured.ts";
import type { Kube } from "../kube/client.ts";
import { type VolumeMeans, volumeMeans } from "../volumes/means.ts";
import type { JobContext } from "./context.ts";
import type { LockedRun } from "./locked.ts";

/** What a job is done with that takes a cluster. */
export interface ClusterRun extends LockedRun {
  kube: Kube;
  volumes: VolumeMeans;
  /** Its name in the configuration. */
  cluster: string;
}

/** `work` with a client of the cluster, which is closed after it. */
export function onCluster<Document>(
  cluster: string | undefined,
  { config, secrets, clusters, disks }: JobContext,
  work: (run: ClusterRun) => Promise<Document>,
): (run: LockedRun) => Promise<Document> {
  return async (run) => {
    const named = clusterName(config, cluster);
    const kube = await openCluster(config.clusters[named]!, { secrets, clusters }, { signal: run.signal });
    try {
      const volumes = volumeMeans(config.volumes, { location: config.location, secrets, disks });
      return await work({ ...run, kube, volumes, cluster: named });
    } finally {
      await kube.close();
    }
  };
}
