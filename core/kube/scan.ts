import { LifeboatError } from "../errors.ts";

/**
 * Finds things in the bytes of JSON without parsing it. Made for what an API server sends: it throws `unreachable` where
 * the text ends too early or its punctuation is wrong, and looks no closer at what it passes over.
 */

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
export const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
export const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** A walk through an object's members. */
export interface Members {
  readonly body: Buffer;
  /** Of the member's key, without its quotes. */
  keyStart: number;
  keyEnd: number;
  /** Of its value; before the first member, of the object. */
  start: number;
  /** Of its value; -1 until it is asked for (`endOf`), passed, or set by who walked through the value. Behind the last member: of the object. */
  end: number;
}

/** Stands before the first member of the object that begins at `start`. */
export function membersAt(body: Buffer, start: number): Members {
  return { body, keyStart: -1, keyEnd: -1, start, end: -1 };
}

/** Goes to the next member; false where there is none. */
export function nextMember(members: Members): boolean {
  const { body } = members;
  const first = members.keyStart < 0;
  let at = skipSpace(body, first ? members.start + 1 : endOf(members));
  if (body[at] === CLOSE_OBJECT) {
    members.end = at + 1;
    return false;
  }
  if (!first) {
    if (body[at] !== COMMA) throw incomplete(`"," was expected at byte ${at}`);
    at = skipSpace(body, at + 1);
  }
  if (body[at] !== QUOTE) throw incomplete(`a key was expected at byte ${at}`);
  members.keyStart = at + 1;
  members.keyEnd = skipString(body, at) - 1;
  at = skipSpace(body, members.keyEnd + 1);
  if (body[at] !== COLON) throw incomplete(`":" was expected at byte ${at}`);
  members.start = skipSpace(body, at + 1);
  members.end = -1;
  return true;
}

/** Where the member's value ends. */
export function endOf(members: Members): number {
  if (members.end < 0) members.end = skipValue(members.body, members.start);
  return members.end;
}

/** Whether the member has this key, as raw bytes: the API server escapes none of those asked for. A loop beats `compare` on a few bytes. */
export function keyIs({ body, keyStart, keyEnd }: Members, name: Buffer): boolean {
  if (keyEnd - keyStart !== name.length) return false;
  for (let i = 0; i < name.length; i++) if (body[keyStart + i] !== name[i]) return false;
  return true;
}

/** Calls `element` with where each begins; it returns where that ends. Returns where the array ends. */
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

function skipValue(body: Buffer, start: number): number {
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

/** Bytes of a string after which searching beats looking at each: most strings are shorter. */
const LONG = 48;

/** From an opening quote to behind the closing one. */
function skipString(body: Buffer, start: number): number {
  let at = start + 1;
  for (const long = at + LONG; at < long; ) {
    const byte = body[at++];
    if (byte === QUOTE) return at;
    if (byte === BACKSLASH) at++;
    else if (byte === undefined) throw incomplete("it ends within a string");
  }
  return skipLong(body, at);
}

/** From within a string, not behind a backslash, to behind its closing quote. */
function skipLong(body: Buffer, start: number): number {
  for (let from = start; ; ) {
    const quote = body.indexOf(QUOTE, from);
    if (quote < 0) throw incomplete("it ends within a string");
    let backslashes = 0;
    while (quote - backslashes > start && body[quote - backslashes - 1] === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return quote + 1;
    from = quote + 1;
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
