import type { RestoreCounts } from "../../../core/index.ts";
import { countText } from "../output.ts";

/** "118 created, 3 skipped": what became of how many objects. */
export function countsText(counts: RestoreCounts): string {
  const parts = Object.entries(counts).filter(([, count]) => count > 0);
  return parts.map(([outcome, count]) => `${countText(count)} ${outcome}`).join(", ") || "none";
}
