import { createHash } from "node:crypto";
import { pathToFileURL } from "node:url";
import { LifeboatError } from "./errors.ts";

/**
 * The URL of a location as a user writes it: a URL, or a directory's path that begins with "/", "./" or "../".
 * Throws `invalid` for anything else; the text, which could hold a credential, is then not repeated.
 */
export function parseLocation(text: string): URL {
  if (/^\.{0,2}\//.test(text) || text === "." || text === "..") return pathToFileURL(text);
  if (!URL.canParse(text)) {
    throw new LifeboatError("invalid", "the location is neither a URL nor a path", {
      hint: "write s3://bucket/prefix?region=R, file:///directory, or a path that begins with / or ./",
    });
  }
  return new URL(text);
}

/**
 * The parts of a bucket's location `scheme://bucket/prefix?parameter=value`; `prefix` is "" or ends in "/". Throws
 * `invalid` for credentials, parameters other than `names`, and whatever else a location has no use for.
 */
export function readLocation<Name extends string>(
  location: URL,
  names: readonly Name[],
): { bucket: string; prefix: string; parameters: Partial<Record<Name, string>> } {
  const scheme = location.protocol.slice(0, -1);
  const refuse = (reason: string, hint?: string) =>
    new LifeboatError("invalid", `the ${scheme} location ${reason}`, { hint });

  if (location.username || location.password) {
    throw refuse("holds a credential", "locations are shown and stored: give credentials by the environment instead");
  }
  if (location.port) throw refuse("has a port", "give another server by the parameter endpoint=URL");
  if (location.hash) throw refuse('has a "#"', 'write "#" as %23');

  const given = [...location.searchParams.keys()];
  const known: readonly string[] = names;
  const unknown = given.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw refuse(`has unknown parameters: ${unknown.join(", ")}`, `known are: ${names.join(", ") || "none"}`);
  }
  if (new Set(given).size < given.length) throw refuse("has a parameter twice");

  const path = decode(location.pathname);
  if (path === undefined) throw refuse('has a "%" that encodes nothing', 'write "%" as %25');
  if (/\p{Cc}/u.test(path)) throw refuse("holds a control character");
  const prefix = path.replace(/^\/+|\/+$/g, "");
  return {
    bucket: location.hostname,
    prefix: prefix && `${prefix}/`,
    parameters: Object.fromEntries(location.searchParams) as Partial<Record<Name, string>>,
  };
}

/** Parameters that say how a place is reached, and not which it is. */
const WAYS = ["region", "forcePathStyle"];

/** Whether two locations, as their buckets tell them, are the same place as far as can be told: then they are written alike. */
export function samePlace(one: string, other: string): boolean {
  return placeIn(one) === placeIn(other);
}

/** What two locations have in common if they are one place, and not else: 16 hexadecimal digits, as a label takes them. */
export function placeDigest(location: string): string {
  return createHash("sha256").update(placeIn(location)).digest("hex").slice(0, 16);
}

function placeIn(location: string): string {
  const url = URL.parse(location);
  if (!url) return location;
  for (const way of WAYS) url.searchParams.delete(way);
  url.searchParams.sort();
  const path = decode(url.pathname)?.replace(/^\/+|\/+$/g, "");
  return JSON.stringify([url.protocol, url.host, path, url.searchParams.toString()]);
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
