import type { KubernetesObject } from "../archive/item.ts";
import { bootstrapObjects } from "./bootstrap.ts";
import { adopt, createCluster, objectsOf } from "./cluster.ts";
import { VERBS } from "./discovery.ts";
import { type Listening, listen } from "./listen.ts";
import { answer } from "./routes.ts";
import { write } from "./writes.ts";

/** A running API server. */
export interface ApiServer extends Listening {
  /** How many objects it holds now. */
  count(): number;
}

/**
 * Starts a small Kubernetes API server in this process, over plain HTTP on 127.0.0.1 (on a free port where none is
 * given). It holds its objects in memory: what every new cluster has of itself, and `objects` as they are, with their
 * uids and statuses.
 *
 * It does discovery (both kinds), list (limit, continue, selectors, exact revisions), get, Table output and metadata
 * alone, create, update, merge patch and delete, the status subresource, dry runs, custom resources; it fills in what
 * clients rely on (uids, revisions, generations, Service addresses, a namespace's `default` ServiceAccount). It does not:
 * authenticate, watch, validate beyond names, default, run admission, keep immutable fields, convert between versions
 * (each shows the stored fields), track managed fields, speak anything but JSON, serve OpenAPI, take strategic, JSON or
 * apply patches, offer subresources other than status, or play a controller (no Pods for a Deployment, no garbage
 * collection). Every version of every object is kept until it ends. Throws `invalid` where an object is of a kind it
 * doesn't know.
 */
export async function startApiServer(
  options: { objects?: Iterable<KubernetesObject>; port?: number; gitVersion?: string } = {},
): Promise<ApiServer> {
  const cluster = createCluster();
  adopt(cluster, bootstrapObjects());
  adopt(cluster, options.objects ?? []);
  const { port, gitVersion = "v1.36.3+lifeboat" } = options;
  const objects = objectsOf(cluster);
  const listening = await listen(
    async (call) => {
      const backend = { served: cluster.served, objects, verbs: VERBS, gitVersion, now: () => new Date() };
      return await answer({ ...backend, other: (target) => write(cluster, target, call) }, call);
    },
    { port },
  );
  return { ...listening, count: () => cluster.store.count() };
}
