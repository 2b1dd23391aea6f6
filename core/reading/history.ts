import type { IndexEntry } from "../archive/index.ts";
import type { ItemId } from "../archive/item.ts";
import type { Backup } from "../catalog.ts";
import { isLifeboatError } from "../errors.ts";
import type { FieldChange } from "../objects/diff.ts";
import type { Bucket } from "../ports.ts";
import type { Problem } from "../report.ts";
import { movedTo } from "../restore/apiversions.ts";
import type { CompareFacts } from "../restore/plan/comparable.ts";
import { type BackupChoice, type BackupTime, chooseBackups, timeOf } from "./backups.ts";
import { changesOf, factsOf, isAlike, resourceOf } from "./compare.ts";
import { knownTo } from "./diff.ts";
import { readItem } from "./find.ts";
import { findAmong } from "./findamong.ts";
import { type OpenBackup, openToRead, type Reading } from "./open.ts";
import { absenceIn, backupSide } from "./sides.ts";

/** What is asked of an object's past. */
export interface HistoryRequest extends BackupChoice {
  /** Named as `findAmong` reads it. */
  item: string;
  /** With the fields that were changed. */
  diff?: boolean;
  /** What only servers and controllers wrote is a change too. */
  all?: boolean;
}

/** What became of an object between two backups, and for how many it then stayed so. */
export interface ObjectEvent extends BackupTime {
  /** `recreated`: another object of that name, by its uid. */
  change: "appeared" | "changed" | "recreated" | "disappeared";
  /** The backup before that tells of the object: it happened after that was begun. Nothing where there is none. */
  previous?: BackupTime;
  /** In how many backups it is so, one after the other, this one counted; those that don't tell of it are not. */
  backups: number;
  /** The last of these. */
  last: BackupTime;
  /** What it is from then on; not where it disappeared. As in the first of these backups. */
  apiVersion?: string;
  uid?: string;
  resourceVersion?: string;
  /** How many versions these backups hold: more than one where servers and controllers wrote. */
  versions?: number;
  /** What was changed, where that was asked for; of Secrets no values. */
  diff?: FieldChange[];
}

/** The history of one object: the same for the command line and HTTP. */
export interface HistoryDocument {
  schemaVersion: 1;
  kind: "history";
  location: string;
  /** A group-resource string. */
  resource: string;
  namespace: string;
  name: string;
  /** How many backups were looked into. */
  searched: number;
  /** Of these, the ones that don't tell whether it was there. */
  silent: number;
  /** From the first on. */
  events: ObjectEvent[];
  warnings: Problem[];
}

/** What one backup tells of the object. */
export interface Sighting {
  time: BackupTime;
  /** Not there where the backup doesn't have it. */
  entry?: IndexEntry;
  /** Whether it wasn't there, where the backup doesn't have it. */
  tells?(entry: IndexEntry): boolean;
}

/** What differs between two sightings: whether anything, and what, where that was looked at. */
export interface Difference {
  changed: boolean;
  diff?: FieldChange[];
}

/**
 * What became of one object from backup to backup. Of each backup the part of the index is read that can hold it, and bodies
 * only where indexes don't tell whether it is the same. Throws as `chooseBackups` and `findAmong`.
 */
export async function history(
  bucket: Bucket,
  { item, diff = false, all = false, ...choice }: HistoryRequest,
  reading: Reading = {},
): Promise<HistoryDocument> {
  const backups = await chooseBackups(bucket, choice, reading);
  const unreadable: Problem[] = [];
  const sightings = async (id: ItemId) => {
    const places = [id.resource, ...movedTo(id.resource)].map((resource) => ({ ...id, resource }));
    const seen: Seen[] = [];
    for await (const { found } of backups.each(backups.records, (opened) => sightingIn(opened, places)))
      seen.push(found);
    return seen;
  };
  const { id, seen } = await findAmong(backups, item, async (id) => {
    const seen = await sightings(id);
    return seen.some(({ entry }) => entry) ? seen : undefined;
  });

  const changesOfBodies = comparing(bucket, reading);
  const differ = async (from: Seen, to: Seen): Promise<Difference> => {
    const alike = from.entry!.sha256 === to.entry!.sha256 || (!all && isAlike(from.entry!, to.entry!));
    if (alike) return { changed: false };
    if (all && !diff) return { changed: true };
    try {
      const changes = await changesOfBodies(from, to);
      return { changed: all || changes.length > 0, diff: diff ? changes : undefined };
    } catch (error) {
      if (!isLifeboatError(error, "corrupt")) throw error;
      unreadable.push({
        message: `its states in ${from.time.backup} and ${to.time.backup} can't be compared: ${error.message}`,
      });
      return { changed: true };
    }
  };
  const { events, silent } = await foldSightings(seen, differ, diff);
  return {
    ...{ schemaVersion: 1, kind: "history", location: bucket.location, ...id },
    ...{ searched: seen.length, silent, events },
    warnings: [...backups.warnings(), ...unreadable],
  };
}

