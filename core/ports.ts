/** One object of a listing, or, with a delimiter, one common prefix (which has no size). */
export type Listed =
  | { key: string; size: number; modified: Date; prefix?: undefined }
  | { prefix: string; key?: undefined };

/**
 * A bucket below a location's prefix: keys are relative to it, "/"-separated, without a leading slash.
 *
 * Adapters only translate: they neither retry beyond what their SDK does, nor log, nor name keys. Every method throws
 * a LifeboatError: `missing` (no such object, no such bucket), `denied`, `conflict` (the key exists and `ifAbsent` was
 * asked for), `unreachable`, `timeout`. All obey `signal` by rejecting with its reason.
 */
export interface Bucket {
  /** The location as the user gave it, for messages. It never holds a credential. */
  readonly location: string;

  /**
   * Stores `body`, of any length, under `key`. The object is visible only once it is complete; a put that fails or is
   * aborted leaves nothing that `list` or `get` can see. With `ifAbsent`, of any number of racing writers exactly one
   * wins, the others get `conflict`. A body that throws fails the put with that same error.
   */
  put(
    key: string,
    body: Buffer | AsyncIterable<Buffer>,
    options?: { ifAbsent?: boolean; signal?: AbortSignal },
  ): Promise<void>;

  /** The object's bytes, or those from `start` up to but not including `end` (cut at the object's end). */
  get(
    key: string,
    options?: { range?: { start: number; end: number }; signal?: AbortSignal },
  ): Promise<AsyncIterable<Buffer>>;

  /**
   * Every object whose key begins with `prefix`, in the order of the keys' UTF-8 bytes. With `delimiter`, keys that
   * hold a "/" after the prefix are folded into one `prefix` each (ending in "/"). A missing prefix lists nothing.
   */
  list(prefix: string, options?: { delimiter?: "/"; signal?: AbortSignal }): AsyncIterable<Listed>;

  /** Removes the object; removing what is not there succeeds. */
  delete(key: string, options?: { signal?: AbortSignal }): Promise<void>;
}
