import { LineCounter, parseAllDocuments } from "yaml";
import { z } from "zod";
import { CLUSTER } from "./catalog.ts";
import { type ClusterReference, clusterReferenceSchema } from "./cluster.ts";
import { dictionary } from "./configured.ts";
import { parseDuration } from "./duration.ts";
import { encrypterFor } from "./encryption/age.ts";
import { readEnvironment, type Setting } from "./environment.ts";
import { isLifeboatError, LifeboatError } from "./errors.ts";
import { fieldProblems, problemText, strictFields } from "./fields.ts";
import {
  type ClusterChoice,
  CONFIGURED_NAME,
  choiceWarnings,
  clusterChoiceSchema,
  type FleetSettings,
  fleetProblems,
  fleetSchema,
} from "./fleet/settings.ts";
import type { SigningKeys } from "./integrity/keys.ts";
import { checkShare, shardsSchema, verifyChoice, verifyWish } from "./job.ts";
import { labelsSchema } from "./labels.ts";
import { parseLocation } from "./location.ts";
import { type Notification, notificationSchema } from "./notify.ts";
import { type Retention, retentionSchema } from "./retention/rules.ts";
import { readClock } from "./schedule/cron.ts";
import { isManifest, manifestsIn, readScheduleManifest, withoutNulls } from "./schedule/manifest.ts";
import { secretReference } from "./secrets.ts";
import { type BackupSpec, backupSpecSchema, leftOut } from "./specs.ts";
import { checkMoving } from "./volumes/means.ts";
import { type ResticConfig, resticSchema } from "./volumes/restic/settings.ts";
import { yamlFault } from "./yamlfault.ts";

/** What a deployment is told: where backups lie, which clusters there are, when which of them is backed up. */
export interface Config {
  location: string;
  clusters: Record<string, ConfiguredCluster>;
  /** None where there is a fleet: its own are of many clusters. */
  schedules: Record<string, Schedule>;
  /** Where it is there, each cluster's backups lie in a location of its own below this one: see `narrowed`. */
  fleet?: Fleet;
  /** Where it is a fleet's narrowed to the cluster `of`: the schedules that don't choose that, with whom they choose, for people. */
  member?: { of: string; otherSchedules: Record<string, string> };
  /** To whom backups are encrypted, and by what they are read. */
  encryption: { recipients?: string[]; identity?: string };
  /** Whom to tell of jobs that ended. */
  notifications: Record<string, Notification>;
  signing: SigningKeys;
  /** With what files of volumes are copied. */
  volumes: { restic?: ResticConfig };
  /** When retention is run, as `readClock` takes it, where the platform's clock follows the configuration. */
  retentionSchedule?: string;
  /** Which backups are verified where no job names one, how much of them is read, and, likewise, when. */
  verify?: Verification;
  /** A Go duration: how long restores can be looked at and undone; for good where it is not there. */
  restoreTTL?: string;
}

/** A cluster, and the labels by which schedules of a fleet select it. */
export type ConfiguredCluster = ClusterReference & { labels?: Record<string, string> };

/** One location for many clusters, with schedules that are each of many. */
export interface Fleet extends FleetSettings {
  schedules: Record<string, FleetSchedule>;
}

/** A configuration of a fleet. */
export type FleetConfig = Config & { fleet: Fleet };

/** A schedule of many clusters. */
export type FleetSchedule = Omit<Schedule, "cluster"> & { clusters: ClusterChoice };

/** How the location is verified. */
export interface Verification {
  schedule?: string;
  /** The newest of each schedule, which is the default, or all. */
  backups?: "newest" | "all";
  readData?: boolean;
  sample?: string;
}

/** One schedule, with the meaning of Velero's. */
export interface Schedule {
  name: string;
  /** As `readClock` takes it. */
  schedule: string;
  timeZone?: string;
  /** A name of the configuration's `clusters`. */
  cluster: string;
  /** Until somebody has said otherwise: see `readPause`. */
  paused: boolean;
  /** Slots that were missed are not made up for. */
  skipImmediately: boolean;
  /** With `retention` it has no ttl: no expiration stands in the records, by which Velero would delete (design: 6.2). */
  template: BackupSpec;
  retention?: Retention;
  /** Of its backups. */
  labels?: Record<string, string>;
  /** In how many shards at most each is read, by functions of their own; in one where it is not said. */
  shards?: number;
}

