import type { KubernetesObject } from "../archive/item.ts";
import { LifeboatError } from "../errors.ts";
import { expectOk, type Kube } from "./client.ts";
import { resourcePath } from "./resource.ts";

const NAMESPACE = "velero";
const CONFIG_MAPS = { group: "", version: "v1", name: "configmaps" };

/** A text out of a cluster, and what it is of, for messages. */
export interface SourcedText {
  text: string;
  source: string;
}

/**
 * The text of the one key of a ConfigMap in the namespace `velero`, where Velero keeps what its specs name. `field` is the spec's and
 * `what` its content, for messages. Throws `invalid` for one that isn't there or has other than one key, and what `expectOk` throws.
 */
export async function configMapText(
  kube: Kube,
  name: string,
  { field, what }: { field: string; what: string },
  signal: AbortSignal,
): Promise<SourcedText> {
  const source = `ConfigMap ${NAMESPACE}/${name}`;
  const response = await kube.request({ path: resourcePath(CONFIG_MAPS, NAMESPACE, name), signal });
  if (response.status === 404)
    throw new LifeboatError("invalid", `${field} names the ${source}, which the cluster doesn't have`, {
      hint: `create it there: kubectl -n ${NAMESPACE} create configmap ${name} --from-file FILE`,
    });
  const { data = {} } = JSON.parse(expectOk(response, `get the ${source}`).body.toString("utf8")) as KubernetesObject;
  const texts = Object.entries(data as Record<string, string>);
  if (texts.length !== 1)
    throw new LifeboatError("invalid", `the ${source} has ${texts.length} keys; ${what} are exactly one`);
  return { text: texts[0]![1], source: `${source}, ${texts[0]![0]}` };
}
