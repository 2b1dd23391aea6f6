import { LifeboatError } from "./errors.ts";

/**
 * A glob as gobwas/glob, Velero's, reads it: `*` and `?` stop at the separator (one character; none where not given), `**` does
 * not; `[abc]`, `[a-c]`, `[!abc]`, `{a,b}`; `\` takes the next character as it is. Throws `invalid` for a broken one.
 */
export function goGlob(pattern: string, separator = ""): RegExp {
  const one = separator ? `[^\\${separator}]` : ".";
  let open = 0;
  const source = pattern.replace(/\\.|\*\*+|\*|\?|\[!?[^\]]+\]|[{},]|[^\\*?[{},]+|./gsu, (part) => {
    if (part.startsWith("\\") && part.length > 1) return literal(part.slice(1));
    if (part === "*") return `${one}*`;
    if (part.startsWith("**")) return ".*";
    if (part === "?") return one;
    if (part.startsWith("[") && part.length > 1) return charactersOf(part);
    if (part === "{") open++;
    if (part === "{") return "(?:";
    if (part === "}" && open > 0) open--;
    else if (part === "}") throw broken(pattern, 'a "}" without its "{"');
    if (part === "}") return ")";
    if (part === "," && open > 0) return "|";
    if (part === "[" || part === "\\") throw broken(pattern, `a "${part}" without what belongs to it`);
    return literal(part);
  });
  if (open > 0) throw broken(pattern, 'a "{" without its "}"');
  try {
    return new RegExp(`^${source}$`, "su");
  } catch {
    throw broken(pattern, "a range that runs backwards");
  }
}

function charactersOf(part: string): string {
  const not = part.startsWith("[!");
  const characters = part.slice(not ? 2 : 1, -1);
  const range = /^.-.$/su.test(characters);
  const inside = range
    ? [...characters].map((one, at) => (at === 1 ? "-" : literal(one))).join("")
    : literal(characters);
  return `[${not ? "^" : ""}${inside}]`;
}

function literal(text: string): string {
  return text.replace(/[^a-z0-9]/giu, (one) => `\\u{${one.codePointAt(0)!.toString(16)}}`);
}

function broken(pattern: string, why: string): LifeboatError {
  return new LifeboatError("invalid", `the pattern "${pattern}" has ${why}`);
}
