import { createHash } from "node:crypto";
import type { KubernetesObject } from "../../../core/index.ts";

/** Part of an object, of any shape. */
export type Fields = Record<string, unknown>;

/** When the shop was installed, and when its present release came. */
export const INSTALLED = "2026-06-01T08:00:00Z";
export const RELEASED = "2026-09-14T10:30:00Z";

/** An object by its line ("apps/v1 Deployment shop/web", "v1 Node node-1"); its uid follows from kind and name. */
export function make(line: string, content: Fields = {}, metadata: Fields = {}): KubernetesObject {
  const [apiVersion = "", kind = "", place = ""] = line.split(" ");
  const [name = "", namespace] = place.split("/").reverse();
  const uid = digest(`${kind} ${place}`).replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*/, "$1-$2-4$3-8$4-$5");
  const scope = namespace === undefined ? {} : { namespace };
  return { apiVersion, kind, metadata: { name, ...scope, uid, creationTimestamp: INSTALLED, ...metadata }, ...content };
}

/** The metadata by which a controller says whose an object is. */
export function ownedBy({ apiVersion, kind, metadata: { name, uid } }: KubernetesObject): Fields {
  return { ownerReferences: [{ apiVersion, kind, name, uid, controller: true, blockOwnerDeletion: true }] };
}

/** A status condition that holds. */
export function condition(type: string, reason = type): Fields {
  return { type, status: "True", reason, lastTransitionTime: RELEASED };
}

/** The letters that controllers add to names, always the same ones for the same `text`. */
export function letters(text: string, length: number): string {
  const bytes = [...createHash("sha256").update(text).digest()].slice(0, length);
  return bytes.map((byte) => "bcdfghjklmnpqrstvwxz2456789"[byte % 27]).join("");
}

/** Hexadecimal, 64 digits. */
export function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
