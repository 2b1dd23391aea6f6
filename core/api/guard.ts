import { createHash, timingSafeEqual } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { Refusal } from "./problem.ts";

/** As many bytes of a request's body as are read. */
const MAX_BODY_BYTES = 1024 * 1024;

/** Headers that every answer has. */
export const answerHeaders: MiddlewareHandler = async (context, next) => {
  await next();
  context.header("cache-control", "no-store");
  context.header("x-content-type-options", "nosniff");
};

/** Why a request is not let through that must bear `token`, or undefined where it does. */
export function refusalOf(request: Request, token: string): Refusal | undefined {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  const given = /^Bearer +(.*)$/i.exec(request.headers.get("authorization") ?? "")?.[1] ?? "";
  if (timingSafeEqual(digest(given), digest(token))) return undefined;
  const reason = given ? "the token is not the right one" : "the request bears no token";
  return new Refusal(401, "denied", `${reason}: wanted is Authorization: Bearer`, { "www-authenticate": "Bearer" });
}

/** What a service answers whose own configuration can't be used. */
export function unavailable(): Refusal {
  return new Refusal(503, "unreachable", "the service's configuration or its bucket can't be used: its log tells why");
}

/** Reads the body, as far as it may go, before anybody else does; a length that is announced is not relied on. */
export const boundBody: MiddlewareHandler = async (context, next) => {
  const { raw } = context.req;
  if (raw.body) {
    if (Number(context.req.header("content-length") ?? 0) > MAX_BODY_BYTES) throw tooLarge();
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of raw.body) {
      size += chunk.length;
      if (size > MAX_BODY_BYTES) throw tooLarge();
      chunks.push(chunk);
    }
    const { method, headers } = raw;
    context.req.raw = new Request(raw.url, { method, headers, body: size ? Buffer.concat(chunks) : undefined });
  }
  await next();
};

function tooLarge(): Refusal {
  return new Refusal(413, "invalid", `the body is larger than ${MAX_BODY_BYTES} bytes`);
}
