import { z } from "zod";
import type { BackupDocument, RestoreDocument } from "../documents.ts";
import { verifySchema } from "../integrity/document.ts";
import { verifiedSchema } from "../integrity/verified.ts";
import { checkWish, restoreWish, shardsSchema, verifyWish } from "../job.ts";
import { MOST_REASON, pinSchema } from "../pins.ts";
import type { RunDocument } from "../requests.ts";
import { planSchema } from "../restore/plan/plandocument.ts";
import { type RetentionDocument, rowSchema } from "../retention/document.ts";
import { backupSpecSchema } from "../specs.ts";
import { restoredVolumesSchema } from "../volumes/record.ts";
import type { Unreadable } from "./pages.ts";

const name = z.string().min(1).describe("a DNS-1123 subdomain; where it is left out, one is made");
const cluster = z.string().min(1).describe("of the configuration; not needed where that has only one");

/** What POST /v1/backups takes: a job, or a Velero Backup as it is. */
export const backupRequestSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("backup").optional(),
    name: name.optional(),
    cluster: cluster.optional(),
    schedule: z.string().min(1).optional().describe("of the configuration: its template and its labels are taken"),
    spec: backupSpecSchema.optional().describe("Velero's BackupSpec"),
    shards: shardsSchema.optional().describe("in how many parts at most it is read, each by a function of its own"),
  }),
  z.looseObject({ kind: z.literal("Backup"), apiVersion: z.literal("velero.io/v1") }).describe("a Velero Backup"),
]);

/** What POST /v1/restores takes. */
export const restoreRequestSchema = z
  .strictObject({
    kind: z.literal("restore").optional(),
    name: name.optional(),
    cluster: cluster.optional(),
    ...restoreWish,
  })
  .superRefine(checkWish);

/** What POST /v1/backups/{name}/verify takes. */
export const verifyRequestSchema = z.strictObject({ kind: z.literal("verify").optional(), ...verifyWish });

/** What a verification found. */
export const verifyAnswerSchema = verifySchema.meta({ id: "Verification" });

/** What PUT /v1/backups/{name}/pin takes. */
export const pinRequestSchema = z.strictObject({
  reason: z.string().min(1).max(MOST_REASON).optional().describe("why it must not be deleted"),
});

export const nameParameter = z.object({ name: z.string() });

const after = z.string().optional().describe("where the page before ended, as that said");
export const noQuery = z.strictObject({});
export const textQuery = z.strictObject({ continue: after });
export const pageQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  continue: after,
});

const problems = z.array(
  z.object({
    resource: z.string().optional(),
    namespace: z.string().optional(),
    name: z.string().optional(),
    message: z.string(),
  }),
);
const count = z.number();
const shared = { schemaVersion: z.literal(1), name: z.string(), phase: z.string(), location: z.string() };
const ended = {
  durationMs: z.number().optional(),
  startTimestamp: z.string().optional(),
  completionTimestamp: z.string().optional(),
  cluster: z.string().optional(),
  caller: z.string().optional(),
  spec: z.record(z.string(), z.unknown()),
  warnings: problems,
  errors: problems,
};

/** A backup that is complete. */
export const backupSchema: z.ZodType<BackupDocument> = z
  .object({
    ...shared,
    kind: z.literal("backup"),
    consistency: z
      .object({
        grade: z.enum(["exact", "mixed"]),
        resourceVersion: z.string(),
        exceptions: z.array(z.object({ resource: z.string(), reason: z.string() })),
      })
      .optional(),
    items: z.number(),
    bytes: z.number().optional(),
    findingCount: z.number().optional().describe("what a restore into an empty cluster would miss"),
    volumes: z
      .object({
        ...{ csiSnapshots: count, nativeSnapshots: count, fileCopies: count, fileBytes: count },
        ...{ leftOut: count, stays: count.optional(), lacking: count, podVolumes: count.optional() },
      })
      .optional()
      .describe("its bound claims by what became of their data; those that are lacking would come back empty"),
    usage: z.object({ puts: count, gets: count, lists: count, storedBytes: count }).optional(),
    hooks: z.object({ attempted: z.number(), failed: z.number() }).optional(),
    expiration: z.string().optional(),
    retainedUntil: z.string().optional(),
    pinned: pinSchema.optional().describe("that it must not be deleted"),
    verified: verifiedSchema.optional().describe("when a job last verified it, and what is damaged"),
    schedule: z.string().optional(),
    server: z.string().optional().describe("the URL of the cluster's API server"),
    encryption: z.enum(["all", "secrets"]).optional().describe("what of it is encrypted"),
    signedBy: z.string().optional().describe("the public key that has signed it"),
    kubernetesVersion: z.string().optional(),
    formatVersion: z.string().optional(),
    ...ended,
  })
  .meta({ id: "Backup" });