const name = z.string().regex(CONFIGURED_NAME, "a name has lower-case letters, digits and inner '-', at most 63");
const scheduleSchema = strictFields({
  schedule: z.string(),
  timeZone: z.string().optional(),
  cluster: z.string().optional(),
  clusters: clusterChoiceSchema.optional(),
  paused: z.boolean().default(false),
  skipImmediately: z.boolean().default(false),
  template: backupSpecSchema.optional(),
  retention: retentionSchema.optional(),
  labels: labelsSchema.optional(),
  shards: shardsSchema.optional(),
}).superRefine((schedule, context) => {
  const reason = refusal(() => readClock(schedule));
  if (reason) context.addIssue({ code: "custom", path: ["schedule"], message: reason });
});

const keyReference = secretReference("key.pem");

const clock = checkedBy((schedule) => readClock({ schedule }));

const configSchema = strictFields({
  location: checkedBy(checkLocation),
  clusters: z.record(name, clusterReferenceSchema).default({}),
  schedules: z.record(name, scheduleSchema).default({}),
  fleet: fleetSchema(name).optional(),
  notifications: z.record(name, notificationSchema).default({}),
  signing: strictFields({
    key: keyReference.optional(),
    publicKeys: z.array(keyReference).min(1, "is empty: leave it out to trust every backup").optional(),
  }).default({}),
  encryption: strictFields({
    /** Public keys of age. */
    recipients: z
      .array(checkedBy((recipient) => encrypterFor([recipient])))
      .min(1, "is empty: leave it out to encrypt nothing")
      .optional(),
    identity: secretReference("identity.txt").optional(),
  }).default({}),
  volumes: strictFields({ restic: resticSchema.optional() }).default({}),
  retentionSchedule: clock.optional(),
  verify: strictFields({ schedule: clock.optional(), ...verifyChoice, ...verifyWish })
    .superRefine(checkShare)
    .optional(),
  restoreTTL: checkedBy(checkTTL).optional(),
});

/** A text that `check` does not throw `invalid` for. */
function checkedBy(check: (text: string) => unknown) {
  return z.string().superRefine((text, context) => {
    const reason = refusal(() => check(text));
    if (reason) context.addIssue({ code: "custom", message: reason });
  });
}

/** A configuration as it was written, before it is checked. */
interface Raw {
  clusters?: unknown;
  schedules?: unknown;
  fleet?: unknown;
}

/**
 * The configuration of a YAML text (see lifeboat.example.yaml) and of the environment, which wins: each of its values
 * may be a variable (`readEnvironment`). Documents of the text may be Velero Schedules, or Lists of them, as they are;
 * one whose cluster isn't the only one names it by the annotation `lifeboat/cluster`.
 *
 * Throws `invalid` with all that is wrong and where. `warnings` tells what is accepted and has no effect.
 */
export function parseConfig(
  text: string | undefined,
  env: Record<string, string | undefined>,
): { config: Config; warnings: string[] } {
  const problems: string[] = [];
  const { raw, manifests } = rawConfig(text ?? "", problems);
  if (problems.length > 0) throw refused(problems);
  const { settings, unknown } = readEnvironment(configSchema, env);
  problems.push(...unknown);
  for (const setting of settings) set(raw, setting);
  const schedules = entriesOf(raw.schedules);
  for (const schedule of schedules.map(([, schedule]) => schedule)) liftLabels(schedule);
  const isFleet = raw.fleet !== undefined || schedules.some(([, { clusters }]) => clusters !== undefined);
  problems.push(...(isFleet ? unlikeFleet(schedules, manifests) : chooseClusters(raw, schedules)));

  const parsed = configSchema.safeParse(raw);
  if (!parsed.success) {
    const said = (path: PropertyKey[]) => settings.find((setting) => setting.path.join() === path.join())?.variable;
    for (const problem of fieldProblems(parsed.error)) {
      const variable = said(problem.path);
      problems.push(variable ? `${variable}: ${problem.message}` : problemText(problem));
    }
  }
  const warnings = schedules.flatMap(([name, schedule]) => warningsOf(name, schedule));
  if (parsed.success) problems.push(...unmovable(parsed.data, env));
  if (parsed.success && isFleet) {
    const { clusters, fleet, schedules } = parsed.data;
    const discover = Object.keys(fleet?.discover ?? {});
    const choices = Object.entries(schedules).map(
      ([name, { clusters = {} }]) => [name, clusters] as [string, ClusterChoice],
    );
    problems.push(...fleetProblems(Object.keys(clusters), discover, choices));
    warnings.push(...choiceWarnings(clusters, discover, choices));
  }
  if (!parsed.success || problems.length > 0) throw refused(problems);

  const named = Object.entries(parsed.data.schedules).map(([name, { template = {}, ...schedule }]) => {
    const { ttl: _, ...endless } = template;
    return [name, { name, ...schedule, template: schedule.retention ? endless : template }] as const;
  });
  const { fleet = fleetSchema(name).parse({}), ...rest } = parsed.data;
  const own = named.map(([name, { clusters: _, cluster = "", ...schedule }]): [string, Schedule] => [
    name,
    { ...schedule, cluster },
  ]);
  const fleets = named.map(([name, { cluster: _, clusters = {}, ...schedule }]): [string, FleetSchedule] => [
    name,
    { ...schedule, clusters },
  ]);
  const config: Config = {
    ...rest,
    clusters: dictionary(Object.entries(parsed.data.clusters)),
    schedules: dictionary(isFleet ? [] : own),
    ...(isFleet && { fleet: { ...fleet, schedules: dictionary(fleets) } }),
    notifications: dictionary(Object.entries(parsed.data.notifications)),
  };
  return { config, warnings };
}

