import { randomUUID } from "node:crypto";
import { isLifeboatError, type Jobs, LifeboatError } from "../../core/index.ts";
import { googleApi } from "./api.ts";

/** Cloud Tasks takes tasks of 1 MB; the rest is for what goes with the body. */
const BODY_BYTES = 1_000_000 - 10_000;
/** How long an attempt may take before Cloud Tasks makes the next one: the longest that it allows. */
const DEADLINE_S = 1800;
const QUEUE = /^projects\/[\w:.-]+\/locations\/[\w-]+\/queues\/[\w-]+$/;

/** Where jobs go: the queue, the function's own URL, and the service account that may call it. */
export interface TasksEnvironment {
  /** `projects/P/locations/L/queues/Q` */
  queue: string;
  url: string;
  serviceAccount: string;
}

/**
 * Jobs by a queue of Cloud Tasks, which POSTs each one, as JSON, to `url` with an OIDC token of `serviceAccount`, and
 * again until it is answered with success. `after`: the task's schedule time. Throws `invalid` where the environment
 * names no queue, URL or account, and for a job of more than 990,000 bytes.
 */
export function cloudTasksJobs({ queue, url, serviceAccount }: TasksEnvironment): Jobs {
  if (!QUEUE.test(queue)) throw refuse("queue is not projects/P/locations/L/queues/Q");
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) throw refuse("URL is no http(s) URL");
  if (!serviceAccount) throw refuse("service account is not given");
  const oidcToken = { serviceAccountEmail: serviceAccount, audience: audienceOf(new URL(url)) };
  const { call } = googleApi("cloudtasks");
  return {
    async enqueue(job, { after = 0, signal } = {}) {
      const body = Buffer.from(JSON.stringify(job));
      const wanted = `enqueue a ${job.kind} in ${queue}`;
      if (body.length > BODY_BYTES) {
        throw new LifeboatError(
          "invalid",
          `can't ${wanted}: it has ${body.length} bytes, a task ${BODY_BYTES} at most`,
          {
            hint: `${BODY_BYTES} bytes fit`,
          },
        );
      }
      const task = {
        // Named, it isn't made twice when the call has to be repeated.
        name: `${queue}/tasks/${randomUUID()}`,
        dispatchDeadline: `${DEADLINE_S}s`,
        ...(after > 0 && { scheduleTime: new Date(Date.now() + after * 1000).toISOString() }),
        httpRequest: {
          url,
          httpMethod: "POST",
          headers: { "content-type": "application/json" },
          body: body.toString("base64"),
          oidcToken,
        },
      };
      try {
        await call({ wanted, method: "POST", path: `/v2/${queue}/tasks`, data: { task }, signal });
      } catch (error) {
        if (!isLifeboatError(error, "conflict")) throw error;
      }
    },
  };
}

/** Cloud Run wants a token for the service, by its URL without a path; a function's older URL has its name there. */
function audienceOf(url: URL): string {
  return url.hostname.endsWith(".cloudfunctions.net") ? url.origin + url.pathname : url.origin;
}

function refuse(what: string): LifeboatError {
  return new LifeboatError("invalid", `the Cloud Tasks ${what}`, {
    hint: "jobs that outlive a request need a queue: set its name, the function's URL and a service account",
  });
}
