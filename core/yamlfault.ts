import type { ErrorCode, LineCounter, YAMLParseError } from "yaml";

const REASONS: Partial<Record<ErrorCode, string>> = {
  BAD_INDENT: "it is indented as no line before it, or a [ or { before it is not closed",
  BAD_SCALAR_START: "a value begins with a character that YAML has for itself: put it in quotes",
  BLOCK_AS_IMPLICIT_KEY: 'there are two ": " in it: put the value in quotes',
  DUPLICATE_KEY: "its key stands there twice",
  MISSING_CHAR: "a quote, a bracket, a comma or a colon is missing in it or before it",
  MULTILINE_IMPLICIT_KEY: 'it has no ": "',
  TAB_AS_INDENT: "it is indented by a tab: use spaces",
};

/**
 * What is wrong with a text that the parser found errors in, in words that quote nothing of it, and the line to look at, from 1.
 * The parser tells of a line that is indented too far where the value before it begins.
 */
export function yamlFault(errors: readonly YAMLParseError[], lines: LineCounter): { line: number; reason: string } {
  const [first] = errors;
  if (!first) throw new Error("a text without errors has no fault");
  const span = errors.find(({ code, pos }) => code === "MULTILINE_IMPLICIT_KEY" && pos[0] === first.pos[0]);
  if (first.code === "BLOCK_AS_IMPLICIT_KEY" && span)
    return {
      line: lines.linePos(span.pos[1]).line,
      reason: "it is indented further than the line before it, which has a value already",
    };
  const reason = REASONS[first.code] ?? first.code.toLowerCase().replaceAll("_", " ");
  return { line: lines.linePos(first.pos[0]).line || 1, reason };
}
