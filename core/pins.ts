import { z } from "zod";
import { readBackup } from "./catalog.ts";
import { LifeboatError } from "./errors.ts";
import { PINS, pinFolder } from "./layout.ts";
import { isLocked } from "./lock.ts";
import type { Bucket } from "./ports.ts";
import { newestState, newestStates, type Placed, say } from "./state.ts";
import { timestamp } from "./timestamp.ts";

/** That a backup must not be deleted, and, where it was said, since when, by whom and why. */
export interface Pin {
  at?: string;
  by?: string;
  reason?: string;
}

export const pinSchema: z.ZodType<Pin> = z.object({
  at: z.string().optional(),
  by: z.string().optional(),
  reason: z.string().optional(),
});

const stateSchema = z.object({ pinned: z.boolean() }).and(pinSchema);
type State = z.infer<typeof stateSchema>;

/** As many characters as a reason may have. */
export const MOST_REASON = 500;

/** The pin of a backup, or undefined. One that can't be read is a pin: nothing is deleted because of damage. */
export async function readPin(bucket: Bucket, backup: string, signal?: AbortSignal): Promise<Pin | undefined> {
  return pinOf(await stateOf(bucket, backup, signal));
}

/** All pins of the location, by the backup's name. */
export async function readPins(bucket: Bucket, signal?: AbortSignal): Promise<Map<string, Pin>> {
  const placed = await newestStates(bucket, PINS, stateSchema, signal);
  const pins = [...placed].map(([name, one]) => [name, pinOf(one)] as const);
  return new Map(pins.flatMap(([name, pin]) => (pin ? [[name, pin]] : [])));
}

/**
 * Pins a backup, unless it is pinned already; whether anything changed. Throws `missing` where there is no such backup,
 * or where it has been deleted meanwhile, `corrupt` where its record can't be read, `busy` where a run works on it: a deletion
 * that has looked for pins before this one came goes on.
 */
export async function pinBackup(
  bucket: Bucket,
  backup: string,
  { by, reason, signal }: { by?: string; reason?: string; signal?: AbortSignal } = {},
): Promise<boolean> {
  await readBackup(bucket, backup, signal);
  const said = await sayPin(bucket, backup, { pinned: true, by, reason }, signal);
  if (await isLocked({ bucket, kind: "backups", name: backup }, signal)) {
    throw new LifeboatError(
      "busy",
      `a run works on backup "${backup}", and may be deleting it: whether its pin came in time is not known`,
      {
        hint: "pin it again when that run has ended",
      },
    );
  }
  await readBackup(bucket, backup, signal);
  return said;
}

/** Takes the pin off a backup; whether it had one. Throws as `pinBackup` where it had none. */
export async function unpinBackup(
  bucket: Bucket,
  backup: string,
  { by, signal }: { by?: string; signal?: AbortSignal } = {},
): Promise<boolean> {
  if (await sayPin(bucket, backup, { pinned: false, by }, signal)) return true;
  await readBackup(bucket, backup, signal);
  return false;
}

/** Throws `conflict` for a pinned backup, which is not to be deleted. */
export async function checkUnpinned(bucket: Bucket, backup: string, signal?: AbortSignal): Promise<void> {
  const pin = await readPin(bucket, backup, signal);
  if (!pin) return;
  throw new LifeboatError("conflict", `backup "${backup}" is ${pinText(pin)}`, {
    hint: `"lifeboat backup unpin ${backup}" lets it go`,
  });
}

/** "pinned by ann at 2026-11-23T02:00:00Z: before the upgrade" */
export function pinText({ at, by, reason }: Pin): string {
  return ["pinned", by && ` by ${by}`, at && ` at ${at}`, reason && `: ${reason}`].filter(Boolean).join("");
}

function sayPin(bucket: Bucket, backup: string, state: State, signal?: AbortSignal): Promise<boolean> {
  const next = (placed: Placed<State> | undefined) =>
    (pinOf(placed) !== undefined) === state.pinned ? undefined : { ...state, at: timestamp(new Date()) };
  return say(bucket, pinFolder(backup), stateSchema, next, signal);
}

function stateOf(bucket: Bucket, backup: string, signal?: AbortSignal): Promise<Placed<State> | undefined> {
  return newestState(bucket, pinFolder(backup), stateSchema, signal);
}

function pinOf(placed: Placed<State> | undefined): Pin | undefined {
  if (!placed) return undefined;
  const { key, state } = placed;
  if (!state) return { reason: `${key} can't be read` };
  const { pinned, ...pin } = state;
  return pinned ? pin : undefined;
}
