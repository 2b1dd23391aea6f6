import { z } from "zod";
import { pause } from "./abort.ts";
import { LifeboatError, messageOf } from "./errors.ts";
import { strictFields } from "./fields.ts";
import { type CachedSecrets, secretReference } from "./secrets.ts";

/** Whom to tell of jobs that ended. */
export const notificationSchema = strictFields({
  /** A reference to the secret that holds the webhook's URL: whoever knows such a URL may write there. */
  url: secretReference("url.txt", ", and a webhook's URL is a secret: who knows it may write there"),
  format: z.enum(["json", "slack"]).default("json"),
  on: z.enum(["failure", "change", "always"]).default("change"),
});

/** `on`: "failure", "change" (failures, and the first success after one) or "always". */
export type Notification = z.infer<typeof notificationSchema>;

/** What happened: "recovery" is a success after a failure. */
export type Event = "failure" | "recovery" | "success";

/** The part of a job's result document that every kind has. */
export interface JobDocument {
  schemaVersion: 1;
  kind: string;
  name: string;
  phase: string;
  location: string;
  cluster?: string;
  schedule?: string;
  items?: number;
  durationMs?: number;
  warnings: { message: string }[];
  errors: { message: string }[];
}

const WANTED: Record<Notification["on"], Event[]> = {
  failure: ["failure"],
  change: ["failure", "recovery"],
  always: ["failure", "recovery", "success"],
};

/** Of each list of a document: one with tens of thousands of problems, or of backups that retention judged, is no message. */
const MOST_ENTRIES = 100;
const ATTEMPTS = 3;
const ATTEMPT_TIMEOUT_MS = 10_000;
const BETWEEN_MS = 1_000;

/** Whether somebody wants to be told of an event. */
export function isWanted(notifications: Record<string, Notification>, event: Event): boolean {
  return Object.values(notifications).some(({ on }) => WANTED[on].includes(event));
}

/**
 * Tells all who want to know of a job that ended: the document itself as JSON, with the header `lifeboat-event`, or a text as Slack and
 * those that understand its messages take it. Whoever can't be told is a warning: it never fails the job.
 */
export async function notify(
  event: Event,
  document: JobDocument,
  context: { notifications: Record<string, Notification>; secrets: CachedSecrets; warn: (message: string) => void },
): Promise<void> {
  const { notifications, secrets, warn } = context;
  const wanted = Object.entries(notifications).filter(([, { on }]) => WANTED[on].includes(event));
  await Promise.all(
    wanted.map(async ([name, notification]) => {
      try {
        await post(await urlOf(notification, secrets), event, bodyOf(notification, event, document));
      } catch (error) {
        warn(`Notification "${name}" could not be sent: ${messageOf(error)}`);
      }
    }),
  );
}

/** What a person is told, in a line. */
export function eventText(event: Event, document: JobDocument): string {
  const { kind, name, phase, cluster, errors, items, durationMs } = document;
  const subject = `${kind === "verifyList" ? "verify" : kind} ${name}${cluster ? ` of cluster ${cluster}` : ""}`;
  if (event === "failure") {
    const first = errors[0]?.message;
    const more = errors.length > 1 ? `${errors.length} errors, the first: ` : "";
    return `${subject}: ${phase}${first ? `: ${more}${first}` : ""}`;
  }
  const facts = [
    items === undefined ? undefined : `${items.toLocaleString("en")} objects`,
    durationMs === undefined ? undefined : `${(durationMs / 1000).toFixed(1)} s`,
  ].filter(Boolean);
  return `${subject}: ${phase}${event === "recovery" ? " again" : ""}${facts.length ? ` (${facts.join(", ")})` : ""}`;
}

function bodyOf({ format }: Notification, event: Event, document: JobDocument): string {
  if (format === "slack") {
    const text = `${event === "failure" ? ":x:" : ":white_check_mark:"} ${escaped(eventText(event, document))}`;
    return JSON.stringify({ text });
  }
  return JSON.stringify(document, (_, value) => (Array.isArray(value) ? value.slice(0, MOST_ENTRIES) : value));
}

/** Slack's control characters (https://api.slack.com/reference/surfaces/formatting). */
function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

async function urlOf({ url }: Notification, secrets: CachedSecrets): Promise<URL> {
  const text = await secrets.read(url);
  const read = URL.canParse(text) ? new URL(text) : undefined;
  if (read && ["https:", "http:"].includes(read.protocol)) return read;
  throw new LifeboatError("invalid", `the secret ${url} holds no URL`, { hint: "it should begin with https://" });
}

/** No error says more of the URL than its host. */
async function post(url: URL, event: Event, body: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const failed = await sent(url, event, body);
    if (!failed) return;
    if (!failed.again || attempt === ATTEMPTS) throw new LifeboatError("unreachable", `${url.host} ${failed.reason}`);
    await pause(attempt * BETWEEN_MS, undefined);
  }
}

async function sent(url: URL, event: Event, body: string): Promise<{ again: boolean; reason: string } | undefined> {
  const headers = { "content-type": "application/json", "user-agent": "lifeboat", "lifeboat-event": event };
  try {
    const signal = AbortSignal.timeout(ATTEMPT_TIMEOUT_MS);
    const response = await fetch(url, { method: "POST", headers, body, signal, redirect: "error" });
    await response.body?.cancel();
    if (response.ok) return undefined;
    return { again: response.status === 429 || response.status >= 500, reason: `answered ${response.status}` };
  } catch (error) {
    const timedOut = error instanceof DOMException && error.name === "TimeoutError";
    return { again: true, reason: timedOut ? `gave no answer in ${ATTEMPT_TIMEOUT_MS / 1000} s` : "can't be reached" };
  }
}
