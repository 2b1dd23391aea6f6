import type { OpenAPIHono } from "@hono/zod-openapi";
import { readRestore } from "../catalog.ts";
import { readRestoreDocument } from "../documents.ts";
import { LifeboatError } from "../errors.ts";
import { htmlPage } from "../html.ts";
import { cancelWork } from "../lock.ts";
import { checkName } from "../names.ts";
import { abandonJob, readRun, requestName } from "../requests.ts";
import { readOutcomes, reportPage } from "../restore/outcomes.ts";
import { readPlan } from "../restore/plan/plandocument.ts";
import {
  type ApiDeps,
  callerOf,
  committedOr,
  type Env,
  offsetOf,
  positionOf,
  sendLog,
  submit,
  tokenOf,
} from "./answers.ts";
import { entryPage, fitted, restorePage } from "./pages.ts";
import { routes } from "./routes.ts";

/** Adds what the API can do with restores. */
export function addRestores(app: OpenAPIHono<Env>, deps: ApiDeps): void {
  const { bucket } = deps;
  const readState = (name: string, signal: AbortSignal) =>
    committedOr(
      async () => readRestoreDocument(bucket, await readRestore(bucket, name, signal), signal),
      () => readRun(bucket, "restore", name, signal),
    );

  app.openapi(routes.listRestores, async (context) => {
    const { limit, continue: token } = context.req.valid("query");
    const { entries, next } = await restorePage(bucket, { limit, after: positionOf(token) }, context.req.raw.signal);
    const frame = { schemaVersion: 1, kind: "restoreList", location: bucket.location } as const;
    return context.json({ ...frame, restores: entries, continue: tokenOf(next) }, 200);
  });

  app.openapi(routes.createRestore, async (context) => {
    const body = context.req.valid("json");
    const { backupName, scheduleName = "restore" } = body.spec ?? {};
    const { name = body.plan ?? requestName(backupName ?? scheduleName) } = body;
    const config = deps.into ? await deps.into(body.cluster) : deps.config;
    return submit(context, { ...deps, config }, { ...body, kind: "restore", name, caller: callerOf(context) });
  });

  app.openapi(routes.getRestore, async (context) => {
    const { name } = context.req.valid("param");
    return context.json(fitted(await readState(name, context.req.raw.signal)), 200);
  });

  app.openapi(routes.getPlan, async (context) => {
    const { name } = context.req.valid("param");
    const { limit, continue: token } = context.req.valid("query");
    const { signal } = context.req.raw;
    const found = await committedOr(
      async () => (await readPlan(bucket, name, signal)).document,
      () => readRun(bucket, "restore", name, signal),
    );
    if (found.kind !== "plan") return context.json(fitted(found), 200);
    const { entries, next } = entryPage(found.steps, { limit, start: offsetOf(token) });
    return context.json({ ...fitted({ ...found, steps: [] }), steps: entries, continue: tokenOf(next) }, 200);
  });

  app.openapi(routes.cancelRestore, async (context) => {
    const { name } = context.req.valid("param");
    checkName("restore", name);
    const { phase } = await readState(name, context.req.raw.signal);
    if (phase !== "New" && phase !== "InProgress") {
      throw new LifeboatError("conflict", `restore "${name}" is ${phase}: there is nothing to call off`);
    }
    const caller = callerOf(context);
    if ((await cancelWork({ bucket, kind: "restores", name }, caller)) === "done") {
      await abandonJob(bucket, { kind: "restore", name }, `cancelled${caller ? ` by ${caller}` : ""}`);
    }
    const state = await readState(name, context.req.raw.signal);
    return context.json(fitted(state), 202, { location: `/v1/restores/${name}` });
  });

  app.openapi(routes.restoreReport, async (context) => {
    const { signal } = context.req.raw;
    const record = await readRestore(bucket, context.req.valid("param").name, signal);
    const document = await readRestoreDocument(bucket, record, signal);
    return context.html(htmlPage(reportPage(document, await readOutcomes(bucket, record, signal))), 200);
  });

  app.openapi(routes.restoreObjects, async (context) => {
    const { name } = context.req.valid("param");
    const { limit, continue: token } = context.req.valid("query");
    const { signal } = context.req.raw;
    const outcomes = await readOutcomes(bucket, await readRestore(bucket, name, signal), signal);
    if (!outcomes) throw new LifeboatError("missing", `restore "${name}" keeps no account of its objects`);
    const { entries, next } = entryPage(outcomes, { limit, start: offsetOf(token) });
    const frame = { schemaVersion: 1, kind: "objectList", restore: name } as const;
    return context.json({ ...frame, objects: entries, continue: tokenOf(next) }, 200);
  });

  app.openapi(routes.restoreLogs, (context) =>
    sendLog(context, bucket, "restores", context.req.valid("param").name, context.req.valid("query").continue),
  );
}
