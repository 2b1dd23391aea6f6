import { createHmac } from "node:crypto";
import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import { z } from "zod";
import { sha256 } from "./archive/gzip.ts";
import { listFolder } from "./contents.ts";
import { LifeboatError } from "./errors.ts";
import { signatureOf, signerOf } from "./integrity/keys.ts";
import { numberedKey, putJsonOnce } from "./once.ts";
import type { Bucket, Signer } from "./ports.ts";
import { newestState, type Placed, stateAt } from "./state.ts";

const gzipBuffer = promisify(gzip);
const gunzipBuffer = promisify(gunzip);

/** What cuts a run of a job into slices: a function may not run for as long as the job takes. */
export interface Slice {
  /** Aborted when it is time to leave the rest to the next slice; that many milliseconds after its beginning. */
  ends: AbortSignal;
  lengthMs?: number;
  /** When a piece ends: once it has so many bytes, or so many milliseconds have passed. */
  pieceBytes?: number;
  pieceMs?: number;
}

/** The end of a slice that is not the last one. */
export interface More {
  more: true;
  /** How many items are done so far. */
  items: number;
}

/** What vouches for states: for a text that names the state's place and digest. */
export interface Voucher {
  vouch(text: string): Promise<string>;
  /** Whether `vouch` gave that for this text. */
  holds(given: string, text: string): boolean;
}

/** States are signed by who signs, where somebody does. */
export function signerVoucher(signer: Signer | undefined): Voucher | undefined {
  return (
    signer && {
      vouch: (text) => signatureOf(text, signer),
      holds: (given, text) => signerOf(given, text) === signer.publicKey,
    }
  );
}

/** States are vouched for by who knows what never lies in the bucket: 32 hexadecimal digits, say. */
export function secretVoucher(secret: string): Voucher {
  const codeOf = (text: string) => createHmac("sha256", secret).update(text).digest("hex");
  return { vouch: async (text) => codeOf(text), holds: (given, text) => given === codeOf(text) };
}

/** Where slices leave their states: a row of numbered objects, for which something may vouch. */
export interface SliceRow {
  bucket: Bucket;
  folder: string;
  /** Of what they are states, for who reads of another run. */
  of: string;
  voucher: Voucher | undefined;
  signal: AbortSignal;
}

/** `state`: gzipped JSON in base64. `signature`: what vouches for its key and digest. */
const stateShape = z.object({ schemaVersion: z.literal(1), state: z.string(), signature: z.string().optional() });

/** A state that a slice has left. */
export interface LeftState<State> {
  number: number;
  /** Of what was stored. */
  digest: string;
  state: State;
}

/** One that can't be gone on from. */
export interface FlawedState {
  number: number;
  key: string;
  /** "foreign": nothing vouches for it in this place. */
  flaw: "unreadable" | "foreign";
}

/** What the last slice left, or that of a number; undefined where there were none. Throws what the bucket throws. */
export async function readSlice<State>(
  { bucket, folder, voucher, signal }: SliceRow,
  number?: number,
): Promise<LeftState<State> | FlawedState | undefined> {
  const placed: Placed<z.infer<typeof stateShape>> | undefined =
    number === undefined
      ? await newestState(bucket, folder, stateShape, signal)
      : await stateAt(bucket, folder, number, stateShape, signal);
  if (!placed) return undefined;
  const { state: stored, ...place } = placed;
  if (!stored) return { ...place, flaw: "unreadable" };
  const digest = sha256(Buffer.from(stored.state));
  if (voucher && !voucher.holds(stored.signature ?? "", signedText(place.key, digest)))
    return { ...place, flaw: "foreign" };
  try {
    const json = await gunzipBuffer(Buffer.from(stored.state, "base64"));
    return { number: place.number, digest, state: JSON.parse(json.toString()) as State };
  } catch {
    return { ...place, flaw: "unreadable" };
  }
}

/** Leaves a state under a number; gives its digest. Throws `conflict` where another run has left one there. */
export async function leaveSlice(
  { bucket, folder, of, voucher, signal }: SliceRow,
  number: number,
  content: unknown,
): Promise<string> {
  const state = (await gzipBuffer(JSON.stringify(content))).toString("base64");
  const digest = sha256(Buffer.from(state));
  const key = numberedKey(folder, number);
  const signature = await voucher?.vouch(signedText(key, digest));
  const stored = { schemaVersion: 1, state, signature };
  if (await putJsonOnce(bucket, key, stored, signal)) return digest;
  throw new LifeboatError("conflict", `another run goes on with ${of} in ${bucket.location}`, {
    hint: "that run's result counts; give runs that may meet names of their own",
  });
}

/** Removes all that lies in a row's folder. Throws what the bucket throws. */
export async function removeSlices({
  bucket,
  folder,
  signal,
}: Pick<SliceRow, "bucket" | "folder" | "signal">): Promise<void> {
  for (const key of (await listFolder(bucket, folder, signal)).keys()) await bucket.delete(key, { signal });
}

/** What is signed of a state: no digest of a record, and good in one place alone, so that no state passes for another one. */
function signedText(key: string, digest: string): string {
  return `slice:${key}:${digest}`;
}
