import { type Problem, problemLine } from "../../core/index.ts";
import { countText, printable } from "./output.ts";

/** A run's problems as a block under a heading, at most `most` of them; "" where there are none. */
export function problemBlock(heading: string, problems: Problem[], most = Number.POSITIVE_INFINITY): string {
  if (problems.length === 0) return "";
  const shown = problems.slice(0, most).map((problem) => `  ${printable(problemText(problem))}`);
  const more = problems.length > most ? [`  … and ${countText(problems.length - most)} more`] : [];
  return `\n${[`${heading}:`, ...shown, ...more].join("\n")}\n`;
}

/** What Velero's results tell of a problem is where it was found; ours also tell of which object. */
function problemText(problem: Problem): string {
  if (problem.resource || !problem.namespace) return problemLine(problem);
  return `namespace ${problem.namespace}: ${problem.message}`;
}
