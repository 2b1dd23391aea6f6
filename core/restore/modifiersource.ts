import type { KubernetesObject } from "../archive/item.ts";
import { LifeboatError } from "../errors.ts";
import { expectOk, type Kube } from "../kube/client.ts";
import { resourcePath } from "../kube/resource.ts";
import { readModifiers } from "./modifierfile.ts";
import type { ModifierRule } from "./modifiers.ts";
import type { RestoreSpec } from "./spec.ts";

const NAMESPACE = "velero";
const CONFIG_MAPS = { group: "", version: "v1", name: "configmaps" };

/**
 * The rules that a spec has or names: of a ConfigMap in the target's namespace `velero`, with exactly one key (Velero
 * GetResourceModifiersFromConfig). Throws `invalid` for broken rules and for a ConfigMap that isn't there, and what `expectOk` throws.
 */
export async function modifiersOf(
  { resourceModifierRules, resourceModifier }: Pick<RestoreSpec, "resourceModifierRules" | "resourceModifier">,
  kube: Kube,
  signal: AbortSignal,
): Promise<ModifierRule[] | undefined> {
  if (resourceModifierRules !== undefined) return readModifiers(resourceModifierRules, "resourceModifierRules");
  if (!resourceModifier) return undefined;
  const { name } = resourceModifier;
  const source = `ConfigMap ${NAMESPACE}/${name}`;
  const response = await kube.request({ path: resourcePath(CONFIG_MAPS, NAMESPACE, name), signal });
  if (response.status === 404)
    throw new LifeboatError("invalid", `resourceModifier names the ${source}, which the cluster doesn't have`, {
      hint: `create it there: kubectl -n ${NAMESPACE} create configmap ${name} --from-file FILE`,
    });
  const { data = {} } = JSON.parse(expectOk(response, `get the ${source}`).body.toString("utf8")) as KubernetesObject;
  const texts = Object.entries(data as Record<string, string>);
  if (texts.length !== 1)
    throw new LifeboatError("invalid", `the ${source} has ${texts.length} keys; resource modifiers are exactly one`);
  return readModifiers(texts[0]![1], `${source}, ${texts[0]![0]}`);
}
