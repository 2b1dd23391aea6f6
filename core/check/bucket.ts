import { randomUUID } from "node:crypto";
import { folderNames } from "../contents.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import { BACKUPS, PROBES } from "../layout.ts";
import { listObjects, putOnce } from "../once.ts";
import type { Bucket } from "../ports.ts";
import { someOf } from "../report.ts";
import { type Answer, asking } from "./asking.ts";
import { judgeClock, type Reading } from "./clock.ts";
import type { Check, Judgement } from "./document.ts";

/** A location to ask about. */
export interface CheckedLocation {
  location: string;
  open(): Promise<Bucket>;
  /** Whether a schedule wants what it stores to be held by the bucket. */
  holds: boolean;
  /** Clusters' locations lie below it. */
  isFleet?: boolean;
}

/** What may lie directly below a location's prefix; a Velero that finds more doesn't take the location (velero-format: 1.1). */
const VELEROS = ["backups/", "restores/", "restic/", "kopia/", "metadata/", "plugins/"];
/** As many entries of the location's top are looked at. */
const MOST_ENTRIES = 1000;
/** How long a probe is held that is to be held: as short as may be, since nobody can delete it before. */
const HELD_MS = 60_000;

/** The rights that each question needs, by the scheme of the location. */
const RIGHTS: Record<string, Partial<Record<"list" | "create" | "hold", string>>> = {
  "s3:": {
    list: "needs s3:ListBucket on the bucket",
    create: "needs s3:PutObject, s3:AbortMultipartUpload and s3:GetObject on the bucket's objects",
    hold: "needs a bucket with object lock, and s3:PutObjectRetention",
  },
  "gs:": {
    list: "needs roles/storage.objectViewer on the bucket",
    create: "needs roles/storage.objectCreator and roles/storage.objectViewer on the bucket",
    hold: "needs a bucket with object retention, and storage.objects.setRetention",
  },
  "azblob:": {
    list: "needs blobs/read, as Storage Blob Data Reader has it, on the container",
    create:
      "needs blobs/read, blobs/add/action and blobs/write, as Storage Blob Data Contributor has them, on the container",
    hold: "needs a container with version-level immutability, and immutableStorage/runAsSuperUser",
  },
};

/**
 * Whether backups can be stored at a location and found again, question by question. It stores a probe of a few bytes below
 * `PROBES`, under a name of its own, where no listing of Velero's or ours takes it for anything; where it may not be deleted
 * again, retention does that after a day. A fixed name would tell less: a bucket may judge "is it there already?" before "may
 * you?". Throws the signal's reason.
 */
export async function checkLocation(
  { location, open, holds, isFleet = false }: CheckedLocation,
  signal: AbortSignal,
): Promise<Check[]> {
  const { ask, answers } = asking("location", { signal });
  const rights = RIGHTS[URL.parse(location)?.protocol ?? ""] ?? {};
  const bucket = await ask("list", (signal) => naming(rights.list, () => listsBackups(open, isFleet, signal)));
  if (!bucket) return answers();
  const probe = `${PROBES}${randomUUID()}`;
  const clock = await ask("create", (signal) => naming(rights.create, () => creates(bucket, probe, signal)));
  if (!clock) return answers();
  await ask("write-once", (signal) => mayUndo(bucket, probe, signal));
  await ask("hold", (signal) => naming(rights.hold, () => mayHold(bucket, holds && `${probe}-held`, signal)));
  await ask("clock", async () => judgeClock(clock, "the bucket"));
  return answers();
}

/** Adds to a refusal which rights are needed. */
async function naming<Value>(rights: string | undefined, work: () => Promise<Answer<Value>>): Promise<Answer<Value>> {
  try {
    return await work();
  } catch (error) {
    if (!isLifeboatError(error) || !["denied", "invalid"].includes(error.kind) || !rights) throw error;
    throw new LifeboatError(error.kind, error.message, { hint: [error.hint, rights].filter(Boolean).join("; ") });
  }
}

