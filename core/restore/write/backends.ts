import { LifeboatError } from "../../errors.ts";
import type { Kube, KubeRequest, KubeResponse } from "../../kube/client.ts";
import { expectOk, parseStatus } from "../../kube/status.ts";

/** A refusal that passes when something is up that is not up yet. */
interface Passing {
  status: number;
  message?: RegExp;
  /** What is awaited, for people; requests that await the same are tried again together. */
  backend: (match: RegExpExecArray, request: Pick<KubeRequest, "path">) => string;
  why: string;
}

/**
 * The refusals that pass (messages: k8s.io/apiserver pkg/util/webhook and admission, apiextensions-apiserver
 * webhook_converter.go, kube-aggregator handler_proxy.go). What a webhook denies that answered is not among them.
 */
export const PASSING: Passing[] = [
  {
    status: 500,
    message: /failed calling webhook "([^"]+)"/,
    backend: ([message, name]) => `webhook "${name}"${service(message)}`,
    why: "an admission webhook with failurePolicy Fail that can't be reached, or isn't trusted yet",
  },
  {
    status: 500,
    message: /conversion webhook for (?:[^/ ]+\/)?[^ ]*, Kind=(\S+) failed: (?:Post "|the server )/,
    backend: ([message, kind]) => `the conversion webhook of ${kind}${service(message)}`,
    why: "objects stored in another version can't be written or read without it",
  },
  {
    status: 503,
    backend: (_, { path }) => `what serves ${/^\/apis\/([^/]+\/[^/]+)/.exec(path)?.[1] ?? "this API"}`,
    why: "an APIService whose backend is absent",
  },
  {
    status: 403,
    message: /status unknown for quota: ([^,]+),/,
    backend: ([, quota]) => `the count of quota ${quota}`,
    why: "a new ResourceQuota refuses all until its controller has counted what there is",
  },
];

/** The Service in the URL that the API server called: "https://hooks.shop.svc:443/validate". */
function service(message: string): string {
  const [, name, namespace] = /https:\/\/([^./]+)\.([^./]+)\.svc\b/.exec(message) ?? [];
  return name ? ` (Service ${namespace}/${name})` : "";
}

/** What an answer says must be up first; undefined where the request succeeded, or waiting won't help. Pure. */
export function awaitedBackend(
  request: Pick<KubeRequest, "path">,
  { status, body }: Pick<KubeResponse, "status" | "body">,
): string | undefined {
  if (status < 400) return undefined;
  const { message: said = "" } = parseStatus(body);
  for (const { status: refused, message = /^/, backend } of PASSING) {
    const match = status === refused ? message.exec(said) : null;
    if (match) return backend(Object.assign(match, { 0: said }), request);
  }
  return undefined;
}

/** A request was refused since `backend` isn't up; the message is the server's. */
export class BackendDown extends LifeboatError {
  readonly backend: string;

  constructor(backend: string, message: string) {
    super("unreachable", message);
    this.backend = backend;
  }
}

/** `kube`, which throws `BackendDown` instead of giving an answer that passes. */
export function noticingBackends(kube: Kube): Kube {
  return {
    ...kube,
    async request(request) {
      const response = await kube.request(request);
      const backend = awaitedBackend(request, response);
      if (backend === undefined) return response;
      try {
        return expectOk(response, `answer a ${request.method ?? "GET"}`);
      } catch (error) {
        throw new BackendDown(backend, error instanceof Error ? error.message : String(error));
      }
    },
  };
}
