import { Agent } from "undici";

/** A Kubernetes object as JSON. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; [field: string]: unknown };
  [field: string]: unknown;
}

/** An administrator's plain connection to an API server, for what tests set up and look at. */
export interface Api {
  /**
   * One request; `body` is sent as JSON (a PATCH as a merge patch). Gives the parsed answer; throws on any status of
   * 400 or more, with the server's message and the status as `status`.
   */
  request<T = KubeObject>(
    method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE",
    path: string,
    body?: unknown,
  ): Promise<T>;
  close(): Promise<void>;
}

/** An answer of the API server with a status of 400 or more. */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Connects to an API server, with up to `connections` requests under way. */
export function connect(url: string, tls: { ca: string; cert: string; key: string }, connections = 16): Api {
  const agent = new Agent({ connect: tls, connections, pipelining: 1 });
  return {
    async request<T>(method: string, path: string, body?: unknown): Promise<T> {
      const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
      const answer = await agent.request({
        origin: url,
        path,
        method: method as "GET",
        headers: body === undefined ? {} : { "content-type": type },
        body: body === undefined ? null : JSON.stringify(body),
      });
      const text = await answer.body.text();
      if (answer.statusCode >= 400) {
        throw new ApiError(answer.statusCode, `${method} ${path}: ${answer.statusCode} ${text.slice(0, 500)}`);
      }
      return (text.startsWith("{") ? JSON.parse(text) : text) as T;
    },
    close: () => agent.destroy(),
  };
}
