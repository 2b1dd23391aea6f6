import { randomUUID } from "node:crypto";
import { STATUS_CODES } from "node:http";
import { HTTPException } from "hono/http-exception";
import { z } from "zod";
import { ERROR_KINDS, type ErrorKind, isLifeboatError } from "../errors.ts";
import { fieldProblems, problemText } from "../fields.ts";
import { logLine } from "../log.ts";

/** An error as HTTP tells it (RFC 9457). */
export const problemSchema = z
  .object({
    type: z.literal("about:blank"),
    title: z.string().describe("the status in words"),
    status: z.int(),
    detail: z.string().describe("what was wanted, and what came instead"),
    hint: z.string().optional().describe("what to do"),
    kind: z.enum([...(Object.keys(ERROR_KINDS) as [ErrorKind]), "unexpected"]),
    errors: z
      .array(z.object({ path: z.string(), message: z.string() }))
      .optional()
      .describe("each thing that is wrong with the request"),
    instance: z.string().optional().describe("of an unexpected error: how the service's log names it"),
  })
  .meta({ id: "Problem" });

type Problem = z.infer<typeof problemSchema>;

/** What is wrong with one part of a request, by its schema. */
export class InvalidRequest extends Error {
  readonly errors: { path: string; message: string }[];

  constructor(part: string, error: z.ZodError) {
    const problems = fieldProblems(error);
    super(`the ${part} is not what it should be: ${problems.map(problemText).join("; ")}`);
    this.errors = problems.map(({ path, message }) => ({ path: path.map(String).join("."), message }));
  }
}

/** A refusal that has no kind of its own: how HTTP was used, not what was asked for. */
export class Refusal extends Error {
  readonly status: number;
  readonly kind: ErrorKind;
  readonly headers: Record<string, string>;

  constructor(status: number, kind: ErrorKind, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.status = status;
    this.kind = kind;
    this.headers = headers;
  }
}

/**
 * The answer to a request that failed with `error`. Of an unexpected one nothing is told but a name, by which `log`
 * tells of it.
 */
export function problemResponse(error: unknown, log: (line: string) => void = () => {}): Response {
  const { headers, ...problem } = problemOf(error);
  if (problem.kind === "unexpected") {
    problem.instance = `urn:uuid:${randomUUID()}`;
    const stack = String(error instanceof Error ? error.stack : error);
    log(logLine("error", "unexpected error", { instance: problem.instance, stack }));
  }
  return Response.json(problem, {
    status: problem.status,
    headers: { ...headers, "content-type": "application/problem+json" },
  });
}

function problemOf(error: unknown): Problem & { headers?: Record<string, string> } {
  const about = (status: number, kind: Problem["kind"], detail: string) => ({
    ...({ type: "about:blank", title: STATUS_CODES[status] ?? "Error", status, detail, kind } as const),
  });
  if (isLifeboatError(error)) {
    return { ...about(ERROR_KINDS[error.kind].http, error.kind, error.message), hint: error.hint };
  }
  if (error instanceof InvalidRequest) return { ...about(400, "invalid", error.message), errors: error.errors };
  if (error instanceof Refusal) {
    return { ...about(error.status, error.kind, error.message), headers: error.headers };
  }
  if (error instanceof HTTPException && error.status === 415) {
    const problem = about(415, "invalid", "the request doesn't say that its body is JSON");
    return { ...problem, hint: "send the header content-type: application/json" };
  }
  if (error instanceof HTTPException && error.status < 500) return about(error.status, "invalid", error.message);
  return about(500, "unexpected", "an unexpected error, which the log of the service tells more of");
}