/** Schedules that move data, where no files can be copied. */
function unmovable(
  { location, schedules, volumes }: z.infer<typeof configSchema>,
  env: Record<string, string | undefined>,
): string[] {
  return Object.entries(schedules).flatMap(([name, { template = {} }]) => {
    const reason = refusal(() => checkMoving(template, volumes.restic && { location, env }));
    return reason ? [`schedules.${name}.template: ${reason}`] : [];
  });
}

/** The documents of the text as one configuration; `manifests`: the names of the schedules that are Velero's. */
function rawConfig(text: string, problems: string[]): { raw: Raw & Record<string, unknown>; manifests: Set<string> } {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { prettyErrors: false, lineCounter: lines, logLevel: "error" });
  let config: Record<string, unknown> = {};
  const schedules: [string, unknown][] = [];
  for (const [at, document] of [...documents].entries()) {
    if (document.errors.length > 0) {
      const { line, reason } = yamlFault(document.errors, lines);
      problems.push(`line ${line}: not valid YAML: ${reason}`);
      continue;
    }
    let value: unknown;
    try {
      value = withoutNulls(keepingEntries(document.toJS()));
    } catch {
      const { line } = lines.linePos(document.contents?.range?.[0] ?? 0);
      problems.push(`line ${line}: an alias (*name) names no anchor, or there are too many`);
      continue;
    }
    if (isManifest(value)) {
      for (const manifest of manifestsIn(value)) {
        const schedule = readScheduleManifest(manifest);
        if (schedule.problems) problems.push(...schedule.problems);
        else schedules.push([schedule.name, schedule.entry]);
      }
    } else if (value === null || value === undefined) {
      // An empty document, or one that holds comments only.
    } else if (typeof value !== "object" || Array.isArray(value)) {
      problems.push(`document ${at + 1} is not a mapping`);
    } else if (Object.keys(config).length > 0) {
      problems.push(`document ${at + 1} is neither the configuration, which came before, nor a Velero Schedule`);
    } else {
      config = value as Record<string, unknown>;
    }
  }
  const manifests = new Set(schedules.map(([name]) => name));
  if (schedules.length === 0) return { raw: config, manifests };
  const all: Record<string, unknown> = { ...(config.schedules as object | undefined) };
  for (const [name, schedule] of schedules) {
    if (Object.hasOwn(all, name)) problems.push(`schedules.${name} stands there twice`);
    else all[name] = schedule;
  }
  return { raw: { ...config, schedules: all }, manifests };
}

/** A field that is null is not there, but a cluster or schedule of which nothing is said is one to complain about. */
function keepingEntries(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value) || isManifest(value)) return value;
  const filled = (["clusters", "schedules"] as const).flatMap((field) => {
    const entries = (value as Raw)[field];
    if (typeof entries !== "object" || entries === null || Array.isArray(entries)) return [];
    return [[field, Object.fromEntries(Object.entries(entries).map(([name, entry]) => [name, entry ?? {}]))]];
  });
  return { ...value, ...Object.fromEntries(filled) };
}

