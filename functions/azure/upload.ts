import { randomUUID } from "node:crypto";
import type { BlockBlobClient } from "@azure/storage-blob";
import { abortable, isLifeboatError, type ObjectRetention, partsOf } from "../../core/index.ts";
import { ask } from "./ask.ts";

/** A body up to this size is one request. Azure takes 50,000 blocks: an object can have 390 GiB. */
const BLOCK_BYTES = 8 * 1024 * 1024;
/** The metadata that tells which put wrote an object. */
const WRITER = "lifeboatput";
/** Of version-level immutability, which the container must have. */
const POLICY_MODES = { governance: "Unlocked", compliance: "Locked" } as const;

/** One put of an object. */
export interface Put {
  wanted: string;
  ifAbsent: boolean;
  retain?: ObjectRetention;
  signal: AbortSignal | undefined;
}

/**
 * Puts a body: by one request where it is no longer than a block, else as staged blocks, which become the object when
 * they are committed. A put that fails leaves nothing but uncommitted blocks, which nothing shows, which can't be deleted
 * and which Azure drops within a week.
 */
export async function putBlob(
  blob: BlockBlobClient,
  body: Buffer | AsyncIterable<Buffer>,
  { wanted, ifAbsent, retain, signal }: Put,
): Promise<void> {
  const writer = randomUUID();
  const target = {
    metadata: { [WRITER]: writer },
    conditions: ifAbsent ? { ifNoneMatch: "*" } : {},
    ...(retain && { immutabilityPolicy: { expiriesOn: retain.until, policyMode: POLICY_MODES[retain.mode] } }),
  };
  const failed = new AbortController();
  const stop = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal;
  const parts = partsOf(abortable(Buffer.isBuffer(body) ? oneOf(body) : body, stop), BLOCK_BYTES);
  try {
    const { value: first = Buffer.alloc(0) } = await parts.next();
    await (first.length < BLOCK_BYTES ? putWhole(first) : putBlocks(first));
  } catch (error) {
    if (!isLifeboatError(error, "conflict")) throw error;
    // When an answer is lost, the SDK repeats a put that has succeeded, and meets its own object.
    const found = await blob.getProperties({ abortSignal: signal }).catch(() => undefined);
    if (found?.metadata?.[WRITER] !== writer) throw error;
  } finally {
    await parts.return(undefined);
  }

  async function putWhole(bytes: Buffer): Promise<void> {
    await ask(wanted, signal, (abortSignal) => blob.upload(bytes, bytes.length, { ...target, abortSignal }));
  }

  /** One block is under way while the next one fills. The condition is checked by the commit. */
  async function putBlocks(first: Buffer): Promise<void> {
    const ids: string[] = [];
    const sent: Promise<unknown>[] = [];
    try {
      for (let part: Buffer | undefined = first; part; part = (await parts.next()).value) {
        const block = part;
        // All writers of an object share its uncommitted blocks.
        const id = Buffer.from(`${writer}-${String(ids.length).padStart(5, "0")}`).toString("base64");
        ids.push(id);
        const sending = ask(wanted, stop, (abortSignal) => blob.stageBlock(id, block, block.length, { abortSignal }));
        sending.catch((error: unknown) => failed.abort(error));
        sent.push(sending);
        await sent.at(-2);
      }
      await Promise.all(sent);
      await ask(wanted, stop, (abortSignal) => blob.commitBlockList(ids, { ...target, abortSignal }));
    } catch (error) {
      failed.abort(error);
      await Promise.allSettled(sent);
      throw error;
    }
  }
}

async function* oneOf(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
