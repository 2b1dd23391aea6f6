import type { KubernetesObject } from "../../archive/item.ts";
import { LifeboatError } from "../../errors.ts";
import { expectOk, type Kube } from "../../kube/client.ts";
import { resourcePath } from "../../kube/resource.ts";
import type { RestoreSpec } from "../spec.ts";
import { readModifiers } from "./modifierfile.ts";
import type { ModifierRule } from "./modifiers.ts";

const NAMESPACE = "velero";
const CONFIG_MAPS = { group: "", version: "v1", name: "configmaps" };

type Named = Pick<RestoreSpec, "resourceModifierRules" | "resourceModifier">;

/** The rules that a spec has or names. Throws `invalid` for broken ones, and as `modifiersText`. */
export async function modifiersOf(spec: Named, kube: Kube, signal: AbortSignal): Promise<ModifierRule[] | undefined> {
  const { text, source } = await modifiersText(spec, kube, signal);
  return text === undefined ? undefined : await readModifiers(text, source);
}

/** The spec with its rules themselves in place of their ConfigMap, which may change: for plans. Throws as `modifiersOf`. */
export async function withModifiers<Spec extends Named>(spec: Spec, kube: Kube, signal: AbortSignal): Promise<Spec> {
  if (!spec.resourceModifier) return spec;
  const { text, source } = await modifiersText(spec, kube, signal);
  await readModifiers(text!, source);
  const { resourceModifier: _, ...rest } = spec;
  return { ...rest, resourceModifierRules: text } as Spec;
}

/**
 * The text of the rules: of a ConfigMap it is that of its one key (Velero GetResourceModifiersFromConfig), in the target's namespace
 * `velero`. Throws `invalid` for one that isn't there or has other than one, and what `expectOk` throws.
 */
async function modifiersText(
  { resourceModifierRules, resourceModifier }: Named,
  kube: Kube,
  signal: AbortSignal,
): Promise<{ text?: string; source: string }> {
  if (!resourceModifier) return { text: resourceModifierRules, source: "resourceModifierRules" };
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
  return { text: texts[0]![1], source: `${source}, ${texts[0]![0]}` };
}
