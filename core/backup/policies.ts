import { parse } from "yaml";
import { z } from "zod";
import { isLifeboatError, LifeboatError, messageOf } from "../errors.ts";
import { fieldProblems, problemText, strictFields } from "../fields.ts";
import type { Kube } from "../kube/client.ts";
import { configMapText } from "../kube/configmap.ts";
import { anyGlob, checkNamespacePattern, isEmptySelector, labelSelectorSchema } from "../select.ts";
import type { BackupSpec } from "../specs.ts";
import { type VolumePolicy, volumePolicy } from "../volumes/policies.ts";

const texts = z.array(z.string()).nullish();

const includeExcludePolicy = strictFields({
  includedClusterScopedResources: texts,
  excludedClusterScopedResources: texts,
  includedNamespaceScopedResources: texts,
  excludedNamespaceScopedResources: texts,
}).superRefine((policy, context) => {
  for (const scope of ["ClusterScopedResources", "NamespaceScopedResources"] as const) {
    const [included, excluded] = [policy[`included${scope}`] ?? [], policy[`excluded${scope}`] ?? []];
    for (const [list, names] of Object.entries({ included, excluded }))
      if (names.includes("*")) tell(context, [`${list}${scope}`], 'can\'t hold "*" here');
    const both = included.find((name) => excluded.includes(name));
    if (both) tell(context, [`included${scope}`], `holds "${both}", and so does excluded${scope}`);
  }
});

const resourceFilter = strictFields({
  /** None or "*": all that no other filter names. */
  kinds: texts,
  labelSelector: labelSelectorSchema.nullish(),
  orLabelSelectors: z.array(labelSelectorSchema).nullish(),
  names: texts,
  excludedNames: texts,
}).superRefine(({ labelSelector, orLabelSelectors, names, excludedNames }, context) => {
  attempt(context, ["labelSelector"], () => {
    for (const selector of [labelSelector ?? {}, ...(orLabelSelectors ?? [])]) isEmptySelector(selector);
    if (labelSelector && !isEmptySelector(labelSelector) && orLabelSelectors?.length)
      throw new LifeboatError("invalid", "can't be given together with orLabelSelectors");
  });
  attempt(context, ["names"], () => anyGlob(names ?? []));
  attempt(context, ["excludedNames"], () => anyGlob(excludedNames ?? []));
});

/** One entry of a policy: which objects of these kinds take part. */
export type ResourceFilter = z.infer<typeof resourceFilter>;

/** Whether it is for all kinds that no other entry names. */
export function isCatchAll({ kinds }: ResourceFilter): boolean {
  return !kinds?.length || (kinds.length === 1 && kinds[0] === "*");
}

const clusterScopedFilterPolicy = strictFields({
  resourceFilters: z.array(resourceFilter).min(1, "has no filter"),
}).superRefine(({ resourceFilters }, context) => {
  if (resourceFilters.some(isCatchAll)) tell(context, ["resourceFilters"], "must all have kinds");
  checkKinds(resourceFilters, context);
});

const namespacedFilterPolicy = strictFields({
  namespaces: z.array(z.string()).min(1, "names no namespace"),
  resourceFilters: z.array(resourceFilter).min(1, "has no filter"),
}).superRefine(({ namespaces, resourceFilters }, context) => {
  for (const name of namespaces) attempt(context, ["namespaces"], () => checkNamespacePattern(name, { loosely: true }));
  const catchAll = resourceFilters.filter(isCatchAll);
  if (catchAll.length > 1) tell(context, ["resourceFilters"], "has two that are for all kinds");
  if (catchAll.some(({ names, excludedNames }) => names?.length || excludedNames?.length))
    tell(context, ["resourceFilters"], "can't have names where it is for all kinds");
  checkKinds(resourceFilters, context);
});

const policies = strictFields({
  version: z.literal("v1", { error: "is v1" }),
  volumePolicies: z.array(volumePolicy).nullish(),
  includeExcludePolicy: includeExcludePolicy.nullish(),
  clusterScopedFilterPolicy: clusterScopedFilterPolicy.nullish(),
  namespacedFilterPolicies: z.array(namespacedFilterPolicy).nullish(),
}).superRefine(({ namespacedFilterPolicies }, context) => {
  const patterns = (namespacedFilterPolicies ?? []).flatMap(({ namespaces }) => namespaces);
  const twice = patterns.find((pattern, at) => patterns.indexOf(pattern) !== at);
  if (twice) tell(context, ["namespacedFilterPolicies"], `names "${twice}" twice`);
});

/** Velero's resource policies (velero-format: 4.10): which objects take part, and which volumes' data are copied how. */
export type ResourcePolicies = z.infer<typeof policies>;

/** The text of the policies that a spec has or names; undefined where it has none. Throws `invalid` for broken ones, and as `configMapText`. */
export async function policiesText(
  { resourcePolicy, resourcePolicyRules }: BackupSpec,
  kube: Kube,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (!resourcePolicy) return resourcePolicyRules;
  const named = { field: "resourcePolicy", what: "resource policies" };
  const { text, source } = await configMapText(kube, resourcePolicy.name, named, signal);
  readPolicies(text, source);
  return text;
}

/** The policies of a spec on volumes: how each is copied, or that it isn't. */
export function volumePolicies({ resourcePolicyRules }: BackupSpec): VolumePolicy[] {
  return (resourcePolicyRules && readPolicies(resourcePolicyRules).volumePolicies) || [];
}

/** Reads resource policies as Velero does. Throws `invalid` with all that is wrong; `source` is a file's or a field's name. */
export function readPolicies(text: string, source = "resourcePolicyRules"): ResourcePolicies {
  let document: unknown;
  try {
    document = parse(text, { version: "1.1" });
  } catch (cause) {
    throw new LifeboatError("invalid", `${source}: it is no YAML: ${messageOf(cause).split("\n")[0]}`, { cause });
  }
  const parsed = policies.safeParse(document);
  if (parsed.success) return parsed.data;
  throw new LifeboatError("invalid", `${source}: ${fieldProblems(parsed.error).map(problemText).join("; ")}`);
}

function checkKinds(filters: ResourceFilter[], context: z.RefinementCtx): void {
  const kinds = filters.flatMap(({ kinds }) => kinds ?? []).filter((kind) => kind !== "*");
  const twice = kinds.find((kind, at) => kinds.indexOf(kind) !== at);
  if (twice) tell(context, ["resourceFilters"], `names the kind "${twice}" twice`);
}

function attempt(context: z.RefinementCtx, path: string[], read: () => void): void {
  try {
    read();
  } catch (error) {
    if (!isLifeboatError(error)) throw error;
    tell(context, path, error.message);
  }
}

function tell(context: z.RefinementCtx, path: string[], message: string): void {
  context.addIssue({ code: "custom", path, message });
}
