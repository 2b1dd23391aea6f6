import { digestingIndex } from "../archive/index.ts";
import { type ArchiveWriter, writeArchive } from "../archive/writer.ts";
import { encrypterFor } from "../encryption/age.ts";
import { ENCRYPTED, encrypting } from "../encryption/buckets.ts";
import { LifeboatError } from "../errors.ts";
import { secretsKeys } from "../layout.ts";
import type { Bucket } from "../ports.ts";
import type { BackupSpec } from "./scope.ts";

/** How much of a backup is encrypted: how the names of its encrypted files end, and to whom. */
export interface Encryption {
  what: "all" | "secrets";
  suffix: string;
  recipients: string[];
}

/**
 * What of a backup is to be encrypted: all of it where there are recipients, or only Secrets where its spec says so. Nobody here
 * can read what an interrupted run has encrypted and left: a later one has names of its own. `present`: what lies in the
 * backup's folder. Throws `invalid` for Secrets that are to be encrypted to nobody, and for a recipient that is no
 * public key.
 */
export function encryptionOf(
  { spec, recipients = [] }: { spec: BackupSpec; recipients?: string[] },
  present: Iterable<string>,
): Encryption | undefined {
  if (recipients.length === 0) {
    if (spec.secrets !== "encrypt") return undefined;
    throw new LifeboatError("invalid", "secrets: encrypt needs the public keys of who may read them", {
      hint: "give encryption.recipients in the configuration, or --recipient age1…",
    });
  }
  encrypterFor(recipients);
  const keys = [...present];
  let suffix = ENCRYPTED;
  for (let number = 2; keys.some((key) => key.endsWith(suffix)); number++) suffix = `.${number}${ENCRYPTED}`;
  return { what: spec.secrets === "encrypt" ? "secrets" : "all", suffix, recipients };
}

/** Where only Secrets are encrypted: what the record says of the archive that holds them. */
export interface SecretsFacts {
  suffix: string;
  count: number;
  /** Of their JSON. */
  bytes: number;
  /** SHA-256 by file name, of what is stored. */
  files: Record<string, string>;
  /** As that of the archive beside it (docs/format.md), of the index before it was encrypted. */
  indexEnd: string;
}

/** An archive of Secrets that is being written into a bucket, encrypted. */
export interface SecretsArchive {
  item: ArchiveWriter["item"];
  /** Resolves once all of it is stored. */
  finish(): Promise<SecretsFacts>;
  /** To be called when anything of the backup fails. */
  abort(error: unknown): void;
  /** Rejects where it can't be stored. */
  stored: Promise<unknown>;
}

export function writeSecrets(
  bucket: Bucket,
  name: string,
  { suffix, recipients }: Encryption,
  { mtime, signal }: { mtime: Date; signal: AbortSignal },
): SecretsArchive {
  const target = encrypting(bucket, recipients);
  const keys = secretsKeys(name, suffix);
  const writer = writeArchive({ mtime });
  const index = digestingIndex(writer.index);
  const stored = Promise.all([
    target.put(keys.tar, writer.tar, { ifAbsent: true, signal }),
    target.put(keys.index, index.bytes, { ifAbsent: true, signal }),
  ]);
  return {
    item: writer.item,
    stored,
    abort: writer.abort,
    async finish() {
      const { items, bytes } = await writer.finish();
      await stored;
      return { suffix, count: items, bytes, files: target.digests, indexEnd: index.digests().end };
    },
  };
}
