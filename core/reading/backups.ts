import { ahead } from "../archive/flow.ts";
import { type Backup, listBackups, readBackup, rowProblem, SCHEDULE_LABEL } from "../catalog.ts";
import { isLifeboatError, LifeboatError, messageOf } from "../errors.ts";
import type { Bucket } from "../ports.ts";
import { type Problem, someOf } from "../report.ts";
import { type OpenBackup, openToRead, type Reading } from "./open.ts";

/** Which backups of a location are looked into: all of them where neither is given. */
export interface BackupChoice {
  /** Their names. */
  backups?: string[];
  /** Only those of this schedule. */
  schedule?: string;
}

/** One backup, and when it was begun (RFC 3339). */
export interface BackupTime {
  backup: string;
  timestamp?: string;
}

/** Many backups of a location, looked into one after the other, and what can't be looked into. */
export interface Backups {
  /** From the oldest on. */
  records: Backup[];
  /** What `look` makes of each of the records, in their order, several at a time; those that can't be read are left out, and told. */
  each<T>(records: Backup[], look: (opened: OpenBackup) => Promise<T>): AsyncGenerator<{ record: Backup; found: T }>;
  /** The newest that can be read; undefined where none can. */
  newest(): Promise<OpenBackup | undefined>;
  /** What couldn't be read, so far. */
  warnings(): Problem[];
}

/** Backups that are looked into at a time: one is unpacked while another is waited for. */
const BACKUPS_AHEAD = 4;

/**
 * The backups that are chosen. Only their indexes are read, and what is asked for by ranges: those without one, as Velero's, are
 * left out and told, as are those that are damaged or encrypted to others. Throws `missing` for a name or a schedule that has none.
 */
export async function chooseBackups(bucket: Bucket, choice: BackupChoice, reading: Reading = {}): Promise<Backups> {
  const { signal } = reading;
  const unread = new Map<string, string>();
  const withoutIndex = new Set<string>();
  const withoutSecrets = new Map<string, string>();
  const records = (await recordsOf(bucket, choice, unread, signal)).sort((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1));

  const whole = (name: string) => {
    withoutIndex.add(name);
    throw new LifeboatError("invalid", `backup "${name}" has no index`);
  };

  async function open<T>(record: Backup, look: (opened: OpenBackup) => Promise<T>): Promise<{ found: T } | undefined> {
    const { name } = record.metadata;
    try {
      const opened = await openToRead(bucket, record, { ...reading, whole });
      if (opened.withoutSecrets) withoutSecrets.set(name, messageOf(opened.withoutSecrets));
      return { found: await look(opened) };
    } catch (error) {
      if (!withoutIndex.has(name))
        unread.set(name, isLifeboatError(error, "missing") ? error.message : rowProblem(error));
      return undefined;
    }
  }

  return {
    records,
    async *each(chosen, look) {
      const looks = chosen.map((record) => async () => ({ record, looked: await open(record, look) }));
      for await (const { record, looked } of ahead(looks, BACKUPS_AHEAD))
        if (looked) yield { record, found: looked.found };
    },
    async newest() {
      for (const record of records.toReversed()) {
        const opened = await open(record, async (opened) => opened);
        if (opened) return opened.found;
      }
      return undefined;
    },
    warnings: () => [
      ...[...unread].map(([name, why]) => ({ message: `backup "${name}" can't be read: ${why}` })),
      ...(withoutIndex.size
        ? [{ message: `without an index, as Velero's, and so not looked into: ${[...withoutIndex].sort().join(", ")}` }]
        : []),
      ...[...Map.groupBy(withoutSecrets, ([, why]) => why.replaceAll(/"[^"]*"|\S*\/\S*/g, ""))].map(([, some]) => ({
        message: `Secrets were not looked at in ${someOf(some.map(([name]) => name))}: ${some[0]![1]}`,
      })),
    ],
  };
}

/** A backup, and when it was begun. */
export function timeOf({ metadata, status }: Backup): BackupTime {
  return { backup: metadata.name, timestamp: status?.startTimestamp };
}

function placeOf({ metadata, status }: Backup): string {
  return `${status?.startTimestamp ?? ""} ${metadata.name}`;
}

async function recordsOf(
  bucket: Bucket,
  { backups, schedule }: BackupChoice,
  unread: Map<string, string>,
  signal: AbortSignal | undefined,
): Promise<Backup[]> {
  const isChosen = ({ metadata }: Backup) => schedule === undefined || metadata.labels?.[SCHEDULE_LABEL] === schedule;
  if (backups) {
    const named = await Promise.all([...new Set(backups)].map((name) => readBackup(bucket, name, signal)));
    return named.filter(isChosen);
  }
  const rows = await listBackups(bucket, signal);
  for (const { name, problem } of rows) if (problem !== undefined) unread.set(name, problem);
  const records = rows.flatMap(({ record }) => (record && isChosen(record) ? [record] : []));
  if (records.length > 0 || schedule === undefined) return records;
  throw new LifeboatError("missing", `schedule "${schedule}" has no backup in ${bucket.location}`, {
    hint: '"lifeboat backup get" lists what there is',
  });
}
