import { z } from "zod";
import { meant } from "./nearest.ts";

const SEPARATOR = "; ";

/** The schema of a mapping with these fields and no others; an unknown one is told with the known one it comes near to. */
export function strictFields<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  const known = Object.keys(shape);
  const tell = (field: string) => {
    const near = meant(field, known);
    return `unknown field "${field}"${near ? `: did you mean ${near}?` : `, known are ${known.join(", ")}`}`;
  };
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === "unrecognized_keys" ? (issue.keys as string[]).map(tell).join(SEPARATOR) : undefined,
  });
}

/** One thing that is wrong, and where: the keys that lead to it, from the top. */
export interface FieldProblem {
  path: PropertyKey[];
  message: string;
}

/** What is wrong, for people. No value is quoted, only keys are. */
export function fieldProblems(error: z.ZodError): FieldProblem[] {
  return error.issues.flatMap((issue) => problemsOf(issue));
}

/** "schedules.hourly.schedule: is missing" */
export function problemText({ path, message }: FieldProblem): string {
  return path.length ? `${path.map(String).join(".")}: ${message}` : message;
}

function problemsOf(issue: z.core.$ZodIssue): FieldProblem[] {
  const { path } = issue;
  if (issue.code === "invalid_key")
    return [{ path, message: issue.issues.map(({ message }) => message).join(SEPARATOR) }];
  if (issue.code === "invalid_union" && issue.errors.length > 0) {
    const fewest = issue.errors.reduce((best, errors) => (errors.length < best.length ? errors : best));
    return fewest.flatMap((inner) => problemsOf({ ...inner, path: [...path, ...inner.path] }));
  }
  if (issue.code === "unrecognized_keys") return issue.message.split(SEPARATOR).map((message) => ({ path, message }));
  if (issue.code === "invalid_value" && issue.values.length > 1)
    return [{ path, message: `should be one of ${issue.values.map(String).join(", ")}` }];
  return [{ path, message: plain(issue.message) }];
}

const WORDS: Record<string, string> = {
  array: "a list",
  boolean: "true or false",
  number: "a number",
  object: "a mapping",
  record: "a mapping",
  string: "a text",
  null: "nothing",
};

/** Zod speaks of JavaScript's types. */
function plain(message: string): string {
  const [, expected, received] = /^Invalid input: expected (\w+), received (\w+)$/.exec(message) ?? [];
  if (!expected || !received) return message;
  if (received === "undefined") return "is missing";
  return `should be ${WORDS[expected] ?? expected}, not ${WORDS[received] ?? received}`;
}
