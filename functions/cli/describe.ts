import { type LabelSelector, selectorText } from "../../core/index.ts";
import { countText, fields, printable } from "./output.ts";

type Spec = Record<string, unknown>;

/** Who takes part, by a BackupSpec or RestoreSpec, Velero's newer filters among them. */
export function filtersText(spec: Spec, everyNamespace: string): string {
  const scopes = [
    ["Included cluster-scoped", spec.includedClusterScopedResources],
    ["Excluded cluster-scoped", spec.excludedClusterScopedResources],
    ["Included namespace-scoped", spec.includedNamespaceScopedResources],
    ["Excluded namespace-scoped", spec.excludedNamespaceScopedResources],
  ].filter(([, names]) => Array.isArray(names) && names.length > 0);
  const namespaces: [string, string][] = [
    ["Included", listText(spec.includedNamespaces, everyNamespace)],
    ["Excluded", listText(spec.excludedNamespaces, "<none>")],
  ];
  const resources: [string, string][] = [
    ["Included", listText(spec.includedResources, "*")],
    ["Excluded", listText(spec.excludedResources, "<none>")],
    ["Cluster-scoped", { true: "included", false: "excluded" }[String(spec.includeClusterResources)] ?? "auto"],
    ...scopes.map(([name, names]): [string, string] => [String(name), listText(names, "")]),
  ];
  return [
    `Namespaces:\n${fields(namespaces, "  ")}`,
    `Resources:\n${fields(resources, "  ")}`,
    fields([["Label selector", selectorOf(spec)]]),
  ].join("\n\n");
}

/** A list of names of a spec, or what an empty one stands for. */
export function listText(names: unknown, empty: string): string {
  return Array.isArray(names) && names.length > 0 ? printable(names.join(", ")) : empty;
}

function selectorOf({ labelSelector, orLabelSelectors }: Spec): string {
  const selectors = [labelSelector, ...(Array.isArray(orLabelSelectors) ? orLabelSelectors : [])].filter(Boolean);
  const texts = selectors.map((selector) => selectorText(selector as LabelSelector));
  return texts.length > 0 ? printable(texts.join(" or ")) : "<none>";
}

/** Velero's resource list as text. */
export function detailsBlock(resources: Record<string, string[]> | undefined): string {
  if (!resources) return "\nResource List:  <not found>\n";
  const blocks = Object.entries(resources).map(([type, names]) =>
    [`  ${printable(type)} (${countText(names.length)}):`, ...names.map((name) => `    - ${printable(name)}`)].join(
      "\n",
    ),
  );
  return `\nResource List:\n${blocks.join("\n")}\n`;
}
