import { LifeboatError } from "./errors.ts";
import { isOfLocation } from "./job.ts";
import type { Service, Trigger } from "./service.ts";
import { jobFailed } from "./verdict.ts";

/** The most that a delivered job may have, in bytes. */
const MAX_MESSAGE = 1024 * 1024;

/** The header of a request whose sender does what is left of the job: "true". */
const LOOPS = "lifeboat-loops";

/**
 * Runs the job that is the body of a POST by the platform, and answers it: 2xx only where the job ended well. `slot`: the
 * scheduled time that the platform tells, for what is made once for each and names none.
 */
export async function deliver(
  service: Service,
  request: Request,
  { slot, ...trigger }: Trigger & { slot?: string },
): Promise<Response> {
  try {
    const message = await bodyOf(request);
    const slotted = slot !== undefined && message.slot === undefined && hasSlot(message);
    const loops = request.headers.get(LOOPS) === "true";
    return Response.json(await service.run(slotted ? { ...message, slot } : message, { ...trigger, loops }));
  } catch (error) {
    const { name, message, status } = jobFailed(error);
    const problem = { type: "about:blank", title: name, status, detail: message };
    return Response.json(problem, { status, headers: { "content-type": "application/problem+json" } });
  }
}

/** Whether it is a schedule's backup, or the verification of the location. */
function hasSlot(message: Record<string, unknown>): boolean {
  const { kind, schedule, name } = message;
  const isScheduled = (kind === "backup" || kind === "fleet") && schedule !== undefined;
  return isOfLocation(message) || (isScheduled && name === undefined);
}

async function bodyOf(request: Request): Promise<Record<string, unknown>> {
  const tooLarge = new LifeboatError("invalid", `the job has more than ${MAX_MESSAGE} bytes`);
  if (Number(request.headers.get("content-length")) > MAX_MESSAGE) throw tooLarge;
  const body = await request.arrayBuffer();
  if (body.byteLength > MAX_MESSAGE) throw tooLarge;
  const refuse = (what: string) =>
    new LifeboatError("invalid", `the body of the request is ${what}`, { hint: "it should be a job" });
  let message: unknown;
  try {
    message = JSON.parse(new TextDecoder().decode(body));
  } catch {
    throw refuse("not JSON");
  }
  if (typeof message !== "object" || message === null || Array.isArray(message)) throw refuse("no JSON object");
  return message as Record<string, unknown>;
}
