import { randomUUID } from "node:crypto";
import pLimit from "p-limit";
import { expectOk, type Kube } from "../kube/client.ts";

/** SelfSubjectAccessReviews under way at a time. */
const AT_ONCE = 8;

/** What may be done with which objects. */
export interface Wanted {
  verb: string;
  group: string;
  /** The resource's: "pods". */
  resource: string;
  subresource?: string;
  namespace?: string;
  /** Of one object. */
  name?: string;
}

interface Rule {
  verbs: string[];
  apiGroups?: string[];
  resources?: string[];
  resourceNames?: string[];
}

/** What an identity may do by the rules of RBAC. */
export interface Rules {
  /** Authorizers have a say that tell no rules: what isn't in them may still be allowed. */
  incomplete: boolean;
  allow(wanted: Wanted): boolean;
}

/** What the identity of a client may do. Each rule is asked for once. */
export interface Rights {
  /** Whether that is allowed: by the rules, else by a review of its own. Throws what the API server answers. */
  may(wanted: Wanted): Promise<boolean>;
  /** The rules that hold in the whole cluster. */
  rules(): Promise<Rules>;
}

/** Asks by SelfSubjectRulesReview what the identity of `kube` may do, and by SelfSubjectAccessReview where that doesn't tell. */
export function rightsOf(kube: Kube, signal: AbortSignal): Rights {
  const limit = pLimit(AT_ONCE);
  const known = new Map<string, Promise<Rules>>();

  async function review<Status>(kind: string, spec: object): Promise<Status> {
    const response = await kube.request({
      method: "POST",
      path: `/apis/authorization.k8s.io/v1/${kind.toLowerCase()}s`,
      body: JSON.stringify({ apiVersion: "authorization.k8s.io/v1", kind, spec }),
      signal,
    });
    return JSON.parse(expectOk(response, "tell which rights we have").body.toString("utf8")).status;
  }

  async function ask(namespace: string): Promise<Rules> {
    const { resourceRules = [], incomplete } = await review<{ resourceRules?: Rule[]; incomplete: boolean }>(
      "SelfSubjectRulesReview",
      { namespace },
    );
    return { incomplete, allow: (wanted) => resourceRules.some((rule) => covers(rule, wanted)) };
  }

  /** Rules are told of one namespace. In one that doesn't exist, only those hold that hold everywhere. */
  const nowhere = `lifeboat-check-${randomUUID()}`;
  function rules(namespace = nowhere): Promise<Rules> {
    const asked = known.get(namespace) ?? ask(namespace);
    known.set(namespace, asked);
    return asked;
  }

  async function reviewed({ namespace, ...attributes }: Wanted): Promise<boolean> {
    const resourceAttributes = { ...attributes, ...(namespace && { namespace }) };
    return (await review<{ allowed: boolean }>("SelfSubjectAccessReview", { resourceAttributes })).allowed;
  }

  return {
    rules: () => rules(),
    may: (wanted) =>
      limit(async () => {
        const { namespace } = wanted;
        for (const place of namespace ? [undefined, namespace] : [undefined]) {
          const { incomplete, allow } = await rules(place);
          if (!incomplete && allow(wanted)) return true;
        }
        return reviewed(wanted);
      }),
  };
}

/** As RBAC judges (kubernetes pkg/apis/rbac/v1/evaluation_helpers.go). */
function covers({ verbs, apiGroups = [], resources = [], resourceNames = [] }: Rule, wanted: Wanted): boolean {
  const { verb, group, resource, subresource, name = "" } = wanted;
  const names = subresource ? [`${resource}/${subresource}`, `*/${subresource}`] : [resource];
  const holds = (list: string[], ...values: string[]) => ["*", ...values].some((value) => list.includes(value));
  return (
    holds(verbs, verb) &&
    holds(apiGroups, group) &&
    holds(resources, ...names) &&
    (resourceNames.length === 0 || resourceNames.includes(name))
  );
}
