import { createDecipheriv, hkdfSync } from "node:crypto";
import { ReadableStream } from "node:stream/web";
import { Decrypter, Encrypter } from "age-encryption";
import type { Source } from "../archive/source.ts";
import { LifeboatError, messageOf } from "../errors.ts";

/*
 * Files as age has them (https://age-encryption.org/v1): a header that wraps the file's key for each recipient, a nonce, and
 * chunks of 64 KiB, each sealed on its own. The library writes them, and unwraps the key; reading single chunks, which
 * it can't, is done here.
 */

const CHUNK = 64 * 1024;
const TAG = 16;
const NONCE = 16;
/** The longest header that is looked at: thousands of recipients. */
const MAX_HEADER = 1024 * 1024;
const HEADER_START = "age-encryption.org/v1\n";
/** Plain bytes that a reader of a whole file asks for at once. */
const READ = 64 * CHUNK;

/**
 * Checks public keys ("age1…") and gives what encrypts to all of them. Throws `invalid`, naming the key; what doesn't look like a
 * public key may be a private one, and is not quoted.
 */
export function encrypterFor(recipients: string[]): Encrypter {
  const encrypter = new Encrypter();
  for (const recipient of recipients) {
    try {
      encrypter.addRecipient(recipient);
    } catch {
      throw noPublicKey(recipient);
    }
  }
  return encrypter;
}

function noPublicKey(text: string): LifeboatError {
  const hint = 'age-keygen prints one, "age-keygen -y FILE" that of an identity';
  if (/^\s*AGE-SECRET-KEY-/i.test(text))
    return new LifeboatError(
      "invalid",
      'a recipient is a private key of age, not a public one, which begins with "age1"',
      {
        hint: `${hint}; the private key is for reading alone: --identity file:FILE`,
      },
    );
  const isAlike = /^age1\w*$/.test(text);
  const problem = isAlike ? `"${text}" is not a public key of age` : "a recipient is not a public key of age";
  return new LifeboatError(
    "invalid",
    `${problem}: ${isAlike ? "it is cut off or mistyped" : 'that begins with "age1"'}`,
    { hint },
  );
}

/** The stream, encrypted. */
export async function* encrypted(bytes: AsyncIterable<Buffer>, encrypter: Encrypter): AsyncGenerator<Buffer> {
  const stream = await encrypter.encrypt(
    ReadableStream.from(bytes) as unknown as globalThis.ReadableStream<Uint8Array>,
  );
  for await (const chunk of stream as unknown as AsyncIterable<Uint8Array>)
    yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
}

/**
 * The identities in the text of a key file as age-keygen writes it: lines "AGE-SECRET-KEY-1…", and comments. Throws
 * `invalid`, which quotes nothing of it.
 */
export function readIdentities(text: string, reference: string): string[] {
  const lines = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line && !line.startsWith("#"));
  const faulty = lines.length === 0 || lines.some((line) => !isIdentity(line));
  if (!faulty) return lines;
  throw new LifeboatError("invalid", `the secret ${reference} holds no identity of age`, {
    hint: 'it has a line that begins with "AGE-SECRET-KEY-1", as age-keygen writes it',
  });
}

function isIdentity(line: string): boolean {
  try {
    new Decrypter().addIdentity(line);
    return true;
  } catch {
    return false;
  }
}

/**
 * What is encrypted in `file`, to be read by ranges. Throws `denied` where none of the identities can read it, `corrupt`
 * for what isn't an age file, and, as it is read, for chunks that were changed.
 */
