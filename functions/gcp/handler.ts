import { type Request as FrameworkRequest, http } from "@google-cloud/functions-framework";
import { getRequestListener } from "@hono/node-server";
import { createService, deliver } from "../../core/index.ts";
import { keepHeapSmall } from "../memory.ts";
import { gcp } from "./platform.ts";

keepHeapSmall();
const service = createService(gcp);
/** What Cloud Scheduler and Cloud Tasks wait for an answer at most, in seconds. A run must not outlast who would repeat it. */
const PATIENCE = 1800;
const LIMIT = Math.min(Number(process.env.CLOUD_RUN_TIMEOUT_SECONDS) || PATIENCE, PATIENCE);

const answer = getRequestListener(async (request) => {
  const { pathname } = new URL(request.url);
  if (request.method !== "POST" || pathname !== "/") return service.fetch(request, { caller: callerOf(request) });
  const slot = request.headers.get("x-cloudscheduler-scheduletime") ?? undefined;
  const delivery = request.headers.get("x-cloudtasks-taskname") ?? slot;
  return deliver(service, request, { slot, delivery, deadline: new Date(Date.now() + LIMIT * 1000) });
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
