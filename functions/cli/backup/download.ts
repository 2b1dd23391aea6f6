import { randomUUID } from "node:crypto";
import { access, link, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { backupKeysOf, bytesText, LifeboatError, messageOf, readBackup } from "../../../core/index.ts";
import type { Invocation } from "../options.ts";
import { print } from "../output.ts";
import { openBucket } from "../session.ts";
import { readMade } from "../underway.ts";

const DENIED = ["EACCES", "EPERM", "EROFS"];
const REASONS: Record<string, string> = {
  ENOENT: "its directory does not exist",
  ENOTDIR: "its directory is a file",
  EISDIR: "it is a directory",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "the file system is read-only",
  ENOSPC: "no space left on the device",
};

/** `lifeboat backup download NAME`: the file appears only once it is complete. Throws `conflict` where it exists, without --force. */
export async function downloadBackup({ args, options, signal }: Invocation<{ force?: boolean }>): Promise<undefined> {
  const name = args[0] as string;
  const { output, force = false } = options as { output?: string; force?: boolean };
  const file = output ?? `${name}-data.tar.gz`;
  const bucket = await openBucket(options);
  const record = await readMade({ bucket, kind: "backup", name, signal }, () => readBackup(bucket, name, signal));
  if (!force && (await exists(file))) throw alreadyThere(file);
  const archive = await bucket.get(backupKeysOf(record).tar, { signal });
  const size = await write(file, archive, force);
  print(`Saved ${bytesText(size)} as ${file}`);
}

async function write(file: string, content: AsyncIterable<Buffer>, force: boolean): Promise<number> {
  const temporary = join(dirname(file), `.${basename(file)}.${randomUUID()}`);
  let size = 0;
  try {
    const handle = await open(temporary, "wx", 0o600);
    try {
      for await (const chunk of content) {
        await handle.appendFile(chunk);
        size += chunk.length;
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    if (force) await rename(temporary, file);
    else await link(temporary, file);
    return size;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "EEXIST") throw alreadyThere(file);
    if (code === undefined || error instanceof LifeboatError) throw error;
    throw new LifeboatError(
      DENIED.includes(code) ? "denied" : "invalid",
      `can't write ${file}: ${REASONS[code] ?? messageOf(error)}`,
    );
  } finally {
    await rm(temporary, { force: true });
  }
}

function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

function alreadyThere(file: string): LifeboatError {
  return new LifeboatError("conflict", `the file ${file} exists already`, {
    hint: "choose another one by -o FILE, or add --force",
  });
}
