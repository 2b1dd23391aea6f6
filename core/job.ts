import { z } from "zod";
import { LifeboatError } from "./errors.ts";
import { fieldProblems, problemText } from "./fields.ts";
import { backupSpecSchema, restoreSpecSchema } from "./specs.ts";

/** What a job of the whole location is called. */
export const ALL = "all";

const time = z.iso.datetime({ offset: true });
/** Of backups, and of the runs of a fleet that make them. */
const runName = z.string().regex(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, "is no name of a backup");
/** In characters: names of identities that are longer are cut. */
export const LONGEST_CALLER = 500;
const asked = {
  /** Who asked for it, where somebody did: for the record. */
  caller: z.string().max(LONGEST_CALLER).optional(),
  /** Not to be begun before: for platforms that can't delay a delivery. */
  notBefore: time.optional(),
};
/** Of which run it is the rest, where there was no time for all of it. */
const run = z
  .string()
  .regex(/^[0-9a-f]{32}$/)
  .optional();
/** Of a fleet: only the clusters whose names come after this one, as the others have been handed over. */
const after = z.string().min(1).optional();
/** What a job of a whole fleet says to itself: how often the clouds could not be asked for its clusters. */
const tried = z.int().min(0).optional();
const shared = { cluster: z.string().min(1).optional(), name: z.string().min(1).optional(), ...asked };

/** What a restore is to do. */
export const restoreWish = {
  spec: restoreSpecSchema.optional().describe("Velero's RestoreSpec, with either backupName or scheduleName"),
  dryRun: z.boolean().optional().describe("write nothing to the cluster: the result is a plan"),
  plan: z.string().min(1).optional().describe("in place of the spec: do what this plan says, if it still holds"),
};

/** A restore is of a spec or of a plan; a dry run of a spec. */
export function checkWish(
  { spec, dryRun, plan }: { spec?: object; dryRun?: boolean; plan?: string },
  context: z.RefinementCtx,
) {
  const refuse = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
  if (spec === undefined && plan === undefined) refuse("spec", "is missing: give it, or a plan");
  if (spec !== undefined && plan !== undefined) refuse("spec", "is the plan's: leave it out");
  if (dryRun && plan !== undefined) refuse("dryRun", "goes with a spec: a plan is one's result");
}

/** How much of an archive's data a verification reads. */
export const verifyWish = {
  readData: z.boolean().optional().describe("read all of the archive's data, too"),
  sample: z
    .string()
    .refine((text) => readShare(text) !== undefined, "is no share: write it like 5%")
    .optional()
    .describe('in its place: read so much of it, chosen at random, e.g. "5%"'),
};

/** Which backups are verified where none is named. */
export const verifyChoice = { backups: z.enum(["newest", "all"]).optional() };

/** In how many shards at most a backup is read, each by a function of its own. */
export const shardsSchema = z.int().min(1).max(100);

/** All of the data, or a share of it. */
export function checkShare({ readData, sample }: { readData?: boolean; sample?: string }, context: z.RefinementCtx) {
  if (readData !== undefined && sample !== undefined)
    context.addIssue({ code: "custom", path: ["sample"], message: "goes in place of readData" });
}

/** The share of an archive's data, 0 to 1, that "5%" means; undefined for what means none. */
export function readShare(text: string): number | undefined {
  const percent = Number(/^(\d+(?:\.\d+)?)%$/.exec(text)?.[1]);
  return percent > 0 && percent <= 100 ? percent / 100 : undefined;
}

