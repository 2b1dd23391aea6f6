import { groupProblems, type Problem, problemLine, someOf } from "../../core/index.ts";
import { countText, printable } from "./output.ts";

/** A run's problems as a block under a heading, at most `most` of them; "" where there are none. */
export function problemBlock(heading: string, problems: Problem[], most = Number.POSITIVE_INFINITY): string {
  return lineBlock(heading, problemLines(problems), most);
}

/** The same of lines. */
export function lineBlock(heading: string, lines: string[], most = Number.POSITIVE_INFINITY): string {
  if (lines.length === 0) return "";
  const shown = lines.slice(0, most).map((line) => `  ${printable(line)}`);
  const more = lines.length > most ? [`  … and ${countText(lines.length - most)} more`] : [];
  return `\n${[`${heading}:`, ...shown, ...more].join("\n")}\n`;
}

/** Problems of many objects that say the same are one line: a hundred of them hide all others. */
const ALIKE = 4;

function problemLines(problems: Problem[]): string[] {
  const alike = new Set(
    groupProblems(problems).flatMap(({ message, names }) => (names.length >= ALIKE ? [message] : [])),
  );
  const grouped = groupProblems(problems.filter(({ message }) => alike.has(message)));
  return [
    ...grouped.map(({ message, names }) => `${countText(names.length)} objects: ${message}: ${someOf(names, 3)}`),
    ...problems.filter(({ message }) => !alike.has(message)).map(problemText),
  ];
}

/** What Velero's results tell of a problem is where it was found; ours also tell of which object. */
function problemText(problem: Problem): string {
  if (problem.resource || !problem.namespace) return problemLine(problem);
  return `namespace ${problem.namespace}: ${problem.message}`;
}
