import {
  AKS_SERVER_ID,
  type AksReference,
  LifeboatError,
  type ManagedClusters,
  readKubeconfig,
  unlessMissing,
} from "../../core/index.ts";
import { ask } from "./ask.ts";
import { azureToken, callManager, type ManagerAnswer } from "./manager.ts";

/** What is read of Azure's `ManagedCluster`. */
interface Cluster {
  id?: string;
  name?: string;
  tags?: Record<string, string>;
  properties?: { provisioningState?: string };
}

const API_VERSION = "2024-09-01";
const NAME = /^[\w.()-]*[\w()-]$/;

/**
 * AKS clusters, as `azureCredential`. The endpoint comes from Azure Resource Manager's `listClusterUserCredential` (role
 * Azure Kubernetes Service Cluster User), of whose kubeconfig only the server and its authority are taken; the token is
 * one of Microsoft Entra ID, so the cluster must use that.
 */
export function aksClusters(): ManagedClusters<AksReference> {
  return {
    async endpoint({ subscription, resourceGroup, name, clientId }, signal) {
      const path = `${pathOf({ subscription, resourceGroup, name })}/listClusterUserCredential?api-version=${API_VERSION}`;
      const wanted = `read the endpoint of the AKS cluster ${name}`;
      const call = { wanted, method: "POST", path, clientId, signal } as const;
      const { body } = await callManager<{ kubeconfigs?: { value?: string }[] }>(call);
      const kubeconfig = body.kubeconfigs?.[0]?.value;
      if (!kubeconfig) throw new LifeboatError("missing", `can't ${wanted}: Azure gave no kubeconfig`);
      const { server, tls } = readKubeconfig(Buffer.from(kubeconfig, "base64").toString());
      return { server, ca: tls.ca?.toString() };
    },

    async *list({ subscription = "", resourceGroup, name, clientId }, signal) {
      const wanted = `list the AKS clusters of subscription ${subscription}`;
      const ask = { wanted, method: "GET", clientId, signal } as const;
      const version = `?api-version=${API_VERSION}`;
      if (resourceGroup !== undefined && name !== undefined) {
        const path = `${pathOf({ subscription, resourceGroup, name })}${version}`;
        const found = await unlessMissing(callManager<Cluster>({ ...ask, path }));
        yield* found ? readable(found.body) : [];
        return;
      }
      let path: string | undefined = `${pathOf({ subscription })}${version}`;
      while (path !== undefined) {
        const page: ManagerAnswer<{ value?: Cluster[]; nextLink?: string }> = await callManager({ ...ask, path });
        for (const cluster of page.body.value ?? []) yield* readable(cluster);
        path = page.body.nextLink || undefined;
      }

      function* readable({ id = "", name, tags, properties }: Cluster) {
        const resourceGroup = /\/resourceGroups\/([^/]+)\//i.exec(id)?.[1];
        const isThere = !["Creating", "Deleting"].includes(properties?.provisioningState ?? "");
        if (!name || !resourceGroup || !isThere) return;
        yield { reference: { subscription, resourceGroup, name, ...(clientId && { clientId }) }, tags: tags ?? {} };
      }
    },

    async token({ clientId }, signal) {
      const { token, expiresOnTimestamp } = await ask("get a token for AKS clusters", signal, (abortSignal) =>
        azureToken(`${AKS_SERVER_ID}/.default`, clientId, abortSignal),
      );
      return { token, expires: new Date(expiresOnTimestamp) };
    },
  };
}

/** Where the manager has a cluster, or all those of a subscription. Throws `invalid` for what would lead elsewhere. */
function pathOf({
  subscription,
  resourceGroup,
  name,
}: Pick<AksReference, "subscription"> & Partial<AksReference>): string {
  for (const part of [subscription, resourceGroup ?? "a", name ?? "a"]) {
    if (!NAME.test(part))
      throw new LifeboatError("invalid", `no part of an AKS cluster's name is ${JSON.stringify(part)}`);
  }
  const group = resourceGroup === undefined ? "" : `/resourceGroups/${resourceGroup}`;
  const clusters = `/subscriptions/${subscription}${group}/providers/Microsoft.ContainerService/managedClusters`;
  return name === undefined ? clusters : `${clusters}/${name}`;
}
