import fc from "fast-check";
import { BEFORE_RESTORE_LABEL, RETAINED_UNTIL, SCHEDULE_LABEL } from "../../core/catalog.ts";
import { RUN, sealRecord } from "../../core/integrity/seal.ts";
import { backupKeys } from "../../core/layout.ts";
import type { Bucket, Signer } from "../../core/ports.ts";
import { PERIODS, type Retention } from "../../core/retention/rules.ts";
import { timestamp } from "../../core/timestamp.ts";

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

/** With and without summer time, by an hour and by half of one, in both halves of the year, on both sides of the date line. */
export const ZONES = [
  ...["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"],
  ...["Africa/Cairo", "America/Santiago", "Pacific/Apia", "Pacific/Kiritimati"],
] as const;

/** Any rules that keep something. */
export const anyRetention: fc.Arbitrary<Retention> = fc
  .record(Object.fromEntries(["keepLast", ...PERIODS].map((rule) => [rule, fc.nat({ max: 4 })])), { requiredKeys: [] })
  .filter((rules) => Object.values(rules).some((count) => count));

/** What a test says of a backup. */
export interface Sample {
  name: string;
  start: Date;
  phase?: string;
  schedule?: string;
  ttl?: string;
  expiration?: Date;
  /** Velero made it. */
  foreign?: boolean;
  beforeRestore?: string;
  retained?: Date;
  /** Signs its record. */
  signer?: Signer;
}

/** Puts a backup that is committed, as far as retention looks at it. */
export async function putBackup(bucket: Bucket, { name, start, ...sample }: Sample): Promise<void> {
  const { phase = "Completed", schedule, ttl, expiration, foreign, beforeRestore, retained, signer } = sample;
  const keys = backupKeys(name);
  for (const key of [keys.tar, keys.index, keys.log, keys.resourceList]) await bucket.put(key, Buffer.from(name));
  const labels = {
    ...(schedule && { [SCHEDULE_LABEL]: schedule }),
    ...(beforeRestore && { [BEFORE_RESTORE_LABEL]: beforeRestore }),
  };
  const status = { phase, startTimestamp: timestamp(start), ...(expiration && { expiration: timestamp(expiration) }) };
  const annotations: Record<string, string> = foreign ? {} : { [RUN]: "r" };
  if (retained) annotations[RETAINED_UNTIL] = timestamp(retained);
  const metadata = { name, labels, annotations };
  const record = { kind: "Backup" as const, metadata, spec: { ...(ttl && { ttl }) }, status };
  const body = foreign
    ? Buffer.from(JSON.stringify(record))
    : (await sealRecord(record, { files: {}, indexEnd: "" }, signer)).body;
  await bucket.put(keys.metadata, body);
}
