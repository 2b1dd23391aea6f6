import { type ClusterSources, openCluster } from "./cluster.ts";
import type { Config } from "./config.ts";
import { clusterOf } from "./configured.ts";
import { isLifeboatError, LifeboatError } from "./errors.ts";
import type { Kube } from "./kube/client.ts";
import type { Platform } from "./ports.ts";
import type { Copies } from "./volumes/copies.ts";
import { volumeMeans } from "./volumes/means.ts";
import type { RemovalMeans } from "./volumes/remover.ts";

type Deployment = {
  config: Pick<Config, "clusters" | "location" | "volumes">;
  disks: Platform["disks"];
} & ClusterSources;

/**
 * The means of a deployment to remove copies of volumes. A backup's cluster is the one of the configuration that its record
 * names, or, where it names none, the one with the same API server; each is opened once, and closed with what this gives.
 */
export function configuredRemoval({ config, disks, ...sources }: Deployment): RemovalMeans & AsyncDisposable {
  const clients = openedOnce((name: string, signal) => openCluster(clusterOf(config, name), sources, { signal }));

  async function byServer({ backup, server }: Pick<Copies, "backup" | "server">, signal: AbortSignal): Promise<Kube> {
    for (const name of Object.keys(config.clusters)) {
      const kube = await clients.open(name, signal).catch((error) => {
        if (!isLifeboatError(error)) throw error;
      });
      if (kube && server !== undefined && kube.server === server) return kube;
    }
    throw new LifeboatError("invalid", `backup "${backup}" is of no cluster of the configuration`, {
      hint: `delete it by the command line: lifeboat backup delete ${backup}, with --kubeconfig or --cluster`,
    });
  }

  return {
    ...volumeMeans(config.volumes, { location: config.location, secrets: sources.secrets, disks }),
    cluster: (of, signal) => (of.cluster === undefined ? byServer(of, signal) : clients.open(of.cluster, signal)),
    [Symbol.asyncDispose]: () => clients.close(),
  };
}

/** Clients that are opened when they are first asked for, whoever asks, and closed together. */
export function openedOnce<Which>(open: (which: Which, signal: AbortSignal) => Promise<Kube>): {
  open(which: Which, signal: AbortSignal): Promise<Kube>;
  close(): Promise<void>;
} {
  const opened = new Map<Which, Promise<Kube>>();
  return {
    open(which, signal) {
      const opening = opened.get(which) ?? open(which, signal);
      opened.set(which, opening);
      return opening;
    },
    async close() {
      const ended = await Promise.allSettled(opened.values());
      await Promise.all(ended.map((one) => (one.status === "fulfilled" ? one.value.close() : undefined)));
    },
  };
}
