import type { Call, ServerAnswer } from "../apiserver/routes.ts";
import { StatusError } from "../apiserver/status.ts";
import { parseExact } from "../kube/json.ts";
import { type Fields, isFields } from "../objects/fields.ts";
import { readReview } from "./protobuf.ts";

/** What can be done with a backup's objects. */
export const READING_VERBS = ["get", "list", "watch"];

const REVIEWS = /^\/apis\/authorization\.k8s\.io\/v1\/(selfsubjectaccessreviews|selfsubjectrulesreviews)$/;
const SCHEMAS = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/** What of a Pod, a Node or a Service is done by something that runs. */
const RUNNING = /\/(pods|nodes|services)\/[^/]+\/(log|exec|attach|portforward|proxy)(\/|$)/;

/** Answers what of a request isn't reading: questions about rights; all else is refused. `what`: for messages. */
export function answerReadOnly({ method, path, contentType, body }: Call, what: string): ServerAnswer | undefined {
  if (RUNNING.test(path)) {
    throw new StatusError("MethodNotAllowed", `this is ${what}: nothing runs in it, and it holds no logs`, {});
  }
  if (path === "/openapi/v2") return { code: 200, body: noText(), contentType: SCHEMAS };
  if (path === "/openapi/v3") return { code: 200, body: { paths: {} } };
  if (method === "GET") return undefined;
  const [, review] = method === "POST" ? (REVIEWS.exec(path) ?? []) : [];
  if (review === "selfsubjectrulesreviews") return { code: 201, body: RULES };
  if (review) return { code: 201, body: reviewed(asFields(parsed(body, contentType))) };
  throw new StatusError("MethodNotAllowed", `this is ${what}: it is read-only`, {});
}

/** kubectl asks for schemas before it writes, in protobuf alone: without one it goes on, and is told that it can't. */
async function* noText(): AsyncGenerator<string> {}

function reviewed(asked: Fields): object {
  return { ...asked, status: access(asFields(asked.spec)) };
}

const RULES = {
  apiVersion: "authorization.k8s.io/v1",
  kind: "SelfSubjectRulesReview",
  status: {
    resourceRules: [{ verbs: READING_VERBS, apiGroups: ["*"], resources: ["*"] }],
    nonResourceRules: [{ verbs: ["get"], nonResourceURLs: ["*"] }],
    incomplete: false,
  },
};

function access(spec: Fields): object {
  const { verb, subresource } = asFields(spec.resourceAttributes ?? spec.nonResourceAttributes);
  const allowed = READING_VERBS.includes(String(verb)) && !subresource;
  return allowed ? { allowed } : { allowed, reason: "a backup is read-only" };
}

function asFields(value: unknown): Fields {
  return isFields(value) ? value : {};
}

function parsed(body: Buffer, contentType: string): unknown {
  try {
    return contentType.startsWith("application/vnd.kubernetes.protobuf") ? readReview(body) : parseExact(body);
  } catch {
    throw new StatusError("BadRequest", "the body of the request can't be read");
  }
}
