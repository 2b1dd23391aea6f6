import { randomUUID } from "node:crypto";
import { createReadStream, type Dirent } from "node:fs";
import { link, mkdir, open, readdir, rename, rm, rmdir, stat, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import {
  abortable,
  type Bucket,
  checkKey,
  checkRange,
  compareKeys,
  type ErrorKind,
  LifeboatError,
  type Listed,
} from "../../core/index.ts";

const TEMPORARY = ".tmp-";
const ABANDONED_MS = 24 * 3600 * 1000;
/** Backups hold Secrets: only the user may read them. */
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;

/**
 * A directory as a bucket: each object is the file of its key's name. The directory is made by the first put; until
 * then it lists nothing. An object appears by link(2) or rename(2) of a synced temporary file `.tmp-…` in the
 * directory itself, which no listing shows; what killed processes left of these is removed after a day. Symbolic links
 * below the directory are not listed. Not to be had, other than in a cloud: keys "a" and "a/b" at the same time, and
 * names longer than the file system's (both `invalid`).
 */
export function directoryBucket(path: string): Bucket {
  const root = resolve(path);
  const location = pathToFileURL(root).href;
  let swept: Promise<void> | undefined;

  const pathOf = (key: string) => {
    checkKey(key);
    if (!key.startsWith(TEMPORARY)) return join(root, key);
    throw new LifeboatError("invalid", `keys that begin with ${TEMPORARY} are reserved in ${location}`);
  };
  const attempt = async <T>(wanted: string, operation: Promise<T>): Promise<T> => {
    try {
      return await operation;
    } catch (error) {
      throw fileError(error, `${wanted} in ${location}`);
    }
  };

  return {
    location,

    async put(key, body, { ifAbsent = false, retain, signal } = {}) {
      if (retain) {
        throw new LifeboatError("invalid", `a directory holds no object against deletion: ${location}`, {
          hint: "retain backups in a bucket that can: S3 with object lock, Cloud Storage with object retention, Azure with version-level immutability",
        });
      }
      const wanted = `put ${key}`;
      const target = pathOf(key);
      const temporary = join(root, TEMPORARY + randomUUID());
      signal?.throwIfAborted();
      await attempt(wanted, makeRoot(root));
      swept ??= removeAbandoned(root);
      await swept;
      const file = await attempt(wanted, open(temporary, "wx", FILE_MODE));
      try {
        try {
          for await (const chunk of Buffer.isBuffer(body) ? [body] : abortable(body, signal)) {
            await attempt(wanted, file.appendFile(chunk));
          }
          await attempt(wanted, file.sync());
        } finally {
          await file.close();
        }
        signal?.throwIfAborted();
        await attempt(wanted, publish(temporary, target, ifAbsent));
      } finally {
        await rm(temporary, { force: true });
      }
    },

    async get(key, { range, signal } = {}) {
      const wanted = `get ${key}`;
      const path = pathOf(key);
      checkRange(range);
      signal?.throwIfAborted();
      const found = await attempt(wanted, stat(path).catch(orAbsent(undefined)));
      if (!found?.isFile()) throw new LifeboatError("missing", `can't ${wanted} in ${location}: no such object`);
      return read();

      async function* read(): AsyncGenerator<Buffer> {
        if (range && range.start === range.end) return;
        const stream = createReadStream(path, { start: range?.start, end: range && range.end - 1, signal });
        try {
          for await (const chunk of stream) yield chunk;
        } catch (error) {
          throw signal?.aborted ? signal.reason : fileError(error, `${wanted} in ${location}`);
        }
      }
    },

    async *list(prefix, { delimiter, signal } = {}) {
      const cut = prefix.lastIndexOf("/") + 1;
      const folder = prefix.slice(0, cut);
      if (
        folder
          .split("/")
          .slice(0, -1)
          .some((segment) => segment === "" || segment === "." || segment === "..")
      )
        return;
      try {
        yield* walk(root, folder, prefix.slice(cut), delimiter, signal);
      } catch (error) {
        throw signal?.aborted ? signal.reason : fileError(error, `list "${prefix}" in ${location}`);
      }
    },

    async delete(key, { signal } = {}) {
      const path = pathOf(key);
      signal?.throwIfAborted();
      const gone = await attempt(
        `delete ${key}`,
        unlink(path).then(() => true, orAbsent(false)),
      );
      if (gone) await removeEmptyFolders(root, dirname(path));
    },
  };
}

/** Throws `missing` unless there is a directory at that location. */
export async function checkDirectory(location: string): Promise<void> {
  const path = fileURLToPath(location);
  const found = await stat(path).catch(orAbsent(undefined));
  if (found?.isDirectory()) return;
  throw new LifeboatError("missing", `there is no directory ${path}`, {
    hint: "correct the location; a directory is made by the first backup in it",
  });
}

async function publish(temporary: string, target: string, ifAbsent: boolean): Promise<void> {
  const folder = dirname(target);
  let made: string | undefined;
  for (let tries = 1; ; tries++) {
    try {
      made = (await makeFolder(folder)) ?? made;
      await (ifAbsent ? link(temporary, target) : rename(temporary, target));
      break;
    } catch (error) {
      // The delete of a neighbour removes the folder when it is empty.
      if (codeOf(error) === "ENOENT" && tries < 10) continue;
      if (codeOf(error) === "EEXIST" && (await stat(target)).isDirectory()) throw notBoth();
      throw error;
    }
  }
  for (let path = folder; ; path = dirname(path)) {
    await syncFolder(path);
    if (!made || path === dirname(made)) return;
  }
}

async function makeRoot(root: string): Promise<void> {
  await makeFolder(root).catch((error) => {
    if (codeOf(error) !== "ENOENT") throw error;
    throw new LifeboatError("invalid", `can't store anything in ${root}: no directory can be made there`, {
      hint: "take another location",
    });
  });
}

/**
 * Gives the topmost folder that had to be made, if any. Not by mkdir's `recursive`, which tries for ever where a file
 * system answers ENOENT although the parent is there (/proc does).
 */
async function makeFolder(path: string): Promise<string | undefined> {
  try {
    await mkdir(path, { mode: FOLDER_MODE });
    return path;
  } catch (error) {
    if (codeOf(error) === "EEXIST") {
      if ((await stat(path)).isDirectory()) return undefined;
      throw notBoth();
    }
    if (codeOf(error) !== "ENOENT" || dirname(path) === path) throw error;
  }
  const above = await makeFolder(dirname(path));
  await mkdir(path, { mode: FOLDER_MODE }).catch((error: unknown) => {
    if (codeOf(error) !== "EEXIST") throw error;
  });
  return above ?? path;
}

const notBoth = () => Object.assign(new Error("a file where a directory should be"), { code: "ENOTDIR" });

async function syncFolder(path: string): Promise<void> {
  try {
    await using folder = await open(path);
    await folder.sync();
  } catch (error) {
    orAbsent(undefined)(error);
  }
}

/** All below `folder` ("" or ending in "/") whose name begins with `start`, in the order of the keys' bytes. */
async function* walk(
  root: string,
  folder: string,
  start: string,
  delimiter: "/" | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<Listed> {
  signal?.throwIfAborted();
  const entries: Dirent[] = await readdir(join(root, folder), { withFileTypes: true }).catch(async (error) => {
    if (codeOf(error) === "ENOTDIR") await checkRoot(root);
    return orAbsent([])(error);
  });
  const names = entries
    .filter((entry) => entry.isFile() || entry.isDirectory())
    .filter((entry) => folder !== "" || !entry.name.startsWith(TEMPORARY))
    .map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name))
    .filter((name) => name.startsWith(start))
    .sort(compareKeys);
  for (const name of names) {
    signal?.throwIfAborted();
    const key = folder + name;
    if (!name.endsWith("/")) {
      const file = await stat(join(root, key)).catch(orAbsent(undefined));
      if (file) yield { key, size: file.size, modified: file.mtime };
    } else if (!delimiter) {
      yield* walk(root, key, "", delimiter, signal);
    } else if (await holdsObject(root, key, signal)) {
      yield { prefix: key };
    }
  }
}

