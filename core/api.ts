import { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { ApiDeps, Env } from "./api/answers.ts";
import { addBackups } from "./api/backups.ts";
import { addFleet } from "./api/fleet.ts";
import { answerHeaders, boundBody, refusalOf } from "./api/guard.ts";
import { InvalidRequest, problemResponse, Refusal } from "./api/problem.ts";
import { addReading } from "./api/reading.ts";
import { addRestores } from "./api/restores.ts";
import { addRetention } from "./api/retention.ts";
import { routes } from "./api/routes.ts";
import { LifeboatError } from "./errors.ts";

export type { ApiDeps } from "./api/answers.ts";
export { refusalOf, unavailable } from "./api/guard.ts";
export { answerBelow, clusterRequest } from "./api/mounted.ts";
export { problemResponse } from "./api/problem.ts";

/**
 * The HTTP API. Reads are answered from the bucket; what takes long becomes a job, and 202 with the address of its
 * status. Every error is a problem document. `caller`: who the platform says is asking, for the record.
 */
export function createApi(deps: ApiDeps): { fetch(request: Request, env?: { caller?: string }): Promise<Response> } {
  const app = new OpenAPIHono<Env>({
    defaultHook: (result) => {
      if (!result.success) throw new InvalidRequest(PARTS[result.target] ?? result.target, result.error);
    },
  });
  app.use(answerHeaders);
  app.openapi(routes.health, (context) => context.json({ status: "ok" as const, version: deps.version }, 200));
  app.use(async ({ req }, next) => {
    const refusal = deps.token === undefined ? undefined : refusalOf(req.raw, deps.token);
    if (refusal) throw refusal;
    await next();
  });
  app.use(boundBody);
  if (deps.fleet) {
    addFleet(app, deps, deps.fleet);
  } else {
    addBackups(app, deps);
    addReading(app, deps);
    addRestores(app, deps);
    addRetention(app, deps);
  }
  app.openapi(routes.check, async (context) => {
    const { cluster } = context.req.valid("json");
    return context.json(await deps.check(cluster, context.req.raw.signal), 200);
  });
  app.get("/openapi.json", (context) => context.json(describe(app, deps)));
  app.notFound((context) => problemResponse(unrouted(app, context, deps)));
  app.onError((error) => problemResponse(error, deps.log));
  return { fetch: async (request, env = {}) => app.fetch(request, env) };
}

/** What zod calls the parts of a request, in words. */
const PARTS: Record<string, string> = { json: "body", param: "path" };

const FLEET =
  "Backs up many Kubernetes clusters; the backups and restores of each are below /clusters/{name}, with an /openapi.json of their own";

/** The OpenAPI document, made of the schemas that requests are checked by. */
function describe(app: OpenAPIHono<Env>, { version, token, fleet }: ApiDeps) {
  if (token) app.openAPIRegistry.registerComponent("securitySchemes", "token", { type: "http", scheme: "bearer" });
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Lifeboat",
      version,
      description: fleet ? FLEET : "Backs up whole Kubernetes clusters, and restores them",
    },
    security: token ? [{ token: [] }] : undefined,
  });
}

/** Why no route answers: there is none for the path, none for it in a fleet's own API, or none for the method. */
function unrouted(app: OpenAPIHono<Env>, { req }: Context, { fleet }: ApiDeps): Refusal | LifeboatError {
  const fits = ({ path }: { path: string }) => new RegExp(`^${path.replace(/:\w+|\{\w+\}/g, "[^/]+")}$`).test(req.path);
  const methods = app.routes.filter((route) => route.method !== "ALL" && fits(route)).map(({ method }) => method);
  if (fleet && methods.length === 0) {
    const hint = "ask /clusters/{cluster}/v1/…; GET /v1/fleet lists the clusters";
    if (/^\/clusters(\/[^/]*)?$/.test(req.path))
      return new LifeboatError("missing", "there is nothing at this path itself", { hint });
    if (Object.values(routes).some(fits))
      return new LifeboatError("missing", `${req.path} is of one cluster, and this is the API of a fleet`, {
        hint: hint.replace("/v1/…", req.path),
      });
  }
  if (methods.length === 0) return new Refusal(404, "missing", "there is nothing at this path", { link: LINK });
  const allow = [...new Set(methods.flatMap((method) => (method === "GET" ? ["GET", "HEAD"] : [method])))].join(", ");
  return new Refusal(405, "invalid", `${req.method} is not for this path: use ${allow}`, { allow });
}

/** Where to read what there is (RFC 8631). */
const LINK = '</openapi.json>; rel="service-desc"';
