import type { Kube } from "../../kube/client.ts";
import { configMapText } from "../../kube/configmap.ts";
import type { RestoreSpec } from "../spec.ts";
import { readModifiers } from "./modifierfile.ts";
import type { ModifierRule } from "./modifiers.ts";

const NAMED = { field: "resourceModifier", what: "resource modifiers" };

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

/** The text of the rules: of a ConfigMap it is that of its one key (Velero GetResourceModifiersFromConfig). Throws as `configMapText`. */
async function modifiersText(
  { resourceModifierRules, resourceModifier }: Named,
  kube: Kube,
  signal: AbortSignal,
): Promise<{ text?: string; source: string }> {
  if (resourceModifier) return configMapText(kube, resourceModifier.name, NAMED, signal);
  return { text: resourceModifierRules, source: "resourceModifierRules" };
}