/** Throws where a file stands at the root's path, or above it: then nothing is absent, the location is wrong. */
async function checkRoot(root: string): Promise<void> {
  const found = await stat(root);
  if (!found.isDirectory()) throw notBoth();
}

/** Of a folder that may not be read that isn't known: it is there, and whoever looks into it is told. */
async function holdsObject(root: string, folder: string, signal: AbortSignal | undefined): Promise<boolean> {
  try {
    for await (const _ of walk(root, folder, "", undefined, signal)) return true;
    return false;
  } catch (error) {
    if (codeOf(error) === "EACCES" || codeOf(error) === "EPERM") return true;
    throw error;
  }
}

async function removeAbandoned(root: string): Promise<void> {
  for (const name of await readdir(root).catch(() => [])) {
    if (!name.startsWith(TEMPORARY)) continue;
    const path = join(root, name);
    const age =
      Date.now() -
      (await stat(path).then(
        (file) => file.mtimeMs,
        () => Date.now(),
      ));
    if (age > ABANDONED_MS) await rm(path, { force: true }).catch(() => {});
  }
}

async function removeEmptyFolders(root: string, folder: string): Promise<void> {
  for (let path = folder; path !== root; path = dirname(path)) {
    const removed = await rmdir(path).then(
      () => true,
      () => false,
    );
    if (!removed) return;
  }
}

function orAbsent<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (["ENOENT", "ENOTDIR", "EISDIR"].includes(codeOf(error) ?? "")) return value;
    throw error;
  };
}

const codeOf = (error: unknown) => (error instanceof Error && "code" in error ? String(error.code) : undefined);

/** What the operating system's errors mean for the user; all others are `unreachable`. */
const FILE_ERRORS: Record<string, { kind: ErrorKind; reason: string; hint?: string }> = {
  ENOENT: { kind: "missing", reason: "no such object" },
  EEXIST: { kind: "conflict", reason: "it exists already" },
  ENOTDIR: { kind: "invalid", reason: "one path can't be both a file and a directory" },
  EISDIR: { kind: "invalid", reason: "one path can't be both a file and a directory" },
  ENAMETOOLONG: { kind: "invalid", reason: "a part of the key is longer than the file system's names" },
  EACCES: { kind: "denied", reason: "permission denied", hint: "give the user that runs lifeboat access to it" },
  EPERM: { kind: "denied", reason: "not permitted", hint: "the file system must allow hard links and be writable" },
  EROFS: { kind: "denied", reason: "the file system is read-only" },
  ENOSPC: { kind: "unreachable", reason: "no space left on the device", hint: "free some space, then try again" },
  EDQUOT: { kind: "unreachable", reason: "the disk quota is used up", hint: "free some space, then try again" },
};

function fileError(error: unknown, wanted: string): LifeboatError {
  if (error instanceof LifeboatError) return error;
  const code = codeOf(error);
  const { kind, reason, hint } = FILE_ERRORS[code ?? ""] ?? { kind: "unreachable", reason: String(error) };
  return new LifeboatError(kind, `can't ${wanted}: ${reason}`, { hint, cause: error });
}
