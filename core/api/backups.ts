import type { OpenAPIHono } from "@hono/zod-openapi";
import { backupKeysOf, readBackup } from "../catalog.ts";
import { deleteBackup } from "../delete.ts";
import { readBackupDocument, readFindings, readResourceList } from "../documents.ts";
import { LifeboatError } from "../errors.ts";
import { lastVerification } from "../integrity/verified.ts";
import { checkName } from "../names.ts";
import { pinBackup, unpinBackup } from "../pins.ts";
import type { Bucket } from "../ports.ts";
import { readRun, requestName } from "../requests.ts";
import { readBackupManifest } from "../schedule/manifest.ts";
import { scheduledName } from "../schedule/slots.ts";
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
import { backupPage, entryPage, fitted } from "./pages.ts";
import { routes } from "./routes.ts";

/** Adds what the API can do with backups. */
export function addBackups(app: OpenAPIHono<Env>, deps: ApiDeps): void {
  const { bucket } = deps;
  const readDocument = async (name: string, signal: AbortSignal) =>
    readBackupDocument(bucket, await readBackup(bucket, name, signal), signal);

  app.openapi(routes.listBackups, async (context) => {
    const { limit, continue: token } = context.req.valid("query");
    const { entries, next } = await backupPage(bucket, { limit, after: positionOf(token) }, context.req.raw.signal);
    const frame = { schemaVersion: 1, kind: "backupList", location: bucket.location } as const;
    return context.json({ ...frame, backups: entries, continue: tokenOf(next) }, 200);
  });

  app.openapi(routes.createBackup, async (context) => {
    const body = context.req.valid("json");
    const caller = callerOf(context);
    if (body.kind === "Backup") {
      const { warnings, ...manifest } = readBackupManifest(body);
      return submit(context, deps, { kind: "backup", ...manifest, caller }, warnings);
    }
    const { name = body.schedule ? scheduledName(body.schedule, new Date()) : requestName("backup") } = body;
    return submit(context, deps, { ...body, kind: "backup", name, caller });
  });

  app.openapi(routes.getBackup, async (context) => {
    const { name } = context.req.valid("param");
    const { signal } = context.req.raw;
    const document = await committedOr(
      () => readDocument(name, signal),
      () => readRun(bucket, "backup", name, signal),
    );
    return context.json(fitted(document), 200);
  });

  app.openapi(routes.deleteBackup, async (context) => {
    const { name } = context.req.valid("param");
    const { keepVolumeData } = context.req.valid("query");
    await using removal = deps.removal?.();
    const volumes = keepVolumeData ? "keep" : removal && { means: async () => removal };
    await deleteBackup(bucket, name, context.req.raw.signal, { volumes });
    return context.body(null, 204);
  });

  app.openapi(routes.verifyBackup, async (context) => {
    const { name } = context.req.valid("param");
    return submit(context, deps, { ...context.req.valid("json"), kind: "verify", name, caller: callerOf(context) });
  });

  app.openapi(routes.getVerification, async (context) => {
    const { name } = context.req.valid("param");
    checkName("backup", name);
    const { signal } = context.req.raw;
    const run = await readRun(bucket, "verify", name, signal);
    const found = run ? fitted(run) : (await lastVerification(bucket, name, signal))?.document;
    if (found) return context.json(found, 200);
    throw new LifeboatError("missing", `backup "${name}" has not been verified by a job`, {
      hint: "a POST to the same path asks for that",
    });
  });

  app.openapi(routes.pinBackup, async (context) => {
    const { name } = context.req.valid("param");
    const { reason } = context.req.valid("json");
    const { signal } = context.req.raw;
    await pinBackup(bucket, name, { by: callerOf(context), reason, signal });
    return context.json(fitted(await readDocument(name, signal)), 200);
  });

  app.openapi(routes.unpinBackup, async (context) => {
    const { name } = context.req.valid("param");
    const { signal } = context.req.raw;
    await unpinBackup(bucket, name, { by: callerOf(context), signal });
    return context.json(fitted(await readDocument(name, signal)), 200);
  });

  app.openapi(routes.backupLogs, (context) =>
    sendLog(context, bucket, "backups", context.req.valid("param").name, context.req.valid("query").continue),
  );

  app.openapi(routes.backupItems, async (context) => {
    const { name } = context.req.valid("param");
    const { limit, continue: token } = context.req.valid("query");
    const items = await readItems(bucket, name, context.req.raw.signal);
    const { entries, next } = entryPage(items, { limit, start: offsetOf(token) });
    const frame = { schemaVersion: 1, kind: "itemList", backup: name } as const;
    return context.json({ ...frame, items: entries, continue: tokenOf(next) }, 200);
  });

  app.openapi(routes.backupFindings, async (context) => {
    const { name } = context.req.valid("param");
    const { limit, continue: token } = context.req.valid("query");
    const { signal } = context.req.raw;
    const findings = (await readFindings(bucket, await readBackup(bucket, name, signal), signal)) ?? [];
    const { entries, next } = entryPage(findings, { limit, start: offsetOf(token) });
    const frame = { schemaVersion: 1, kind: "findingList", backup: name } as const;
    return context.json({ ...frame, findings: entries, continue: tokenOf(next) }, 200);
  });
}

/** What a backup's resource list names, Velero's too. */
async function readItems(bucket: Bucket, name: string, signal: AbortSignal) {
  const key = backupKeysOf(await readBackup(bucket, name, signal)).resourceList;
  const list = await readResourceList(bucket, key, signal);
  if (!list) throw new LifeboatError("missing", `backup "${name}" has no list of its items: there is no ${key}`);
  return Object.entries(list).flatMap(([type, names]) => {
    const cut = type.lastIndexOf("/");
    const of = { apiVersion: type.slice(0, cut), kind: type.slice(cut + 1) };
    return names.map((path) => {
      const [first = "", ...rest] = path.split("/");
      return rest.length ? { ...of, namespace: first, name: rest.join("/") } : { ...of, name: first };
    });
  });
}