/** A restore that has ended. */
export const restoreSchema: z.ZodType<RestoreDocument> = z
  .object({
    ...shared,
    kind: z.literal("restore"),
    backup: z.string().optional(),
    counts: z.object({
      ...{ created: count, updated: count, recreated: count, pruned: count },
      ...{ skipped: count, blocked: count, failed: count },
    }),
    volumes: restoredVolumesSchema
      .optional()
      .describe("the claims that it created by how their data came; those that are lacking came back empty"),
    undoes: z.string().optional().describe("the restore that it undid, where it is an undo"),
    ...ended,
  })
  .meta({ id: "Restore" });

/** A backup or restore that is not there yet, or whose run failed. */
export const runSchema: z.ZodType<RunDocument> = z
  .object({
    ...shared,
    kind: z.enum(["backup", "restore", "verify"]),
    phase: z.enum(["New", "InProgress", "Failed"]),
    cluster: z.string().optional(),
    schedule: z.string().optional(),
    caller: z.string().optional(),
    requestTimestamp: z.string().optional(),
    spec: z.record(z.string(), z.unknown()),
    warnings: problems,
    errors: problems,
  })
  .meta({ id: "Run" });

/** What a restore would do; of its steps one page. */
export const planPageSchema = planSchema.extend({ continue: z.string().optional() }).meta({ id: "Plan" });

/** In a list: what can't be read, which never hides the others. */
export const unreadableSchema: z.ZodType<Unreadable> = z
  .object({
    schemaVersion: z.literal(1),
    kind: z.enum(["backup", "restore"]),
    name: z.string(),
    location: z.string(),
    problem: z.string(),
  })
  .meta({ id: "Unreadable" });

const list = { schemaVersion: z.literal(1), location: z.string(), continue: z.string().optional() };

export const backupListSchema = z
  .object({
    ...list,
    kind: z.literal("backupList"),
    backups: z.array(z.union([backupSchema, unreadableSchema])),
  })
  .meta({ id: "BackupList" });

export const restoreListSchema = z
  .object({
    ...list,
    kind: z.literal("restoreList"),
    restores: z.array(z.union([restoreSchema, unreadableSchema])),
  })
  .meta({ id: "RestoreList" });

export const objectListSchema = z
  .object({
    schemaVersion: z.literal(1),
    kind: z.literal("objectList"),
    restore: z.string(),
    objects: z.array(
      z.object({
        resource: z.string(),
        apiVersion: z.string(),
        kind: z.string(),
        namespace: z.string(),
        name: z.string(),
        action: z.enum(["created", "updated", "recreated", "pruned", "skipped", "blocked", "failed"]),
        reason: z.string().optional(),
        warning: z.literal(true).optional(),
      }),
    ),
    continue: z.string().optional(),
  })
  .meta({ id: "ObjectList" });

/** What a restore of a backup would miss. */
export const findingListSchema = z
  .object({
    schemaVersion: z.literal(1),
    kind: z.literal("findingList"),
    backup: z.string(),
    findings: z.array(
      z.object({
        ...{ resource: z.string(), namespace: z.string(), name: z.string() },
        ...{ rule: z.string(), message: z.string() },
      }),
    ),
    continue: z.string().optional(),
  })
  .meta({ id: "FindingList" });

const flag = z
  .enum(["true", "false"])
  .default("false")
  .transform((text) => text === "true");
const names = z
  .string()
  .transform((text) => text.split(",").map((name) => name.trim()))
  .pipe(z.array(z.string().min(1)))
  .optional()
  .describe("names of backups, with commas between them: only those");
const choice = { backup: names, schedule: z.string().optional().describe("only the backups of this schedule") };

const criteria = {
  text: z.string().optional().describe("in names, namespaces, images, and labels as key=value; in upper or lower case"),
  kind: z.string().optional().describe("plural, kind or short name of the resource, with or without its group"),
  name: z.string().optional().describe("a name, or a glob"),
  namespace: z.string().optional().describe("a name, or a glob"),
  image: z.string().optional().describe("in the name of an image; in upper or lower case"),
  label: z.string().optional().describe("a label selector"),
};

