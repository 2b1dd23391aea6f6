import { createReadStream } from "node:fs";
import { type ErrorKind, LifeboatError, messageOf } from "./errors.ts";
import type { Secrets } from "./ports.ts";

/** More than any store of a cloud takes; a kubeconfig has a few KiB. */
const MAX_BYTES = 1024 * 1024;

const FILE_ERRORS: Record<string, ErrorKind> = {
  ENOENT: "missing",
  ENOTDIR: "missing",
  EACCES: "denied",
  EPERM: "denied",
  EIO: "unreachable",
};

/** The secrets `env:NAME`: this process's environment variables, as they are now. */
export function environmentSecrets(env: Record<string, string | undefined> = process.env): Secrets {
  return {
    async read(reference, { signal } = {}) {
      signal?.throwIfAborted();
      const name = /^env:([A-Za-z_][A-Za-z0-9_]*)$/.exec(reference)?.[1];
      if (!name) throw malformed("env:NAME, of letters, digits and underscores");
      const value = env[name];
      if (value === undefined) {
        throw new LifeboatError("missing", `can't read the secret ${reference}: the variable is not set`);
      }
      return value;
    },
  };
}

/**
 * The secrets `file:path`: files of UTF-8 text, up to 1 MiB; a relative path begins at the working directory. Nothing
 * in the path is decoded.
 */
export function fileSecrets(): Secrets {
  return {
    async read(reference, { signal } = {}) {
      signal?.throwIfAborted();
      const path = /^file:([^\0]+)$/s.exec(reference)?.[1];
      if (!path) throw malformed("file:path");
      const chunks: Buffer[] = [];
      try {
        for await (const chunk of createReadStream(path, { end: MAX_BYTES, signal })) chunks.push(chunk);
      } catch (error) {
        signal?.throwIfAborted();
        const code = error instanceof Error && "code" in error ? String(error.code) : "";
        throw new LifeboatError(
          FILE_ERRORS[code] ?? "invalid",
          `can't read the secret ${reference}: ${code || messageOf(error)}`,
        );
      }
      const bytes = Buffer.concat(chunks);
      if (bytes.length > MAX_BYTES) {
        throw new LifeboatError("invalid", `the secret ${reference} is larger than ${MAX_BYTES} bytes`);
      }
      return secretText(bytes, reference);
    },
  };
}

/** The text that a secret's bytes are in UTF-8. Throws `invalid` for bytes that are none. */
export function secretText(bytes: Uint8Array, reference: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new LifeboatError("invalid", `the secret ${reference} is not UTF-8 text`);
  }
}

/** What a user wrote in a reference's place could be a secret: it is not repeated. */
function malformed(form: string): LifeboatError {
  return new LifeboatError("invalid", "a secret's reference can't be read", { hint: `write ${form}` });
}