/** A job that is recorded under a name, where somebody asks for it. */
export const recordedJobSchema = z.discriminatedUnion("kind", [
  z
    .strictObject({
      kind: z.literal("backup"),
      ...shared,
      /** A schedule of the configuration. */
      schedule: z.string().min(1).optional(),
      /** The scheduled time; where not given, the schedule's last one at or before now. */
      slot: time.optional(),
      spec: backupSpecSchema.optional(),
      shards: shardsSchema.optional(),
      /** What a sharded backup says to itself: of a shard of it, which one; of the rest, when shards were last handed over, how often
       * since something was last read, and how many items were. */
      shard: z.int().min(1).optional(),
      handed: z.strictObject({ at: time, times: z.int().min(0), items: z.int().min(0) }).optional(),
      /** The run of a fleet's schedule that it is a part of. */
      fleet: runName.optional(),
      /** When that run's time is over: what isn't done by then is cut off. */
      until: time.optional(),
    })
    .superRefine(({ schedule, slot, spec, shard, name }, context) => {
      const refuse = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
      if (schedule === undefined && slot !== undefined) refuse("slot", "goes with a schedule");
      if (schedule !== undefined && spec !== undefined) refuse("spec", "is the schedule's template: leave it out");
      if (shard !== undefined && name === undefined) refuse("shard", "goes with a name");
    }),
  z
    .strictObject({
      kind: z.literal("restore"),
      ...shared,
      /** Of a fleet: the cluster whose location has the backup, and gets the restore, where that is not the one restored into. */
      from: z.string().min(1).optional(),
      ...restoreWish,
    })
    .superRefine(checkWish),
  z
    .strictObject({
      kind: z.literal("verify"),
      /** `name`: the backup's; `cluster`: of a fleet. */
      ...shared,
      /** In its place: the newest backup that can be restored of this schedule. */
      schedule: z.string().min(1).optional(),
      /** Without either, of the location; what is not said is as in the configuration. */
      ...verifyChoice,
      ...verifyWish,
      /** The scheduled time at which that is due: it is done once. */
      slot: time.optional(),
      run,
      after,
    })
    .superRefine(({ name, schedule, backups, slot }, context) => {
      const refuse = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
      if (name !== undefined && schedule !== undefined) refuse("schedule", "goes in place of name");
      if (name === undefined && schedule === undefined) return;
      if (backups !== undefined) refuse("backups", "goes in place of name and schedule");
      if (slot !== undefined) refuse("slot", "does not go with name or schedule");
    })
    .superRefine(checkShare),
]);

export type RecordedJob = z.infer<typeof recordedJobSchema>;

/** What every trigger becomes (design: contract 6.5). */
const jobSchema = z.discriminatedUnion("kind", [
  recordedJobSchema,
  z.strictObject({
    kind: z.literal("retention"),
    ...asked,
    /** Of a fleet: only this one's; without it, all of them. */
    cluster: z.string().min(1).optional(),
    /** Of the configuration: only its backups. */
    schedule: z.string().min(1).optional(),
    tried,
    run,
    after,
  }),
  /** A fleet's schedule: a backup of each of its clusters, and then a summary. */
  z.strictObject({
    kind: z.literal("fleet"),
    ...asked,
    schedule: z.string().min(1),
    /** As of a backup. */
    slot: time.optional(),
    /** In its place, where it is not a clock that asks: what the backups are called. */
    name: runName.optional(),
    /** What it says to itself: the SHA-256 of which clusters it is of (fleet/members.ts), how many of them have been handed over, and when
     * those were once more of which nothing was heard: all, or those up to `after`. */
    members: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .optional(),
    given: z.number().int().min(0).optional(),
    again: time.optional(),
    after,
    tried,
  }),
  z.strictObject({
    kind: z.literal("check"),
    ...asked,
    /** Of the configuration: only this one. */
    cluster: z.string().min(1).optional(),
  }),
]);

export type Job = z.infer<typeof jobSchema>;

export type BackupJob = Extract<Job, { kind: "backup" }>;
export type RestoreJob = Extract<Job, { kind: "restore" }>;
export type VerifyJob = Extract<Job, { kind: "verify" }>;
export type RetentionJob = Extract<Job, { kind: "retention" }>;
/** The job of a fleet's schedule. */
export type FleetJob = Extract<Job, { kind: "fleet" }>;

/** A job that is done under a lock and leaves something; a check is answered, and leaves nothing. */
export type LockedJob = Exclude<Job, { kind: "check" }>;

/** One of them that is of one cluster and its location. */
export type ClusterJob = Exclude<LockedJob, FleetJob>;

/** Whether it is the verification of a whole location, not of one backup or schedule. */
export function isOfLocation({
  kind,
  name,
  schedule,
}: Partial<Record<"kind" | "name" | "schedule", unknown>>): boolean {
  return kind === "verify" && name === undefined && schedule === undefined;
}

/** The job that a trigger's message is. Throws `invalid`, with the place of what is wrong. */
export function readJob(message: unknown): Job {
  const parsed = jobSchema.safeParse(message);
  if (parsed.success) return parsed.data;
  const problems = fieldProblems(parsed.error).map(problemText).join("; ");
  throw new LifeboatError("invalid", `the message is no job: ${problems}`, {
    hint: 'a job is {"kind": "backup", "schedule": …}, {"kind": "restore", "spec": {"backupName": …}}, {"kind": "verify", "name": …}, {"kind": "retention"} or {"kind": "check"}',
  });
}