async function listsBackups(
  open: () => Promise<Bucket>,
  isFleet: boolean,
  signal: AbortSignal,
): Promise<Answer<Bucket>> {
  const bucket = await open();
  const { length: backups } = await folderNames(bucket, BACKUPS, { signal });
  const foreign: string[] = [];
  let entries = 0;
  for await (const { prefix } of bucket.list("", { delimiter: "/", signal })) {
    if (prefix !== undefined && !VELEROS.includes(prefix)) foreign.push(prefix);
    if (++entries === MOST_ENTRIES) break;
  }
  if (isFleet) return { state: "ok", message: "may be listed: it is a fleet's", value: bucket };
  const message = backups === 0 ? "no backups yet" : `may be listed: ${backups} names of backups`;
  if (foreign.length === 0) return { state: "ok", message, value: bucket };
  return {
    state: "warning",
    message: `${message}; beside it lies ${someOf(foreign, 3)}, with which no Velero takes the location`,
    todo: "give the backups a prefix of their own: s3://bucket/prefix",
    value: bucket,
  };
}

/** Creates an object, reads it, finds it listed, and can't create it again. */
async function creates(bucket: Bucket, key: string, signal: AbortSignal): Promise<Answer<Reading>> {
  const body = Buffer.from(`${JSON.stringify({ probe: key })}\n`);
  const began = performance.now();
  const sent = Date.now();
  await bucket.put(key, body, { ifAbsent: true, signal });
  const received = Date.now();
  const ms = Math.ceil(performance.now() - began);
  const read = Buffer.concat(await Array.fromAsync(await bucket.get(key, { signal })));
  if (!read.equals(body)) throw new LifeboatError("corrupt", `${key} reads otherwise than it was stored`, { key });
  const [listed] = await Array.fromAsync(listObjects(bucket, key, signal));
  if (!listed) {
    throw new LifeboatError("unreachable", `${bucket.location} does not list ${key}, which it has just stored`, {
      hint: "Lifeboat needs a store that lists at once what it stores",
    });
  }
  if (await putOnce(bucket, key, body, signal)) {
    throw new LifeboatError("invalid", "the bucket stores an object twice that is to be created once", {
      hint: "it disregards If-None-Match: two runs may overwrite each other's backups. Take another store, or a newer one",
    });
  }
  const value = { sent, received, said: Math.floor(listed.modified.getTime() / 1000) * 1000 };
  return { state: "ok", message: `an object can be created once and read, ${ms} ms`, value };
}

/** Tries to overwrite the probe, and to delete it: that cleans up. */
async function mayUndo(bucket: Bucket, key: string, signal: AbortSignal): Promise<Judgement> {
  const overwrites = await isDone(bucket.put(key, Buffer.from("{}\n"), { signal }));
  const deletes = await isDone(bucket.delete(key, { signal }));
  const left = "the probe goes with a retention after a day";
  if (!overwrites && !deletes) return { state: "ok", message: `may neither overwrite nor delete; ${left}` };
  const may = [overwrites && "overwrite", deletes && "delete"].filter(Boolean).join(" and ");
  return {
    state: "note",
    message: `may ${may} what is stored${deletes ? "" : `; ${left}`}`,
    todo: "right for retention; a credential that only backs up needs neither: docs/write-once.md",
  };
}

/** false where it isn't allowed, or the bucket holds the object. */
async function isDone(work: Promise<void>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if (isLifeboatError(error, "denied") || isLifeboatError(error, "conflict")) return false;
    throw error;
  }
}

async function mayHold(bucket: Bucket, key: string | false, signal: AbortSignal): Promise<Judgement> {
  if (!key) return { state: "notAsked", message: "no schedule has retainFor" };
  const retain = { until: new Date(Date.now() + HELD_MS), mode: "governance" } as const;
  await bucket.put(key, Buffer.from("{}\n"), { ifAbsent: true, retain, signal });
  return {
    state: "ok",
    message: "objects can be held; so is a probe for a minute, and goes with a retention after a day",
  };
}
