import { createRoute } from "@hono/zod-openapi";
import { z } from "zod";
import { checkDocumentSchema } from "../check/document.ts";
import { fleetDocumentSchema, fleetRunSchema } from "../fleet/document.ts";
import { clusterListSchema } from "../fleet/standing.ts";
import { problemSchema } from "./problem.ts";
import {
  backupListSchema,
  backupRequestSchema,
  backupSchema,
  checkRequestSchema,
  deletionQuery,
  findingListSchema,
  fleetRequestSchema,
  historyQuery,
  historySchema,
  itemListSchema,
  nameParameter,
  noQuery,
  objectListSchema,
  pageQuery,
  pinRequestSchema,
  planPageSchema,
  restoreListSchema,
  restoreRequestSchema,
  restoreSchema,
  retentionPageSchema,
  retentionQuery,
  retentionRequestSchema,
  retentionRunSchema,
  runSchema,
  searchQuery,
  searchSchema,
  textQuery,
  verifyAnswerSchema,
  verifyRequestSchema,
} from "./schemas.ts";

const json = <Schema extends z.ZodType>(schema: Schema) => ({ "application/json": { schema } });
const answer = <Schema extends z.ZodType>(description: string, schema: Schema) => ({
  description,
  content: json(schema),
});
const logAnswer = {
  description: "The log in logrus' text format, at most 4 MiB of it",
  headers: z.object({ link: z.string().optional().describe('the next part, as <…>; rel="next"') }),
  content: { "text/plain": { schema: z.string() } },
};
const accepted = <Schema extends z.ZodType>(schema: Schema) => ({
  ...answer("It will be done; Location is where to ask how it goes", schema),
  headers: z.object({ location: z.string() }),
});
const body = <Schema extends z.ZodType>(schema: Schema, required: boolean) => ({ content: json(schema), required });
const named = { params: nameParameter, query: noQuery };
const problem = {
  default: { description: "What went wrong", content: { "application/problem+json": { schema: problemSchema } } },
};

