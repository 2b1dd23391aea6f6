import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** One line of the audit log: a request that has been answered. */
export interface AuditEntry {
  verb: string;
  requestURI: string;
  user: { username: string };
  responseStatus?: { code: number };
  requestReceivedTimestamp: string;
  [field: string]: unknown;
}

/** The audit log in `dir`. */
export async function readAudit(dir: string): Promise<AuditEntry[]> {
  const lines = (await readFile(join(dir, "audit.log"), "utf8")).split("\n");
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as AuditEntry);
}

const WRITE_VERBS = new Set(["create", "update", "patch", "delete", "deletecollection"]);

/** The entries that ask for a change, of one user where one is given. */
export function writes(entries: readonly AuditEntry[], username?: string): AuditEntry[] {
  return entries.filter(
    (entry) => WRITE_VERBS.has(entry.verb) && (username === undefined || entry.user.username === username),
  );
}

/** The API server's flags for a log in `dir` of every answered request, without bodies. */
export async function auditFlags(dir: string): Promise<string[]> {
  const policy = join(dir, "audit-policy.yaml");
  const omitted = ["RequestReceived", "ResponseStarted", "Panic"];
  const rules = [{ level: "Metadata" }];
  await writeFile(
    policy,
    JSON.stringify({ apiVersion: "audit.k8s.io/v1", kind: "Policy", omitStages: omitted, rules }),
  );
  return [`--audit-policy-file=${policy}`, `--audit-log-path=${join(dir, "audit.log")}`];
}