export async function decrypted(file: Source, identities: string[]): Promise<Source> {
  const { header, nonce } = await readHead(file);
  const start = header.length + NONCE;
  const payload = file.size - start;
  const chunks = Math.ceil(payload / (CHUNK + TAG));
  const size = payload - chunks * TAG;
  // Only of an empty file the last chunk may be empty.
  if (size <= (chunks - 1) * CHUNK && !(chunks === 1 && size === 0)) throw damaged(file, "it is cut off");
  const fileKey = await unwrap(file, header, identities);
  const key = Buffer.from(hkdfSync("sha256", fileKey, nonce, "payload", 32));

  function open(sealed: Buffer, number: number): Buffer {
    const iv = Buffer.alloc(12);
    iv.writeUIntBE(number, 5, 6);
    iv[11] = number === chunks - 1 ? 1 : 0;
    const decipher = createDecipheriv("chacha20-poly1305", key, iv, { authTagLength: TAG });
    decipher.setAuthTag(sealed.subarray(-TAG));
    try {
      return Buffer.concat([decipher.update(sealed.subarray(0, -TAG)), decipher.final()]);
    } catch {
      throw damaged(file, `chunk ${number} was changed, or the file is cut off`);
    }
  }

  const at = (number: number) => Math.min(start + number * (CHUNK + TAG), file.size);
  // It alone tells that it is the last one: that the file has all of its chunks, whichever are read.
  open(await file.read(at(chunks - 1), file.size), chunks - 1);

  return {
    name: file.name,
    size,
    async read(from, to) {
      if (from < 0 || to > size) throw damaged(file, `it has ${size} bytes, and those to ${to} were wanted`);
      if (from >= to) return Buffer.alloc(0);
      const first = Math.floor(from / CHUNK);
      const last = Math.floor((to - 1) / CHUNK);
      const sealed = await file.read(at(first), at(last + 1));
      const plain: Buffer[] = [];
      for (let number = first; number <= last; number++)
        plain.push(open(sealed.subarray(at(number) - at(first), at(number + 1) - at(first)), number));
      return Buffer.concat(plain).subarray(from - first * CHUNK, to - first * CHUNK);
    },
    close: file.close,
  };
}

/** All of it, or the range, a few chunks at a time. */
export async function* contentOf(
  source: Source,
  range: { start: number; end: number } = { start: 0, end: source.size },
): AsyncGenerator<Buffer> {
  const end = Math.min(range.end, source.size);
  for (let start = range.start; start < end; start += READ) yield await source.read(start, Math.min(start + READ, end));
}

/** The header, with its last line, the MAC's; and what follows it. */
async function readHead(file: Source): Promise<{ header: Buffer; nonce: Buffer }> {
  for (let length = 4096; ; length *= 4) {
    const head = await file.read(0, Math.min(length, file.size));
    if (!head.subarray(0, HEADER_START.length).equals(Buffer.from(HEADER_START)))
      throw damaged(file, "it is no age file");
    const mac = head.indexOf("\n--- ");
    const end = mac < 0 ? 0 : head.indexOf("\n", mac + 1) + 1;
    const nonce = head.subarray(end, end + NONCE);
    if (end > 0 && nonce.length === NONCE) return { header: head.subarray(0, end), nonce };
    if (length >= file.size || length >= MAX_HEADER) throw damaged(file, "its header has no end");
  }
}

async function unwrap(file: Source, header: Buffer, identities: string[]): Promise<Uint8Array> {
  const hint = "the identity (--identity, or encryption.identity) of one of the keys that it was encrypted to reads it";
  if (identities.length === 0) throw new LifeboatError("denied", `${file.name} is encrypted`, { hint });
  const decrypter = new Decrypter();
  for (const identity of identities) decrypter.addIdentity(identity);
  try {
    return await decrypter.decryptHeader(header);
  } catch (error) {
    if (/no identity matched/.test(messageOf(error)))
      throw new LifeboatError("denied", `${file.name} is encrypted to other keys than that of the identity`, { hint });
    throw damaged(file, "its header was changed");
  }
}

function damaged({ name }: Source, reason: string): LifeboatError {
  return new LifeboatError("corrupt", `${name} is damaged: ${reason}`, {
    key: name,
    hint: "use another backup, or another copy of this one",
  });
}
