import { LifeboatError } from "../errors.ts";

/**
 * Finds things in the bytes of JSON without parsing it. Made for what an API server sends: it throws `unreachable` where
 * the text ends too early or its punctuation is wrong, and looks no closer at what it passes over.
 */

export const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
export const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
export const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** Keys are compared as raw bytes: the API server escapes none of those asked for. A loop beats `compare` on a few bytes. */
export function keyIs(body: Buffer, start: number, end: number, name: Buffer): boolean {
  if (end - start !== name.length) return false;
  for (let i = 0; i < name.length; i++) if (body[start + i] !== name[i]) return false;
  return true;
}

/**
 * Calls `member` with where each key begins and ends (without its quotes) and where its value begins; `member` returns
 * where that ends, or undefined to go no further.
 */
export function walkObject(
  body: Buffer,
  start: number,
  member: (keyStart: number, keyEnd: number, at: number) => number | undefined,
): number {
  let at = skipSpace(body, start + 1);
  if (body[at] === CLOSE_OBJECT) return at + 1;
  for (;;) {
    if (body[at] !== QUOTE) throw incomplete(`a key was expected at byte ${at}`);
    const keyStart = at + 1;
    const keyEnd = skipString(body, at) - 1;
    at = skipSpace(body, keyEnd + 1);
    if (body[at] !== COLON) throw incomplete(`":" was expected at byte ${at}`);
    const after = member(keyStart, keyEnd, skipSpace(body, at + 1));
    if (after === undefined) return at;
    at = skipSpace(body, after);
    if (body[at] === CLOSE_OBJECT) return at + 1;
    if (body[at] !== COMMA) throw incomplete(`"," was expected at byte ${at}`);
    at = skipSpace(body, at + 1);
  }
}

export function walkArray(body: Buffer, start: number, element: (at: number) => number): number {
  let at = skipSpace(body, start + 1);
  if (body[at] === CLOSE_ARRAY) return at + 1;
  for (;;) {
    at = skipSpace(body, element(at));
    if (body[at] === CLOSE_ARRAY) return at + 1;
    if (body[at] !== COMMA) throw incomplete(`"," was expected at byte ${at}`);
    at = skipSpace(body, at + 1);
  }
}

export function skipSpace(body: Buffer, start: number): number {
  let at = start;
  for (let byte = body[at]; byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09; byte = body[at]) at++;
  return at;
}

export function skipValue(body: Buffer, start: number): number {
  const first = body[start];
  if (first === QUOTE) return skipString(body, start);
  if (first === OPEN_OBJECT || first === OPEN_ARRAY) return skipNested(body, start);
  let at = start;
  for (;;) {
    const byte = body[at];
    if (byte === undefined || byte <= 0x20 || byte === COMMA || byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) break;
    at++;
  }
  if (at === start) throw incomplete(`a value was expected at byte ${at}`);
  return at;
}

/** From an opening quote to behind the closing one. A plain loop beats indexOf: most strings are a few bytes long. */
function skipString(body: Buffer, start: number): number {
  let at = start + 1;
  for (;;) {
    const byte = body[at++];
    if (byte === QUOTE) return at;
    if (byte === BACKSLASH) at++;
    else if (byte === undefined) throw incomplete("it ends within a string");
  }
}

/** From an opening bracket to behind its closing one. Setting bit 0x20 makes "[" a "{" and "]" a "}". */
function skipNested(body: Buffer, start: number): number {
  let at = start;
  let depth = 0;
  for (;;) {
    const byte = body[at];
    if (byte === QUOTE) {
      at = skipString(body, at);
      continue;
    }
    if (byte === undefined) throw incomplete("it ends too early");
    at++;
    const bracket = byte | 0x20;
    if (bracket === OPEN_OBJECT) depth++;
    else if (bracket === CLOSE_OBJECT && --depth === 0) return at;
  }
}

export function incomplete(why: string): LifeboatError {
  return notKubernetes(`not a complete list document: ${why}`);
}

/** The error for an answer that no API server gives; `what` says what it is instead. */
export function notKubernetes(what: string): LifeboatError {
  return new LifeboatError("unreachable", `the server's answer is ${what}`, {
    hint: "is `server` in the kubeconfig a Kubernetes API server, or does something in between answer in its place?",
  });
}