/** Every route of the API, as the OpenAPI document tells of it. */
export const routes = {
  health: createRoute({
    method: "get",
    path: "/healthz",
    summary: "Whether the service answers",
    security: [],
    request: { query: noQuery },
    responses: { 200: answer("It does", z.object({ status: z.literal("ok"), version: z.string() })), ...problem },
  }),
  check: createRoute({
    method: "post",
    path: "/v1/checks",
    summary: "Ask whether backups can be made, by the identity of the service: rights, credentials, bucket, clock",
    request: { query: noQuery, body: body(checkRequestSchema, false) },
    responses: {
      200: answer("What was found; nothing is changed but for a probe in the bucket", checkDocumentSchema),
      ...problem,
    },
  }),
  getFleet: createRoute({
    method: "get",
    path: "/v1/fleet",
    summary: "How each cluster of the fleet stands: its last good backup, the next one, and its problems",
    request: { query: noQuery },
    responses: { 200: answer("All of them, by name", clusterListSchema), ...problem },
  }),
  runFleet: createRoute({
    method: "post",
    path: "/v1/fleet",
    summary: "Make the backups of a schedule now, of all of its clusters",
    request: { query: noQuery, body: body(fleetRequestSchema, true) },
    responses: { 202: accepted(fleetRunSchema), ...problem },
  }),
  getFleetRun: createRoute({
    method: "get",
    path: "/v1/fleet/{name}",
    summary: "What became of a run of the fleet, or how far it is",
    request: named,
    responses: { 200: answer("The run", z.union([fleetDocumentSchema, fleetRunSchema])), ...problem },
  }),
  listBackups: createRoute({
    method: "get",
    path: "/v1/backups",
    summary: "The complete backups, by name",
    request: { query: pageQuery },
    responses: { 200: answer("A page of them", backupListSchema), ...problem },
  }),
  createBackup: createRoute({
    method: "post",
    path: "/v1/backups",
    summary: "Make a backup",
    request: { query: noQuery, body: body(backupRequestSchema, false) },
    responses: { 202: accepted(runSchema), ...problem },
  }),
  getBackup: createRoute({
    method: "get",
    path: "/v1/backups/{name}",
    summary: "A backup, or how its run stands",
    request: named,
    responses: { 200: answer("The backup", z.union([backupSchema, runSchema])), ...problem },
  }),
  deleteBackup: createRoute({
    method: "delete",
    path: "/v1/backups/{name}",
    summary: "Delete a backup with the copies of its volumes, or what an interrupted run left of it",
    request: { params: nameParameter, query: deletionQuery },
    responses: { 204: { description: "It is gone" }, ...problem },
  }),
  verifyBackup: createRoute({
    method: "post",
    path: "/v1/backups/{name}/verify",
    summary: "Look for damage in a backup",
    request: { ...named, body: body(verifyRequestSchema, false) },
    responses: { 202: accepted(runSchema), ...problem },
  }),
  getVerification: createRoute({
    method: "get",
    path: "/v1/backups/{name}/verify",
    summary: "What the newest verification of a backup found, or how its run stands",
    request: named,
    responses: { 200: answer("What it found", z.union([verifyAnswerSchema, runSchema])), ...problem },
  }),
  pinBackup: createRoute({
    method: "put",
    path: "/v1/backups/{name}/pin",
    summary: "Pin a backup: it is not deleted until it is unpinned",
    request: { ...named, body: body(pinRequestSchema, false) },
    responses: { 200: answer("The backup, pinned", backupSchema), ...problem },
  }),
  unpinBackup: createRoute({
    method: "delete",
    path: "/v1/backups/{name}/pin",
    summary: "Unpin a backup",
    request: named,
    responses: { 200: answer("The backup, unpinned", backupSchema), ...problem },
  }),
  backupLogs: createRoute({
    method: "get",
    path: "/v1/backups/{name}/logs",
    summary: "The log of a backup, or of its last failed run",
    request: { params: nameParameter, query: textQuery },
    responses: { 200: logAnswer, ...problem },
  }),
  backupItems: createRoute({
    method: "get",
    path: "/v1/backups/{name}/items",
    summary: "What is in a backup",
    request: { params: nameParameter, query: pageQuery },
    responses: { 200: answer("A page of it", itemListSchema), ...problem },
  }),
  backupFindings: createRoute({
    method: "get",
    path: "/v1/backups/{name}/findings",
    summary: "What a restore of a backup into an empty cluster would miss",
    request: { params: nameParameter, query: pageQuery },
    responses: { 200: answer("A page of it", findingListSchema), ...problem },
  }),
  search: createRoute({
    method: "get",
    path: "/v1/search",
    summary: "Which objects are in which backups: names, namespaces, kinds, labels and images, not bodies",
    request: { query: searchQuery },
    responses: { 200: answer("A page of them, those of the newest backups first", searchSchema), ...problem },
  }),
  history: createRoute({
    method: "get",
    path: "/v1/history",
    summary: "What became of an object from backup to backup",
    request: { query: historyQuery },
    responses: { 200: answer("A page of its events, the first ones first", historySchema), ...problem },
  }),
  listRestores: createRoute({
    method: "get",
    path: "/v1/restores",
    summary: "The restores that have ended, by name",
    request: { query: pageQuery },
    responses: { 200: answer("A page of them", restoreListSchema), ...problem },
  }),
  createRestore: createRoute({
    method: "post",
    path: "/v1/restores",
    summary: "Restore a backup",
    request: { query: noQuery, body: body(restoreRequestSchema, true) },
    responses: { 202: accepted(runSchema), ...problem },
  }),
  getRestore: createRoute({
    method: "get",
    path: "/v1/restores/{name}",
    summary: "A restore, or how its run stands",
    request: named,
    responses: { 200: answer("The restore", z.union([restoreSchema, runSchema])), ...problem },
  }),
  getPlan: createRoute({
    method: "get",
    path: "/v1/plans/{name}",
    summary: "What a restore would do (a restore asked for with dryRun), or how its run stands; a page of the steps",
    request: { params: nameParameter, query: pageQuery },
    responses: { 200: answer("The plan", z.union([planPageSchema, runSchema])), ...problem },
  }),
  cancelRestore: createRoute({
    method: "delete",
    path: "/v1/restores/{name}",
    summary: "Call off a restore that is New or InProgress",
    request: named,
    responses: { 202: accepted(z.union([restoreSchema, runSchema])), ...problem },
  }),
  previewRetention: createRoute({
    method: "get",
    path: "/v1/retention",
    summary: "What retention would delete now, and why; a page of what it looks at",
    request: { query: retentionQuery },
    responses: { 200: answer("What it would do: nothing is written", retentionPageSchema), ...problem },
  }),
  runRetention: createRoute({
    method: "post",
    path: "/v1/retention",
    summary: "Delete what nothing keeps",
    request: { query: noQuery, body: body(retentionRequestSchema, false) },
    responses: { 202: accepted(retentionRunSchema), ...problem },
  }),
  restoreReport: createRoute({
    method: "get",
    path: "/v1/restores/{name}/report",
    summary: "The report of a restore that has ended, as a page for people",
    request: named,
    responses: {
      200: { description: "One self-contained page", content: { "text/html": { schema: z.string() } } },
      ...problem,
    },
  }),
  restoreObjects: createRoute({
    method: "get",
    path: "/v1/restores/{name}/objects",
    summary: "What became of each object of a restore",
    request: { params: nameParameter, query: pageQuery },
    responses: { 200: answer("A page of them", objectListSchema), ...problem },
  }),
  restoreLogs: createRoute({
    method: "get",
    path: "/v1/restores/{name}/logs",
    summary: "The log of a restore, or of its last failed run",
    request: { params: nameParameter, query: textQuery },
    responses: { 200: logAnswer, ...problem },
  }),
};
