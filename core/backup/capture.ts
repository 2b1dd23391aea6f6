import { randomUUID } from "node:crypto";
import { digestingIndex } from "../archive/index.ts";
import { OUTCOME_FILE, together, writeArchive } from "../archive/writer.ts";
import { encrypting } from "../encryption/buckets.ts";
import { isLifeboatError } from "../errors.ts";
import { readClusterUid } from "../kube/clusteruid.ts";
import { type Discovery, discover } from "../kube/discovery.ts";
import type { Resource } from "../kube/resource.ts";
import { backupKeys, pieceFolder } from "../layout.ts";
import type { Slice } from "../slices.ts";
import { timestamp } from "../timestamp.ts";
import { takenMeanwhile } from "./adopt.ts";
import type { BackupRun } from "./backup.ts";
import { type Encryption, writeSecrets } from "./encryption.ts";
import { holding, retentionOf } from "./hold.ts";
import { type BackupHookRule, readHooks } from "./hooks.ts";
import { fixRevision, labelledNamespaces, listingsOf, listNamespaces, type Namespaces } from "./participants.ts";
import { findHooks, type PodHooks, podHooks } from "./podhooks.ts";
import { policiesText } from "./policies.ts";
import { type ClusterReading, readCluster, reporting, startReading } from "./readcluster.ts";
import type { Archived, ArchiveHeader, ArchiveOutcome } from "./record.ts";
import { type BackupScope, type BackupSpec, backupResources, backupScope, settledSpec } from "./scope.ts";
import { beginShards, unshardable } from "./shards.ts";
import { type BackupMore, captureSlice } from "./slices.ts";
import { takeBack } from "./takeback.ts";

/** What a run knows of the cluster before it writes anything. */
export interface BackupSurvey {
  startedAt: Date;
  discovery: Discovery;
  resources: Resource[];
  /** The spec as it is carried out. */
  settled: BackupSpec;
  scope: BackupScope;
  /** Of the spec. */
  rules: BackupHookRule[];
  /** As they are, and the revision that counts where no hook is run. */
  namespaces: Namespaces;
  clusterUid: string | undefined;
}

/** Asks the cluster what it serves, checks filters and hooks against it and fixes the revision. Writes nothing. */
export async function surveyCluster({ kube, spec, only, signal }: BackupRun): Promise<BackupSurvey> {
  const startedAt = new Date();
  const discovery = await discover(kube, { signal });
  const resources = backupResources(discovery);
  const rules = readHooks(spec.hooks, resources);
  const resourcePolicyRules = await policiesText(spec, kube, signal);
  // Refuses contradictory filters before anything is listed.
  backupScope(settledSpec({ ...spec, resourcePolicyRules }, []), resources);
  const namespaces = only
    ? await fixRevision(kube, listingsOf(only, resources), signal)
    : await listNamespaces(kube, resources, signal);
  const clusterUid = await readClusterUid(kube, signal);
  const facts = { resources, namespaces, resourcePolicyRules };
  const { settled, scope } = only ? { settled: spec, scope: scopeOf(spec, facts) } : settle(spec, facts);
  return { startedAt, discovery, resources, settled, scope, rules, namespaces, clusterUid };
}

/** What a spec means in a cluster: as it is carried out, and who takes part by it. Throws `invalid` for contradictory filters. */
export function settle(spec: BackupSpec, facts: ClusterFacts): { settled: BackupSpec; scope: BackupScope } {
  const { namespaces, resourcePolicyRules } = facts;
  const settled = settledSpec({ ...spec, resourcePolicyRules }, labelledNamespaces(namespaces));
  return { settled, scope: scopeOf(settled, facts) };
}

interface ClusterFacts {
  resources: Resource[];
  namespaces: Namespaces;
  /** As of `policiesText`. */
  resourcePolicyRules?: string;
}

function scopeOf(settled: BackupSpec, { resources, namespaces }: ClusterFacts): BackupScope {
  const names = namespaces.items.map(({ object }) => object.metadata.name);
  return backupScope(settled, resources, names);
}

/**
 * Writes the cluster into the archive and its index, which become visible in this order, each complete. Where Pods have
 * hooks, their pre-hooks run first, the revision is fixed anew, and their post-hooks run once all has been read. A run that
 * may be cut ends with what the next one goes on from, where there is no time for all (slices.ts); one with hooks, or
 * that encrypts, isn't cut. One that is to be read in `shards` ends once it is known who reads what.
 */