/** Puts a value where it belongs; where something else than a mapping is in the way, the schema will tell. */
function set(raw: object, { path, value }: Setting): void {
  let at = raw as Record<string, unknown>;
  for (const key of path.slice(0, -1)) {
    if (!Object.hasOwn(at, key)) at[key] = {};
    if (typeof at[key] !== "object") return;
    at = at[key] as Record<string, unknown>;
  }
  at[path.at(-1)!] = value;
}

/** Velero gives a backup the labels of the template's metadata, where there are some, else those of the Schedule. */
function liftLabels(schedule: Record<string, unknown>): void {
  const template = mappingOf(schedule.template);
  const { labels, ...metadata } = mappingOf(template.metadata);
  if (labels === undefined) return;
  schedule.labels = labels;
  schedule.template = { ...template, metadata };
}

/**
 * Velero takes no location in which other folders lie than its own: so all schedules are a fleet's, or none. A manifest has no other
 * words for that than one cluster's name.
 */
function unlikeFleet(schedules: [string, Record<string, unknown>][], manifests: ReadonlySet<string>): string[] {
  return schedules.flatMap(([name, schedule]) => {
    if (manifests.has(name) && schedule.clusters === undefined) {
      const { cluster } = schedule;
      if (cluster === undefined)
        return [
          `schedules.${name}: a fleet's Velero Schedule names its cluster by the annotation ${CLUSTER}, and it has none`,
        ];
      schedule.clusters = { names: [cluster] };
      delete schedule.cluster;
    }
    const { cluster, clusters } = schedule;
    if (cluster !== undefined)
      return [`schedules.${name}.cluster: the configuration is a fleet's: write clusters: { names: [${cluster}] }`];
    return clusters === undefined
      ? [`schedules.${name}.clusters: is missing: name clusters, select them by labels, or write {} for all`]
      : [];
  });
}

/** A schedule without a cluster is for the only one there is. */
function chooseClusters(raw: Raw, schedules: [string, Record<string, unknown>][]): string[] {
  const clusters = entriesOf(raw.clusters).map(([name]) => name);
  return schedules.flatMap(([name, schedule]) => {
    if (schedule.cluster === undefined && clusters.length === 1) schedule.cluster = clusters[0];
    const { cluster } = schedule;
    if (typeof cluster === "string" && clusters.includes(cluster)) return [];
    const choice = clusters.length ? `the clusters are ${clusters.join(", ")}` : "clusters is empty";
    if (cluster === undefined) return [`schedules.${name}.cluster: is missing, and ${choice}`];
    return typeof cluster === "string"
      ? [`schedules.${name}.cluster: there is no cluster "${cluster}", ${choice}`]
      : [];
  });
}

function mappingOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

/** The entries of a mapping that are mappings themselves. */
function entriesOf(mapping: unknown): [string, Record<string, unknown>][] {
  return Object.entries(mappingOf(mapping)).filter(([, value]) => typeof value === "object" && value !== null) as [
    string,
    Record<string, unknown>,
  ][];
}

function warningsOf(name: string, { template, retention }: Record<string, unknown>): string[] {
  const dropped = leftOut("backup", mappingOf(template));
  const told = dropped.length ? [`schedules.${name}.template: without effect here: ${dropped.join(", ")}`] : [];
  if (retention === undefined || mappingOf(template).ttl === undefined) return told;
  return [...told, `schedules.${name}.template.ttl: without effect: retention says what is kept`];
}

function checkLocation(text: string): void {
  const { username, password } = parseLocation(text);
  if (username || password) throw new LifeboatError("invalid", "the location holds a credential");
}

function checkTTL(text: string): void {
  if (parseDuration(text) > 0) return;
  throw new LifeboatError("invalid", `"${text}" would delete every restore: leave it out, and none is`);
}

function refusal(read: () => unknown): string | undefined {
  try {
    read();
    return undefined;
  } catch (error) {
    if (isLifeboatError(error)) return error.message;
    throw error;
  }
}

function refused(problems: string[]): LifeboatError {
  const [only = ""] = problems;
  if (problems.length === 1) return new LifeboatError("invalid", `the configuration can't be used: ${only}`);
  return new LifeboatError("invalid", `the configuration has ${problems.length} errors`, { hint: problems.join("\n") });
}
