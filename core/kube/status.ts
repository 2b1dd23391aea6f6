import { type ErrorKind, LifeboatError } from "../errors.ts";
import type { HttpResponse } from "./send.ts";

/** The API server's `Status` document, as far as it is used. */
export interface KubeStatus {
  reason?: string;
  message?: string;
  details?: { retryAfterSeconds?: number };
  metadata?: { continue?: string };
}

/** The body's `Status` document; empty for any other body. */
export function parseStatus(body: Buffer): KubeStatus {
  if (body.length > 1 << 20) return {};
  try {
    const status = JSON.parse(body.toString("utf8"));
    return status?.kind === "Status" ? status : {};
  } catch {
    return {};
  }
}

interface StatusRule {
  statuses: number[];
  kind: ErrorKind;
  hint?: string;
}

/** What the API server's refusals mean, first match wins. */
const STATUS_RULES: StatusRule[] = [
  { statuses: [401], kind: "denied", hint: "the credentials of this kubeconfig were refused: have they expired?" },
  {
    statuses: [403],
    kind: "denied",
    hint: "grant it by RBAC, and see what is granted with: kubectl auth can-i --list",
  },
  { statuses: [404], kind: "missing" },
  { statuses: [409], kind: "conflict" },
  { statuses: [410], kind: "conflict", hint: "that revision is compacted away: ask again without one" },
  { statuses: [429], kind: "unreachable", hint: "the API server is overloaded: try again later" },
  { statuses: [504], kind: "timeout", hint: "the API server is overloaded: try again later" },
];

/**
 * The response, where its status is below 400; else throws `denied` (401, 403), `missing` (404), `conflict` (409, 410),
 * `invalid` (every other 4xx), `timeout` (504) or `unreachable` (429, every other 5xx), with the server's own message.
 * `wanted` says what was asked for: "list pods".
 */
export function expectOk<Response extends HttpResponse>(response: Response, wanted: string): Response {
  const { status, body } = response;
  if (status < 400) return response;
  const rule = STATUS_RULES.find(({ statuses }) => statuses.includes(status));
  const said = parseStatus(body).message?.replace(/\s+/g, " ").trim().slice(0, 500);
  const message = `the API server did not ${wanted}: ${said ? `${said} (${status})` : `it answered ${status}`}`;
  throw new LifeboatError(rule?.kind ?? (status < 500 ? "invalid" : "unreachable"), message, { hint: rule?.hint });
}
