/** What a message's fields are called, by their numbers; of a message in it, its own. */
interface Shape {
  [number: number]: string | [name: string, shape: Shape];
}

/** Of k8s.io/api/authorization/v1's SelfSubjectAccessReview, what it asks for. */
const REVIEW: Shape = {
  2: [
    "spec",
    {
      1: ["resourceAttributes", { 1: "namespace", 2: "verb", 3: "group", 5: "resource", 6: "subresource", 7: "name" }],
      2: ["nonResourceAttributes", { 1: "path", 2: "verb" }],
    },
  ],
};
/** Of apimachinery's `Unknown`, in which every object travels behind these four bytes. */
const MAGIC = "k8s\0";
const UNKNOWN: Shape = { 1: ["type", { 1: "apiVersion", 2: "kind" }], 2: ["object", REVIEW] };

/** Reads a question about rights as kubectl sends it, in Kubernetes' protobuf. Throws RangeError for anything else. */
export function readReview(body: Buffer): object {
  if (body.toString("latin1", 0, 4) !== MAGIC) throw new RangeError("no object of Kubernetes");
  const { type, object } = readMessage(body.subarray(4), UNKNOWN) as Record<string, object>;
  return { ...type, ...object };
}

/** The fields that `shape` knows: texts and messages. Of the others there may be numbers. */
function readMessage(bytes: Buffer, shape: Shape): object {
  const fields: Record<string, string | object> = {};
  for (let at = 0; at < bytes.length; ) {
    const tag = readNumber(bytes, at);
    const value = readNumber(bytes, tag.end);
    at = value.end;
    if ((tag.value & 7) === 0) continue;
    if ((tag.value & 7) !== 2 || at + value.value > bytes.length) throw new RangeError("no message that is known");
    const content = bytes.subarray(at, at + value.value);
    at += value.value;
    const known = shape[tag.value >> 3];
    if (typeof known === "string") fields[known] = content.toString();
    else if (known) fields[known[0]] = readMessage(content, known[1]);
  }
  return fields;
}

function readNumber(bytes: Buffer, start: number): { value: number; end: number } {
  let value = 0;
  for (let at = start, shift = 0; shift < 28; at++, shift += 7) {
    const byte = bytes.readUInt8(at);
    value |= (byte & 127) << shift;
    if (byte < 128) return { value, end: at + 1 };
  }
  throw new RangeError("a number too large");
}
