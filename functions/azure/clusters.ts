import {
  AKS_SERVER_ID,
  type AksReference,
  LifeboatError,
  type ManagedClusters,
  readKubeconfig,
} from "../../core/index.ts";
import { azureCredential } from "./access.ts";
import { ask } from "./ask.ts";

const API_VERSION = "2024-09-01";
const NAME = /^[\w.()-]*[\w()-]$/;

/**
 * AKS clusters, as `azureCredential`. The endpoint comes from Azure Resource Manager's `listClusterUserCredential` (role
 * Azure Kubernetes Service Cluster User), of whose kubeconfig only the server and its authority are taken; the token is
 * one of Microsoft Entra ID, so the cluster must use that. LIFEBOAT_AZURE_RESOURCE_MANAGER: another manager's URL than
 * https://management.azure.com, for sovereign clouds.
 */
export function aksClusters(): ManagedClusters<AksReference> {
  const tokenFor = async (scope: string, clientId: string | undefined, abortSignal: AbortSignal) => {
    const token = await azureCredential(clientId).getToken(scope, { abortSignal });
    if (!token) throw new LifeboatError("denied", "Azure gave no token");
    return token;
  };

  return {
    async endpoint({ subscription, resourceGroup, name, clientId }, signal) {
      const manager = managerUrl();
      for (const part of [subscription, resourceGroup, name]) {
        if (!NAME.test(part))
          throw new LifeboatError("invalid", `no part of an AKS cluster's name is ${JSON.stringify(part)}`);
      }
      const cluster = `subscriptions/${subscription}/resourceGroups/${resourceGroup}/providers/Microsoft.ContainerService/managedClusters/${name}`;
      const url = `${manager}/${cluster}/listClusterUserCredential?api-version=${API_VERSION}`;
      const wanted = `read the endpoint of the AKS cluster ${name}`;
      const answer = await ask(wanted, signal, async (abortSignal) => {
        const { token } = await tokenFor(`${manager}/.default`, clientId, abortSignal);
        const headers = { authorization: `Bearer ${token}` };
        const response = await fetch(url, { method: "POST", headers, signal: abortSignal, redirect: "error" });
        if (!response.ok) throw await refusal(response);
        return parse(await response.text()) as { kubeconfigs?: { value?: string }[] };
      });
      const kubeconfig = answer.kubeconfigs?.[0]?.value;
      if (!kubeconfig) throw new LifeboatError("missing", `can't ${wanted}: Azure gave no kubeconfig`);
      const { server, tls } = readKubeconfig(Buffer.from(kubeconfig, "base64").toString());
      return { server, ca: tls.ca?.toString() };
    },

    async token({ clientId }, signal) {
      const wanted = "get a token for AKS clusters";
      const { token, expiresOnTimestamp } = await ask(wanted, signal, (abortSignal) =>
        tokenFor(`${AKS_SERVER_ID}/.default`, clientId, abortSignal),
      );
      return { token, expires: new Date(expiresOnTimestamp) };
    },
  };
}

function managerUrl(): string {
  const text = process.env.LIFEBOAT_AZURE_RESOURCE_MANAGER || "https://management.azure.com";
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === "https:") return url.origin;
  throw new LifeboatError("invalid", "LIFEBOAT_AZURE_RESOURCE_MANAGER is not an https URL");
}

/** An answer of Azure Resource Manager, as an error of its SDKs. */
async function refusal(response: Response): Promise<Error> {
  const { error } = parse(await response.text().catch(() => "")) as { error?: { code?: unknown; message?: unknown } };
  const message = String(error?.message ?? response.statusText);
  return Object.assign(new Error(message), { code: error?.code, statusCode: response.status });
}

/** The object that is in a JSON text, or an empty one: what isn't JSON may hold a kubeconfig, and isn't told. */
function parse(text: string): object {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}
