import { type Request as FrameworkRequest, http } from "@google-cloud/functions-framework";
import { getRequestListener } from "@hono/node-server";
import { createService, deliver } from "../../core/index.ts";
import { gcp } from "./platform.ts";

const service = createService(gcp);
/** Cloud Run's own limit of a request, in seconds, where the deployment doesn't tell another. */
const TIMEOUT = Number(process.env.CLOUD_RUN_TIMEOUT_SECONDS ?? 3600);

const answer = getRequestListener(async (request) => {
  const { pathname } = new URL(request.url);
  if (request.method !== "POST" || pathname !== "/") return service.fetch(request, { caller: callerOf(request) });
  const slot = request.headers.get("x-cloudscheduler-scheduletime") ?? undefined;
  return deliver(service, request, { slot, deadline: new Date(Date.now() + TIMEOUT * 1000) });
});

/** The Cloud Function: a POST to its root runs the job that is its body (Cloud Scheduler, Cloud Tasks); the rest is the API. */
http("lifeboat", (request: FrameworkRequest, response) => answer(request, response));

/** Whom Cloud Run has authenticated: it checked the token's signature, and leaves the claims readable. */
function callerOf(request: Request): string | undefined {
  const [, claims] = request.headers.get("authorization")?.split(" ")[1]?.split(".") ?? [];
  try {
    const { email } = JSON.parse(Buffer.from(claims ?? "", "base64url").toString()) as { email?: unknown };
    return typeof email === "string" ? email : undefined;
  } catch {
    return undefined;
  }
}
