import type { OpenAPIHono } from "@hono/zod-openapi";
import { scheduleOf } from "../configured.ts";
import { retentionName } from "../retention/document.ts";
import { previewRetention } from "../retention/retention.ts";
import { type ApiDeps, callerOf, type Env, offsetOf, tokenOf } from "./answers.ts";
import { entryPage } from "./pages.ts";
import { routes } from "./routes.ts";

/** Adds what the API can do with retention. */
export function addRetention(app: OpenAPIHono<Env>, { config, bucket, jobs, trustedKeys }: ApiDeps): void {
  app.openapi(routes.previewRetention, async (context) => {
    const { schedule, limit, continue: token } = context.req.valid("query");
    if (schedule !== undefined) scheduleOf(config, schedule);
    const { signal } = context.req.raw;
    const scope = { bucket, config, schedule, now: new Date(), trustedKeys: await trustedKeys?.(), signal };
    const document = await previewRetention(scope);
    const { entries, next } = entryPage(document.rows, { limit, start: offsetOf(token) });
    return context.json({ ...document, rows: entries, continue: tokenOf(next) }, 200);
  });

  app.openapi(routes.runRetention, async (context) => {
    const { schedule } = context.req.valid("json");
    if (schedule !== undefined) scheduleOf(config, schedule);
    await jobs.enqueue({ kind: "retention", schedule, caller: callerOf(context) });
    const name = retentionName(schedule);
    const about = { schemaVersion: 1, kind: "retention", name, phase: "New", location: bucket.location } as const;
    const location = schedule === undefined ? "/v1/retention" : `/v1/retention?schedule=${schedule}`;
    return context.json({ ...about, schedule }, 202, { location });
  });
}
