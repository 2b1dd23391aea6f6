import type { Consistency } from "../../../core/index.ts";
import { printable } from "../output.ts";

/** Whether a backup is one point in time, in a line. */
export function consistencyText(consistency: Consistency | undefined): string {
  if (!consistency) return "not known: not a backup of lifeboat";
  const { grade, resourceVersion, exceptions } = consistency;
  if (grade === "exact") return `exact: one point in time, revision ${printable(resourceVersion)}`;
  const count = exceptions.length === 1 ? "1 resource" : `${exceptions.length} resources`;
  return `mixed: revision ${printable(resourceVersion)}, but for ${count}`;
}

/** The resources that were not read at the backup's revision, with the reasons; "" where there are none. */
export function exceptionsBlock(consistency: Consistency | undefined): string {
  if (!consistency?.exceptions.length) return "";
  const lines = consistency.exceptions.map(({ resource, reason }) => `  ${printable(resource)}: ${printable(reason)}`);
  return `\nNot read at that revision:\n${lines.join("\n")}\n`;
}