export async function captureCluster(
  run: BackupRun,
  survey: BackupSurvey,
  encryption: Encryption | undefined,
  slice?: Slice,
  shards = 1,
): Promise<Archived | BackupMore> {
  const { kube, spec, signal } = run;
  const { log } = run.log;
  const { startedAt, discovery, resources, settled } = survey;
  const { problems, report } = reporting(log);
  for (const { group, message } of discovery.warnings) report("warning", { message: `API group ${group}: ${message}` });
  const hooking = { ...survey, kube, spec, log, withhold: encryption !== undefined, report };
  await using hooks = run.only ? podHooks([], hooking) : await findHooks(hooking, signal);
  if (hooks.pods > 0) run.progress?.({ items: 0, resource: "pre-hooks", remaining: undefined });
  await hooks.pre(signal);
  const namespaces = hooks.pods > 0 ? await listNamespaces(kube, resources, signal) : survey.namespaces;
  const { revision } = namespaces;
  const header: ArchiveHeader = {
    schemaVersion: 1,
    run: randomUUID(),
    name: run.name,
    startTimestamp: timestamp(startedAt),
    resourceVersion: revision,
    source: discovery.version,
    spec,
    settled,
    labels: run.labels,
    annotations: run.annotations,
    cluster: run.cluster,
    server: kube.server,
    clusterUid: survey.clusterUid,
    caller: run.caller,
    ...(run.signer && { signed: true }),
  };
  log("info", `Backing up the cluster as of resourceVersion ${revision}`, { resources: resources.length });
  const reading = startReading(run, { ...survey, header, namespaces, problems, report });
  const hooked = hooks.pods > 0;
  if (slice && shards > 1) {
    const reason = unshardable(spec, { encrypted: encryption !== undefined, hooked });
    const begun = reason ? undefined : await beginShards(reading, shards);
    if (begun) return begun;
    log("info", `Is read by one worker, not in ${shards} shards: ${reason ?? "there are too few lists of objects"}`);
  }
  const mayBeCut = !run.only && !encryption && !hooked;
  if (slice && mayBeCut) return await captureSlice(reading, slice, { folder: pieceFolder(run.name) });
  return await streamArchive(reading, encryption, hooks);
}

async function streamArchive(
  reading: ClusterReading,
  encryption: Encryption | undefined,
  hooks: PodHooks,
): Promise<Archived> {
  const { run, header, inventory, volumes, failing } = reading;
  const { name, signal } = run;
  const mtime = new Date(header.startTimestamp);
  const held = holding(run.bucket, retentionOf(header));
  const whole = encryption?.what === "all" ? encrypting(held, encryption.recipients) : undefined;
  const bucket = whole ?? held;
  const writer = writeArchive({ mtime });
  const secrets = encryption?.what === "secrets" ? writeSecrets(held, name, encryption, { mtime, signal }) : undefined;
  const keys = backupKeys(name, whole && encryption?.suffix);
  const tarPut = bucket.put(keys.tar, writer.tar, { ifAbsent: true, signal });
  const index = digestingIndex(endingAfter(writer.index, tarPut));
  const indexPut = bucket.put(keys.index, index.bytes, { ifAbsent: true, signal });
  let ended = false;
  const produce = async () => {
    const outcome = (await readCluster(reading, { writer, secrets, hooks }))!;
    ended = true;
    await writer.file(OUTCOME_FILE, Buffer.from(JSON.stringify(outcome)));
    await writer.finish();
    return outcome;
  };
  const made = { ...run, run: header.run, log: run.log.log };
  const failed = { ...made, adoptable: !whole && !run.signer };
  const takeBackCopies = async () => {
    if (volumes) await takeBack(volumes, failed);
  };
  let outcome: ArchiveOutcome | undefined;
  const filling = produce().then((produced) => {
    outcome = produced;
  });
  const abort = (error: unknown) => {
    writer.abort(error);
    secrets?.abort(error);
    failing.abort(error);
  };
  await together({ abort }, [tarPut, indexPut, filling, secrets?.stored ?? filling]).catch(async (error: unknown) => {
    // An archive without its end is adopted by nobody.
    await (ended ? takeBackCopies() : volumes?.discard());
    throw isLifeboatError(error, "conflict") ? takenMeanwhile(bucket, name, error) : error;
  });
  const encrypted = whole && { suffix: encryption!.suffix, digests: whole.digests };
  return { header, outcome: outcome!, inventory, index: index.digests(), encrypted, takeBackCopies };
}

/** `stream`, which ends only once `gate` has succeeded, and fails with it. */
async function* endingAfter(stream: AsyncIterable<Buffer>, gate: Promise<void>): AsyncGenerator<Buffer> {
  yield* stream;
  await gate;
}
