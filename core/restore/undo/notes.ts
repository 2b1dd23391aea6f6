import { z } from "zod";
import { listFolder, readSideFile } from "../../contents.ts";
import { LifeboatError } from "../../errors.ts";
import { gzipText } from "../../gziptext.ts";
import { backupKeys, noteFolder, recordIn } from "../../layout.ts";
import { backupBefore } from "../../names.ts";
import { putOnce } from "../../once.ts";
import type { Bucket } from "../../ports.ts";
import type { ObjectNames } from "./kin.ts";

/**
 * What one attempt of a restore was about to do, noted before its first write. With it an undo knows what is the
 * restore's work, wherever it was stopped; labels alone don't tell, for controllers copy them (from a Service to its
 * Endpoints).
 */
export interface Note {
  /** The cluster, by the UID of its namespace kube-system. */
  clusterUid: string;
  startTimestamp: string;
  /** What is restored; absent where a restore is undone, and in notes of older versions. */
  backup?: string;
  /** The backups of what it and the attempts before it were about to touch, in their order. */
  backups: string[];
  /** What was missing and planned to be created. */
  creates: ObjectNames;
  /** Of `creates`: the claims that were to come without data of the backup. */
  without: ObjectNames;
  /** What existed and was planned to be changed or deleted. */
  touches: ObjectNames;
  /** Of `touches`: what was planned to get the status that the backup holds. */
  statuses: ObjectNames;
  /** What its backup holds although it isn't touched itself: it goes, or comes, with what is deleted. */
  kin: ObjectNames;
}

const names = z.record(z.string(), z.array(z.string()));
const noteSchema = z.object({
  schemaVersion: z.literal(1),
  clusterUid: z.string(),
  startTimestamp: z.string(),
  backup: z.string().optional(),
  backups: z.array(z.string()),
  creates: names,
  without: names.default({}),
  touches: names,
  statuses: names,
  kin: names,
});

/** The notes of a restore, those of its first attempt first. Throws `corrupt` for one that can't be read. */
export async function readNotes(bucket: Bucket, restore: string, signal?: AbortSignal): Promise<Note[]> {
  const notes: Note[] = [];
  for (const key of [...(await listFolder(bucket, noteFolder(restore), signal)).keys()].sort()) {
    const parsed = noteSchema.safeParse(parse(await readSideFile(bucket, key, signal)));
    if (!parsed.success) throw new LifeboatError("corrupt", `${key} is not a note of a restore`);
    const { creates, without, touches, statuses, kin, ...note } = parsed.data;
    const made = { creates: namesOf(creates), without: namesOf(without) };
    notes.push({ ...note, ...made, touches: namesOf(touches), statuses: namesOf(statuses), kin: namesOf(kin) });
  }
  return notes;
}

/** Stores the note of the next attempt, under the first number that is free. */
export async function storeNote(bucket: Bucket, restore: string, note: Note, signal?: AbortSignal): Promise<void> {
  const text = gzipText();
  const { creates, without, touches, statuses, kin, ...rest } = note;
  const made = { creates: listsOf(creates), without: listsOf(without) };
  const changed = { touches: listsOf(touches), statuses: listsOf(statuses), kin: listsOf(kin) };
  text.add(`${JSON.stringify({ schemaVersion: 1, ...rest, ...made, ...changed })}\n`);
  const body = text.gzipped();
  for (let number = 1; !(await putOnce(bucket, noteKey(restore, number), body, signal)); ) number++;
}

/** Those of `names` that are in none of `others`. */
export function withoutNames(names: ObjectNames, others: ObjectNames[]): ObjectNames {
  const known = joinNames(others);
  const left = [...names].map(
    ([resource, some]) => [resource, new Set([...some].filter((name) => !known.get(resource)?.has(name)))] as const,
  );
  return new Map(left.filter(([, some]) => some.size > 0));
}

/** The names of several notes together. */
export function joinNames(all: ObjectNames[]): ObjectNames {
  const joined: ObjectNames = new Map();
  for (const names of all)
    for (const [resource, some] of names) joined.set(resource, new Set([...(joined.get(resource) ?? []), ...some]));
  return joined;
}

/** The backups that were made, or begun, before a restore's first write, in their order. */
export async function backupsBefore(
  bucket: Bucket,
  restore: string,
  signal?: AbortSignal,
): Promise<{ name: string; committed: boolean }[]> {
  const found: { name: string; committed: boolean }[] = [];
  for (let number = 1; ; number++) {
    const name = backupBefore(restore, number);
    const keys = backupKeys(name);
    const present = await listFolder(bucket, keys.folder, signal);
    const committed = recordIn(present, name) !== undefined;
    if (!committed && !present.has(keys.tar)) return found;
    found.push({ name, committed });
  }
}

function noteKey(restore: string, number: number): string {
  return `${noteFolder(restore)}${String(number).padStart(6, "0")}.json.gz`;
}

function namesOf(lists: Record<string, string[]>): ObjectNames {
  return new Map(Object.entries(lists).map(([resource, list]) => [resource, new Set(list)]));
}

function listsOf(names: ObjectNames): Record<string, string[]> {
  return Object.fromEntries([...names].map(([resource, set]) => [resource, [...set].sort()]));
}

function parse(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? "");
  } catch {
    return undefined;
  }
}
