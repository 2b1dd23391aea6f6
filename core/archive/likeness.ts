import { hash } from "node:crypto";
import { endOf, keyIs, type Members, membersAt, nextMember, OPEN_OBJECT } from "../kube/scan.ts";
import { BACKUP_NAME, RESTORE_NAME } from "../labels.ts";

/** Stands in the index's footer, and is raised with every change of what is disregarded: likenesses by other rules say nothing. */
export const LIKENESS_RULES = 1;

/** Fields of `metadata` that the API server writes. */
export const SERVER_METADATA = [
  "generateName",
  "selfLink",
  "uid",
  "resourceVersion",
  "generation",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "ownerReferences",
  "managedFields",
];

/** Fields of `metadata` that controllers write as they work. */
export const CONTROLLERS_METADATA = ["finalizers"];

/** Labels that say which restore made an object. */
export const RESTORE_LABELS = [BACKUP_NAME, RESTORE_NAME];

/** Fields of `spec` that belong to the cluster an object is in; what is "None" there is the author's. */
export const CLUSTER_SPEC = {
  services: ["clusterIP", "clusterIPs"],
  pods: ["nodeName", "priority"],
};

const STATUS = Buffer.from("status");
const METADATA = Buffer.from("metadata");
const LABELS = Buffer.from("labels");
const SPEC = Buffer.from("spec");
const NONE = Buffer.from('"None"');
const bytesOf = (names: string[]) => names.map((name) => Buffer.from(name));
const DISREGARDED_LABELS = bytesOf(RESTORE_LABELS);
const DISREGARDED_METADATA = bytesOf([...SERVER_METADATA, ...CONTROLLERS_METADATA]);
const DISREGARDED_SPEC = new Map(Object.entries(CLUSTER_SPEC).map(([resource, names]) => [resource, bytesOf(names)]));

/**
 * What an object is like, told from the bytes of its JSON without parsing them: 128 bits of a digest, as 22 characters of
 * base64url. Undefined where the bytes are too odd to tell.
 *
 * Backups have their objects from API servers, which write the same object the same way. So two that say the same nearly
 * always have the same bytes, apart from what servers, controllers and restores write themselves: the status, some fields
 * of the metadata, two labels, some fields of the spec. The digest is that of the other bytes: equal likenesses mean that
 * nothing else differs. Different ones may say the same nevertheless.
 */
export function likenessOf(body: Buffer, resource: string): string | undefined {
  if (body[0] !== OPEN_OBJECT) return undefined;
  begin(body);
  const specFields = DISREGARDED_SPEC.get(resource);
  let metadata = -1;
  let spec = -1;
  for (const member = membersAt(body, 0); nextMember(member); ) {
    if (keyIs(member, METADATA)) {
      if (metadata >= 0 || body[member.start] !== OPEN_OBJECT) return undefined;
      metadata = member.start;
    } else if (specFields && keyIs(member, SPEC)) {
      if (body[member.start] !== OPEN_OBJECT) return undefined;
      spec = member.start;
    } else if (!keyIs(member, STATUS)) take(member);
  }
  if (metadata < 0 || !takeMetadata(body, metadata)) return undefined;
  if (specFields && spec >= 0 && !takeSpec(body, spec, specFields)) return undefined;
  return end(body);
}

/** Whether it is as API servers send it. */
function takeMetadata(body: Buffer, start: number): boolean {
  let labels = -1;
  mark(body);
  for (const member = membersAt(body, start); nextMember(member); ) {
    if (keyIs(member, LABELS)) {
      if (labels >= 0 || body[member.start] !== OPEN_OBJECT) return false;
      labels = member.start;
    } else if (!isOneOf(DISREGARDED_METADATA, member)) take(member);
  }
  mark(body);
  return labels < 0 || takeLabels(body, labels);
}

/** A map without a label isn't the same as none: API servers never send one. */
function takeLabels(body: Buffer, start: number): boolean {
  let count = 0;
  for (const member = membersAt(body, start); nextMember(member); count++) {
    if (!isOneOf(DISREGARDED_LABELS, member)) take(member);
  }
  return count > 0;
}

/** What is "None" is not disregarded, and a spec without a field isn't the same as none: both are left to comparing. */
function takeSpec(body: Buffer, start: number, disregarded: Buffer[]): boolean {
  let taken = 0;
  mark(body);
  for (const member = membersAt(body, start); nextMember(member); ) {
    if (!isOneOf(disregarded, member)) {
      take(member);
      taken++;
    } else if (body.compare(NONE, 0, NONE.length, member.start, endOf(member)) === 0) return false;
  }
  return taken > 0;
}

function isOneOf(names: Buffer[], member: Members): boolean {
  for (const name of names) if (keyIs(member, name)) return true;
  return false;
}

// What is taken of one body lies in `room` until it is digested. Members that follow each other are copied at once.
let room = Buffer.allocUnsafeSlow(64 << 10);
let length = 0;
let from = 0;
let to = -1;

const LENGTH = 22;
const COMMA = 0x2c;
/** Between the parts that are taken: what stands at the top, in the metadata, in the labels, in the spec. No member begins with it. */
const MARK = 0x7b;

function begin(body: Buffer): void {
  // Every member comes with a comma; there are three marks.
  if (room.length < 2 * body.length + 3) room = Buffer.allocUnsafeSlow(2 * body.length + 3);
  length = 0;
  from = 0;
  to = -1;
}

function take(member: Members): void {
  const { body, keyStart } = member;
  if (keyStart - 2 !== to) {
    flush(body);
    from = keyStart - 1;
  }
  to = endOf(member);
}

function mark(body: Buffer): void {
  flush(body);
  room[length++] = MARK;
}

function flush(body: Buffer): void {
  if (to > from) {
    length += body.copy(room, length, from, to);
    room[length++] = COMMA;
  }
  from = 0;
  to = -1;
}

function end(body: Buffer): string {
  flush(body);
  return hash("sha256", room.subarray(0, length), "base64url").slice(0, LENGTH);
}