/** What GET /v1/search takes. */
export const searchQuery = pageQuery.extend({ ...criteria, ...choice });

/** What GET /v1/history takes. */
export const historyQuery = pageQuery.extend({
  object: z.string().describe("namespace/resource/name, or resource/name"),
  diff: flag.describe("with the fields that were changed; of Secrets no values"),
  all: flag.describe("what only servers and controllers wrote is a change too"),
  ...choice,
});

const time = { backup: z.string(), timestamp: z.string().optional() };

/** What a search found; of the objects one page. */
export const searchSchema = z
  .object({
    ...list,
    kind: z.literal("search"),
    criteria: z.object(criteria),
    searched: count.describe("backups that were looked into"),
    objects: z.array(
      z.object({
        ...{ resource: z.string(), kind: z.string(), namespace: z.string(), name: z.string() },
        ...{ backups: count, first: z.object(time), last: z.object(time) },
      }),
    ),
    cut: z.literal(true).optional().describe("there are more, which only older backups hold"),
    warnings: problems,
  })
  .meta({ id: "Search" });

/** The history of an object; of the events one page. */
export const historySchema = z
  .object({
    ...list,
    kind: z.literal("history"),
    ...{ resource: z.string(), namespace: z.string(), name: z.string() },
    searched: count.describe("backups that were looked into"),
    silent: count.describe("those of them that don't tell whether it was there"),
    events: z.array(
      z.object({
        change: z.enum(["appeared", "changed", "recreated", "disappeared"]),
        ...time,
        previous: z.object(time).optional().describe("it happened after this backup was begun"),
        backups: count.describe("in so many, one after the other, it stayed so"),
        last: z.object(time),
        ...{ apiVersion: z.string().optional(), uid: z.string().optional(), resourceVersion: z.string().optional() },
        versions: count.optional().describe("more than one where servers and controllers wrote"),
        diff: z
          .array(z.object({ path: z.string(), from: z.unknown().optional(), to: z.unknown().optional() }))
          .optional(),
      }),
    ),
    warnings: problems,
  })
  .meta({ id: "History" });

/** What DELETE of a backup takes. */
export const deletionQuery = z.strictObject({
  keepVolumeData: flag.describe("leave the copies of its volumes in their storage"),
});

export const retentionQuery = pageQuery.extend({
  schedule: z.string().min(1).optional().describe("only the backups of this schedule of the configuration"),
});

/** What POST /v1/checks takes. */
export const checkRequestSchema = z.strictObject({
  kind: z.literal("check").optional(),
  cluster: cluster.optional().describe("of the configuration: only this one"),
});

/** What POST /v1/fleet takes. */
export const fleetRequestSchema = z.strictObject({
  kind: z.literal("fleet").optional(),
  schedule: z.string().min(1).describe("of the configuration"),
});

/** What POST /v1/retention takes. */
export const retentionRequestSchema = z.strictObject({
  kind: z.literal("retention").optional(),
  schedule: z.string().min(1).optional().describe("of the configuration: only its backups"),
});

/** What retention would do; of its rows one page. */
export const retentionPageSchema: z.ZodType<RetentionDocument & { continue?: string }> = z
  .object({
    schemaVersion: z.literal(1),
    kind: z.literal("retention"),
    name: z.string(),
    dryRun: z.boolean(),
    phase: z.enum(["Completed", "PartiallyFailed"]),
    location: z.string(),
    schedule: z.string().optional(),
    timestamp: z.string().describe("the time by which ages were judged"),
    counts: z.object({ keep: count, delete: count }).describe("of all rows"),
    freedBytes: count,
    rows: z.array(rowSchema),
    warnings: problems,
    errors: problems,
    continue: z.string().optional(),
  })
  .meta({ id: "Retention" });

/** A run of retention that was asked for. */
export const retentionRunSchema = z
  .object({ ...shared, kind: z.literal("retention"), phase: z.literal("New"), schedule: z.string().optional() })
  .meta({ id: "RetentionRun" });

/** What is in a backup. */
export const itemListSchema = z
  .object({
    schemaVersion: z.literal(1),
    kind: z.literal("itemList"),
    backup: z.string(),
    items: z.array(
      z.object({ apiVersion: z.string(), kind: z.string(), namespace: z.string().optional(), name: z.string() }),
    ),
    continue: z.string().optional(),
  })
  .meta({ id: "ItemList" });
