import {
  endOf,
  incomplete,
  keyIs,
  membersAt,
  nextMember,
  OPEN_ARRAY,
  OPEN_OBJECT,
  skipSpace,
  walkArray,
} from "./scan.ts";

/** What a `…List` document of the API server holds. */
export interface ListDocument {
  /** One Buffer per item, in the server's order. Slices of `body`, except for items whose type was filled in. */
  items: Buffer[];
  resourceVersion: string;
  /** The token for the next page; undefined on the last one. */
  continue: string | undefined;
  /** How many items follow this page, where the server says so. */
  remaining: number | undefined;
}

/**
 * Cuts the items out of a list document without parsing them, so that every byte the server sent survives (integers
 * beyond 2^53, the order of keys). With `type`, items that lack `apiVersion` or `kind`, as the API server's typed
 * lists do, get them as their first keys. Slices keep the whole page in memory as long as one of them lives: copy what
 * is kept for longer. Throws `unreachable` for anything that is not a complete list document.
 */
export function listItems(body: Buffer, type?: { apiVersion: string; kind: string }): ListDocument {
  const spans: Span[] = [];
  let metadata: ListMeta = {};
  let found = false;
  const start = skipSpace(body, 0);
  if (body[start] !== OPEN_OBJECT) throw incomplete("it doesn't begin with {");
  const member = membersAt(body, start);
  while (nextMember(member)) {
    if (keyIs(member, METADATA)) metadata = parseMetadata(body.toString("utf8", member.start, endOf(member)));
    if (!keyIs(member, ITEMS)) continue;
    found = true;
    if (body[member.start] === OPEN_ARRAY)
      member.end = walkArray(body, member.start, (item) => pushItem(body, item, spans));
  }
  if (!found) throw incomplete("it has no items");
  if (skipSpace(body, member.end) !== body.length) throw incomplete("something follows its end");
  return {
    items: type ? withType(body, spans, type) : spans.map((span) => body.subarray(span.start, span.end)),
    resourceVersion: metadata.resourceVersion ?? "",
    continue: metadata.continue || undefined,
    remaining: metadata.remainingItemCount,
  };
}

/**
 * `JSON.parse` that keeps integers which a double can't hold: they become `JSON.rawJSON` values, so that
 * `JSON.stringify` gives their digits back unchanged. Only documents in which such digits occur pay for it.
 */
export function parseExact(text: string | Buffer): unknown {
  const json = typeof text === "string" ? text : text.toString("utf8");
  return LONG_INTEGER.test(json) ? JSON.parse(json, keepInteger) : JSON.parse(json);
}

const LONG_INTEGER = /(?:^|[:[,])\s*-?\d{16}/;
const INTEGER = /^-?\d+$/;

function keepInteger(_key: string, value: unknown, { source }: { source?: string }): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value) || !source || !INTEGER.test(source)) return value;
  return JSON.rawJSON(source);
}

const API_VERSION = Buffer.from("apiVersion");
const KIND = Buffer.from("kind");
const METADATA = Buffer.from("metadata");
const ITEMS = Buffer.from("items");

interface ListMeta {
  resourceVersion?: string;
  continue?: string;
  remainingItemCount?: number;
}

function parseMetadata(json: string): ListMeta {
  try {
    return JSON.parse(json) ?? {};
  } catch {
    throw incomplete("its metadata is not JSON");
  }
}

interface Span {
  start: number;
  end: number;
  empty: boolean;
  hasApiVersion: boolean;
  hasKind: boolean;
}

function pushItem(body: Buffer, start: number, spans: Span[]): number {
  if (body[start] !== OPEN_OBJECT) throw incomplete("an item is not an object");
  const span = { start, end: start, empty: true, hasApiVersion: false, hasKind: false };
  const member = membersAt(body, start);
  for (; nextMember(member); span.empty = false) {
    if (keyIs(member, API_VERSION)) span.hasApiVersion = true;
    else if (keyIs(member, KIND)) span.hasKind = true;
  }
  span.end = member.end;
  spans.push(span);
  return span.end;
}

/** The items with their type, in one new buffer: those that say it already are copied as they are. */
function withType(body: Buffer, spans: Span[], type: { apiVersion: string; kind: string }): Buffer[] {
  const apiVersion = `"apiVersion":${JSON.stringify(type.apiVersion)}`;
  const kind = `"kind":${JSON.stringify(type.kind)}`;
  const heads = spans.map((span) => {
    const missing = [span.hasApiVersion ? "" : apiVersion, span.hasKind ? "" : kind].filter(Boolean).join(",");
    return `{${missing}${missing && !span.empty ? "," : ""}`;
  });
  const longest = apiVersion.length + kind.length + 3;
  const room = spans.reduce((total, { start, end }) => total + end - start + 3 * longest, 0);
  const typed = Buffer.allocUnsafeSlow(room);
  let at = 0;
  return spans.map((span, index) => {
    const start = at;
    at += typed.write(heads[index]!, at);
    at += body.copy(typed, at, span.start + 1, span.end);
    return typed.subarray(start, at);
  });
}

/** Most of the bytes of most metadata, and nothing that a backup looks at. */
const BULKY = ["annotations", "managedFields"].map((name) => Buffer.from(name));

/**
 * The `metadata` of an object's JSON, parsed, without its members of the names in `omit`. Nothing else of the object is
 * parsed. `{}` where there is none.
 */
export function metadataOf(item: Buffer, omit: Buffer[] = BULKY): unknown {
  if (item[0] !== OPEN_OBJECT) return {};
  for (const member = membersAt(item, 0); nextMember(member); ) {
    if (!keyIs(member, METADATA)) continue;
    if (item[member.start] === OPEN_OBJECT) return JSON.parse(textWithout(item, member.start, omit));
    return JSON.parse(item.toString("utf8", member.start, endOf(member)));
  }
  return {};
}

/** The JSON of the object that begins at `start`, without its members of these names. */
function textWithout(item: Buffer, start: number, names: Buffer[]): string {
  let text = "";
  let from = -1;
  let to = -1;
  const endRun = () => {
    if (from >= 0) text += `${text && ","}${item.toString("utf8", from, to)}`;
    from = -1;
  };
  for (const member = membersAt(item, start); nextMember(member); ) {
    if (names.some((name) => keyIs(member, name))) endRun();
    else {
      if (from < 0) from = member.keyStart - 1;
      to = endOf(member);
    }
  }
  endRun();
  return `{${text}}`;
}
