import type { OpenAPIHono } from "@hono/zod-openapi";
import { type ApiDeps, type Env, offsetOf, tokenOf } from "./answers.ts";
import { entryPage } from "./pages.ts";
import { routes } from "./routes.ts";

/** Adds what the API tells of objects across backups. Each page is looked up anew. What does it is loaded when it is first asked for. */
export function addReading(app: OpenAPIHono<Env>, { bucket, trustedKeys }: ApiDeps): void {
  app.openapi(routes.search, async (context) => {
    const { limit, continue: token, backup: backups, schedule, ...criteria } = context.req.valid("query");
    const page = { limit, start: offsetOf(token) };
    const reading = { trustedKeys: await trustedKeys?.(), signal: context.req.raw.signal };
    const { search } = await import("../reading/search.ts");
    const { objects, ...found } = await search(bucket, { criteria, backups, schedule }, reading);
    const { entries, next } = entryPage(objects, page);
    return context.json({ ...found, objects: entries, continue: tokenOf(next) }, 200);
  });

  app.openapi(routes.history, async (context) => {
    const { limit, continue: token, backup: backups, object: item, ...request } = context.req.valid("query");
    const page = { limit, start: offsetOf(token) };
    const reading = { trustedKeys: await trustedKeys?.(), signal: context.req.raw.signal };
    const { history } = await import("../reading/history.ts");
    const { events, ...told } = await history(bucket, { ...request, item, backups }, reading);
    const { entries, next } = entryPage(events, page);
    return context.json({ ...told, events: entries, continue: tokenOf(next) }, 200);
  });
}
