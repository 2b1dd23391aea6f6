import { expectOk, type Kube } from "./client.ts";

/**
 * Which cluster this is: the UID of its Namespace kube-system, which it has as long as it lives. Undefined where that can't
 * be read. Throws what the API server answers else.
 */
export async function readClusterUid(kube: Kube, signal: AbortSignal): Promise<string | undefined> {
  const response = await kube.request({ path: "/api/v1/namespaces/kube-system", signal });
  if (response.status === 403 || response.status === 404) return undefined;
  const { metadata } = JSON.parse(expectOk(response, "tell which cluster it is").body.toString("utf8"));
  return metadata.uid;
}
