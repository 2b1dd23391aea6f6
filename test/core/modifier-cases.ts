import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments, stringify } from "yaml";
import type { KubernetesObject } from "../../core/archive/item.ts";

/** The first document of a file in test/golden/modifiers, and the two others: an object of a backup and what is sent of it. */
export interface ModifierCase {
  name: string;
  /** A group-resource string. */
  resource: string;
  rules: { conditions: Record<string, unknown>; [patches: string]: unknown }[];
  /** What is told, behind "resource modifier (". */
  problems?: string[];
  /** Why real Velero does otherwise. */
  velero?: string;
  /** How many errors Velero tells, where that is another number than that of `problems`. */
  veleroErrors?: number;
  object: KubernetesObject;
  expected: KubernetesObject;
}

const folder = join(import.meta.dirname, "../golden/modifiers");

export function modifierCases(): ModifierCase[] {
  return readdirSync(folder).map((file) => {
    const documents = parseAllDocuments(readFileSync(join(folder, file), "utf8")).map((one) => one.toJS());
    const [about, object, expected] = documents;
    return { ...about, name: file.replace(".yaml", ""), object, expected };
  });
}

/** A modifier file of these rules. */
export function rulesText(rules: ModifierCase["rules"]): string {
  return stringify({ version: "v1", resourceModifierRules: rules }, { aliasDuplicateObjects: false });
}
