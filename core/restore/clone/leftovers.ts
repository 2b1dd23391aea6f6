import { gunzipSync } from "node:zlib";
import type { KubernetesObject } from "../../archive/item.ts";
import { isFields } from "../../objects/fields.ts";
import { isWithin } from "./domains.ts";

/** Texts that are inside a text: the domain may stand there too. */
interface Wrapping {
  why: string;
  /** Whether a text at these keys of the object may be wrapped so. */
  when: (keys: string[], object: KubernetesObject) => boolean;
  unwrap: (text: string) => string[];
}

const PEM_BLOCK = /-----BEGIN [A-Z0-9 ]+-----([A-Za-z0-9+/=\s]+)-----END/g;
const LARGEST_RELEASE = 64 << 20;

const WRAPPINGS: Wrapping[] = [
  {
    why: "Kubernetes gives bytes as base64",
    when: ([field], { kind }) =>
      (kind === "Secret" && field === "data") || (kind === "ConfigMap" && field === "binaryData"),
    unwrap: (text) => [fromBase64(text).toString("utf8")],
  },
  {
    why: "Helm notes a release's values and manifests, packed once more; an upgrade would bring them back",
    when: ([field], object) => field === "data" && object.kind === "Secret" && object.type === "helm.sh/release.v1",
    unwrap: (text) => unpacked(fromBase64(fromBase64(text).toString("latin1"))),
  },
];

/**
 * Where in an object a domain of the source still stands: the paths of its values, and of keys; sorted as they stand.
 * Looked for on label boundaries, in any case, and in what is packed into a text (base64, certificates, Helm's
 * releases). A host of the clone's domain isn't one of the source's, where the one lies below the other. The type's name,
 * `apiVersion`, is left aside: it is no address. No value is ever part of the answer.
 */
export function leftovers(object: KubernetesObject, mapping: Record<string, string>): string[] {
  const names = finder(mapping);
  const found: string[] = [];
  const visit = (value: unknown, keys: string[], path: string) => {
    if (typeof value === "string") {
      const wrapped = WRAPPINGS.filter(({ when }) => when(keys, object)).flatMap(({ unwrap }) => unwrap(value));
      if ([value, ...wrapped].some(names)) found.push(path);
    } else if (Array.isArray(value)) {
      for (const [index, one] of value.entries()) visit(one, [...keys, String(index)], `${path}[${index}]`);
    } else if (isFields(value)) {
      for (const [key, one] of Object.entries(value)) {
        if (!keys.length && key === "apiVersion") continue;
        const inner = step(path, key);
        if (names(key)) found.push(`${inner} (its key)`);
        visit(one, [...keys, key], inner);
      }
    }
  };
  visit(object, [], "");
  return found;
}

/** What a restore tells of `leftovers`; undefined where there are none. */
export function leftoverWarning(object: KubernetesObject, mapping: Record<string, string>): string | undefined {
  const paths = leftovers(object, mapping);
  if (!paths.length) return undefined;
  return `${Object.keys(mapping).join(" or ")} still stands in ${paths.join(", ")}`;
}

function step(path: string, key: string): string {
  if (!/^[A-Za-z_][\w-]*$/.test(key)) return `${path}[${JSON.stringify(key)}]`;
  return path ? `${path}.${key}` : key;
}

/** Whether a text names one of the domains, or a host below it. */
function finder(mapping: Record<string, string>): (text: string) => boolean {
  const pairs = Object.entries(mapping).map(([domain, to]) => [domain.toLowerCase(), to] as const);
  const inBytes = (bytes: string) => pairs.some(([domain]) => bytes.toLowerCase().includes(domain));
  return (text) =>
    pairs.some(([domain, to]) => standsIn(text.toLowerCase(), domain, to)) ||
    [...text.matchAll(PEM_BLOCK)].some(([, body = ""]) => inBytes(fromBase64(body).toString("latin1")));
}

function standsIn(text: string, domain: string, to: string): boolean {
  const hidden = isWithin(to, domain);
  for (let start = text.indexOf(domain); start >= 0; start = text.indexOf(domain, start + 1)) {
    const before = text.slice(Math.max(0, start - LONGEST_HOST), start);
    if (!BEGINS.test(before) || !ENDS.test(text.slice(start + domain.length, start + domain.length + 2))) continue;
    const [below] = /[-\w.]*$/.exec(before) ?? [""];
    if (!hidden || !isWithin(below + domain, to)) return true;
  }
  return false;
}

const LONGEST_HOST = 253;
/** A label begins after this: also after an escaped character of JSON or of a URL. */
const BEGINS = /^$|[^-\w]$|\\[bfnrt]$|%[0-9a-f]{2}$/;
/** The name is over before this; a dot may end it. */
const ENDS = /^(?![-\w]|\.[-\w])/;

function fromBase64(text: string): Buffer {
  return Buffer.from(text, "base64");
}

function unpacked(bytes: Buffer): string[] {
  try {
    return [gunzipSync(bytes, { maxOutputLength: LARGEST_RELEASE }).toString("utf8")];
  } catch {
    return [];
  }
}
