import { hash } from "node:crypto";
import type { KubernetesObject } from "../archive/item.ts";
import { textWithout } from "../kube/json.ts";
import { keyIs, OPEN_OBJECT, QUOTE, skipValue, walkObject } from "../kube/scan.ts";
import { CONTROLLERS_METADATA, RESTORE_LABELS } from "./comparable.ts";
import { SERVER_METADATA } from "./fixes.ts";

/**
 * An object at a glance, told from its bytes without parsing what is inside it.
 *
 * Both the backup and the target have their objects from API servers, which write the same object the same way. So two
 * that say the same nearly always have the same bytes, apart from what the server writes itself: the status, and a few
 * fields of the metadata. The bytes that are left give the likeness. Same likeness, same comparable form, where no fix
 * changes the object (`fixesNothing`): of two objects of one identity and the same likeness, `comparable` is given the
 * same but for what it removes. The reverse doesn't hold: where likenesses differ, only comparing tells.
 */
export interface Glance {
  head: Head;
  /** 16 bytes; undefined where the bytes are too odd to tell. */
  likeness: Buffer | undefined;
}

/** The strings at the top of an object, and its metadata without `managedFields`. */
export type Head = Pick<KubernetesObject, "apiVersion" | "kind" | "metadata"> & { type?: unknown };

export const LIKENESS_BYTES = 16;

const [STATUS, METADATA, LABELS] = ["status", "metadata", "labels"].map((name) => Buffer.from(name)) as [
  Buffer,
  Buffer,
  Buffer,
];
const DISREGARDED_LABELS = RESTORE_LABELS.map((name) => Buffer.from(name));
const DISREGARDED_METADATA = [...SERVER_METADATA, ...CONTROLLERS_METADATA].map((name) => Buffer.from(name));
const MANAGED_FIELDS = [Buffer.from("managedFields")];

/** Looks at an object's JSON. Throws what walking and parsing throw where it is none. */
export function glance(body: Buffer): Glance {
  if (body[0] !== OPEN_OBJECT) return { head: JSON.parse(body.toString("utf8")), likeness: undefined };
  const parts: string[] = [];
  const taken = startTaking(body);
  let metadatas = 0;
  walkObject(body, 0, (keyStart, keyEnd, at) => {
    if (keyIs(body, keyStart, keyEnd, METADATA) && body[at] === OPEN_OBJECT) {
      metadatas++;
      parts.push(`"metadata":${textWithout(body, at, MANAGED_FIELDS)}`);
      return takeMetadata(body, at, taken);
    }
    const after = skipValue(body, at);
    if (!keyIs(body, keyStart, keyEnd, STATUS)) taken.take(keyStart - 1, after);
    if (body[at] === QUOTE) parts.push(body.toString("utf8", keyStart - 1, after));
    return after;
  });
  return { head: JSON.parse(`{${parts.join()}}`), likeness: metadatas === 1 ? taken.digest() : undefined };
}

/** The parts of one body that its likeness is made of. */
interface Taken {
  /** A member: from its key's quote to its value's end. */
  take(start: number, end: number): void;
  mark(mark: "{" | "}"): void;
  /** The likeness would say too little. */
  giveUp(): void;
  digest(): Buffer | undefined;
}

function takeMetadata(body: Buffer, start: number, taken: Taken): number {
  let labels = -1;
  taken.mark("{");
  const end = walkObject(body, start, (keyStart, keyEnd, at) => {
    const after = skipValue(body, at);
    if (keyIs(body, keyStart, keyEnd, LABELS)) {
      if (labels < 0 && body[at] === OPEN_OBJECT) labels = at;
      else taken.giveUp();
    } else if (!isOneOf(DISREGARDED_METADATA, body, keyStart, keyEnd)) taken.take(keyStart - 1, after);
    return after;
  });
  taken.mark("{");
  if (labels >= 0) takeLabels(body, labels, taken);
  taken.mark("}");
  return end;
}

/** A map without a label isn't the same as none: API servers never send one. */
function takeLabels(body: Buffer, start: number, taken: Taken): void {
  let count = 0;
  walkObject(body, start, (keyStart, keyEnd, at) => {
    const after = skipValue(body, at);
    if (!isOneOf(DISREGARDED_LABELS, body, keyStart, keyEnd)) taken.take(keyStart - 1, after);
    count++;
    return after;
  });
  if (count === 0) taken.giveUp();
}

function isOneOf(names: Buffer[], body: Buffer, start: number, end: number): boolean {
  for (const name of names) if (keyIs(body, start, end, name)) return true;
  return false;
}

/** What is taken lies here until it is digested: a body at a time. */
let room = Buffer.allocUnsafeSlow(64 << 10);

function startTaking(body: Buffer): Taken {
  // Each member takes a comma besides; there are three marks.
  if (room.length < 2 * body.length + 3) room = Buffer.allocUnsafeSlow(2 * body.length + 3);
  let length = 0;
  let odd = false;
  return {
    take(start, end) {
      length += body.copy(room, length, start, end);
      room[length++] = 0x2c;
    },
    mark(mark) {
      room[length++] = mark.charCodeAt(0);
    },
    giveUp() {
      odd = true;
    },
    digest: () => (odd ? undefined : hash("sha256", room.subarray(0, length), "buffer").subarray(0, LIKENESS_BYTES)),
  };
}
