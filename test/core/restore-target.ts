import assert from "node:assert/strict";
import { afterEach, beforeEach } from "node:test";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import type { KubernetesObject } from "../../core/archive/item.ts";
import type { Kube } from "../../core/kube/client.ts";
import { type Intercept, type WatchedKube, watchedKube } from "./restore-sample.ts";

/** The cluster that each test of a file, or of a `describe`, restores into: empty, and its own. */
export interface RestoreTarget {
  /** A client of it, the same for all tests. It notes the writes that it sends. */
  kube: WatchedKube;
  /** Stands in front of that client from now on until the test ends. */
  intercept(intercept: Intercept): void;
  /** What stands at a path, if only a refusal. It is asked past `intercept`, and the writes noted so far are forgotten. */
  live(path: string): Promise<KubernetesObject>;
  /** Creates a sample in the collection at a path, as another would: past `intercept`. The writes noted so far are forgotten. */
  create(collection: string, object: KubernetesObject): Promise<KubernetesObject>;
  /** Changes what there is, in the same way; a patch is a merge patch. */
  change(method: "PATCH" | "DELETE", path: string, body?: object): Promise<KubernetesObject>;
  /** Puts an empty cluster in its place. */
  renew(): Promise<void>;
}

/** Starts an embedded API server before each test, and ends it after. */
export function restoreTarget(): RestoreTarget {
  let server: ApiServer;
  let current: WatchedKube;
  let other: Kube;
  let standing: Intercept | undefined;
  const start = async () => {
    standing = undefined;
    server = await startApiServer();
    current = watchedKube(server.kubeconfig, (request, next) => standing?.(request, next));
    other = watchedKube(server.kubeconfig);
  };
  const stop = async () => {
    await Promise.all([current.close(), other.close()]);
    await server.stop();
  };
  beforeEach(start);
  afterEach(stop);

  const ask = async (method: "GET" | "POST" | "PATCH" | "DELETE", path: string, body?: object) => {
    const contentType = method === "PATCH" ? "application/merge-patch+json" : undefined;
    const response = await other.request({ method, path, contentType, body: body && JSON.stringify(body) });
    current.writes.length = 0;
    return response;
  };
  const parsed = ({ body }: { body: Buffer }) => JSON.parse(body.toString()) as KubernetesObject;
  const change = async (method: "POST" | "PATCH" | "DELETE", path: string, body?: object) => {
    const response = await ask(method, path, body);
    assert.ok(response.status < 400, `${method} ${path}: ${response.status} ${response.body}`);
    return parsed(response);
  };
  return {
    kube: {
      get server() {
        return current.server;
      },
      get context() {
        return current.context;
      },
      get writes() {
        return current.writes;
      },
      request: (request) => current.request(request),
      exec: (exec) => current.exec(exec),
      credential: (signal) => current.credential(signal),
      close: () => current.close(),
    },
    intercept(intercept) {
      standing = intercept;
    },
    live: async (path) => parsed(await ask("GET", path)),
    create: (collection, { metadata: { resourceVersion: _, ...metadata }, ...object }) =>
      change("POST", collection, { ...object, metadata }),
    change,
    async renew() {
      await stop();
      await start();
    },
  };
}
