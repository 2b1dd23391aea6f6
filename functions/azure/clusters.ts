import {
  AKS_SERVER_ID,
  type AksReference,
  LifeboatError,
  type ManagedClusters,
  readKubeconfig,
} from "../../core/index.ts";
import { ask } from "./ask.ts";
import { azureToken, callManager } from "./manager.ts";

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
      for (const part of [subscription, resourceGroup, name]) {
        if (!NAME.test(part))
          throw new LifeboatError("invalid", `no part of an AKS cluster's name is ${JSON.stringify(part)}`);
      }
      const cluster = `/subscriptions/${subscription}/resourceGroups/${resourceGroup}/providers/Microsoft.ContainerService/managedClusters/${name}`;
      const path = `${cluster}/listClusterUserCredential?api-version=${API_VERSION}`;
      const wanted = `read the endpoint of the AKS cluster ${name}`;
      const call = { wanted, method: "POST", path, clientId, signal } as const;
      const { body } = await callManager<{ kubeconfigs?: { value?: string }[] }>(call);
      const kubeconfig = body.kubeconfigs?.[0]?.value;
      if (!kubeconfig) throw new LifeboatError("missing", `can't ${wanted}: Azure gave no kubeconfig`);
      const { server, tls } = readKubeconfig(Buffer.from(kubeconfig, "base64").toString());
      return { server, ca: tls.ca?.toString() };
    },

    async token({ clientId }, signal) {
      const { token, expiresOnTimestamp } = await ask("get a token for AKS clusters", signal, (abortSignal) =>
        azureToken(`${AKS_SERVER_ID}/.default`, clientId, abortSignal),
      );
      return { token, expires: new Date(expiresOnTimestamp) };
    },
  };
}