interface Seen extends Sighting {
  record: Backup;
}

async function sightingIn(opened: OpenBackup, places: ItemId[]): Promise<Seen> {
  const { record, archive, withoutSecrets } = opened;
  const time = timeOf(record);
  for (const place of places) {
    const entry = await archive.find(place);
    if (entry) return { time, entry, record };
  }
  const known = await knownTo([opened]);
  const tells = (entry: IndexEntry) =>
    absenceIn({ record, withoutSecrets }, [...known, resourceOf(entry)]).tells(entry);
  return { time, record, tells };
}

/** Compares neighbours as a diff of the two backups would. What was opened last is kept: mostly it is asked for again. */
function comparing(bucket: Bucket, reading: Reading): (from: Seen, to: Seen) => Promise<FieldChange[]> {
  let kept: { seen: Seen; opened: OpenBackup; body: Buffer } | undefined;
  const read = async (seen: Seen) => {
    if (kept?.seen === seen) return kept;
    const opened = await openToRead(bucket, seen.record, reading);
    return { seen, opened, body: await readItem(opened.archive, seen.entry!) };
  };
  return async (from, to) => {
    const before = await read(from);
    const after = await read(to);
    kept = after;
    const { resource, namespace } = to.entry!;
    const changes = (facts: CompareFacts) => changesOf(before.body, after.body, resource, facts);
    const strictest = changes({ scaled: new Set(), askedPorts: { has: () => true } });
    if (strictest.length === 0) return strictest;
    // Only now: it takes the bodies of all that scales.
    return changes(await factsOf([backupSide(before.opened), backupSide(after.opened)], namespace));
  };
}

/**
 * The events that sightings, in the order of time, are made of. A backup that doesn't have the object and doesn't tell whether
 * it was there is left out. `differ` is asked about neighbours with one uid, and, with `always`, about those with two.
 */
export async function foldSightings<S extends Sighting>(
  sightings: Iterable<S>,
  differ: (from: S, to: S) => Promise<Difference>,
  always = false,
): Promise<{ events: ObjectEvent[]; silent: number }> {
  const events: ObjectEvent[] = [];
  /** Before it was first there: what their lack of it means depends on what it is. */
  const absent: S[] = [];
  let silent = 0;
  /** The newest that tells of it, and what it was when it was last there. */
  let before: S | undefined;
  let known: IndexEntry | undefined;

  const begin = (change: ObjectEvent["change"], seen: S, previous: BackupTime | undefined, diff?: FieldChange[]) => {
    const { apiVersion, uid, resourceVersion } = seen.entry ?? {};
    const facts = seen.entry && { apiVersion, uid, resourceVersion, versions: 1 };
    events.push({ change, ...seen.time, previous, backups: 1, last: seen.time, ...facts, ...(diff && { diff }) });
  };
  const goOn = (seen: S) => {
    const event = events.at(-1)!;
    event.backups += 1;
    event.last = seen.time;
    if (seen.entry?.sha256 !== before?.entry?.sha256) event.versions = (event.versions ?? 0) + 1;
  };

  for (const seen of sightings) {
    const { entry } = seen;
    if (!entry && !known) absent.push(seen);
    else if (!entry && !seen.tells?.(known!)) silent += 1;
    else {
      if (!entry) {
        if (before?.entry) begin("disappeared", seen, before.time);
        else goOn(seen);
      } else if (!before) {
        const told = absent.filter((one) => one.tells?.(entry));
        silent += absent.length - told.length;
        begin("appeared", seen, told.at(-1)?.time);
      } else if (!before.entry) begin("appeared", seen, before.time);
      else {
        const recreated = isAnother(before.entry, entry);
        const { changed, diff } = recreated && !always ? { changed: true } : await differ(before, seen);
        if (recreated || changed) begin(recreated ? "recreated" : "changed", seen, before.time, diff);
        else goOn(seen);
      }
      before = seen;
      known = entry ?? known;
    }
  }
  return { events, silent };
}

/** Whether two of a name are two objects. Foreign archives may lack uids. */
function isAnother(one: IndexEntry, other: IndexEntry): boolean {
  return one.uid !== "" && other.uid !== "" && one.uid !== other.uid;
}
