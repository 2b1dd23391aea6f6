/** All that functions/ may import of the core. */
export { type ApiServer, startApiServer } from "./apiserver/server.ts";
export type { KubernetesObject } from "./archive/item.ts";
export { abortable, checkKey, checkRange, compareKeys } from "./bucket.ts";
export { type ErrorKind, isLifeboatError, LifeboatError, messageOf } from "./errors.ts";
export { parseLocation, readLocation } from "./location.ts";
export type { Bucket, Listed } from "./ports.ts";
