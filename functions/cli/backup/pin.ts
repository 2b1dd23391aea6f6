import { type Bucket, LifeboatError, MOST_REASON, pinBackup, unpinBackup } from "../../../core/index.ts";
import type { Invocation } from "../options.ts";
import { print } from "../output.ts";
import { openBucket } from "../session.ts";

/** `lifeboat backup pin NAME... [--reason TEXT]` */
export function pinBackups(invocation: Invocation<{ reason?: string }>): Promise<undefined> {
  const { reason } = invocation.options;
  if (reason === "" || (reason?.length ?? 0) > MOST_REASON) {
    throw new LifeboatError("invalid", `--reason has ${reason?.length} characters`, {
      hint: `use 1 to ${MOST_REASON}, or leave it out`,
    });
  }
  return sayAll(invocation, (bucket, name, about) => pinBackup(bucket, name, { ...about, reason }), {
    done: "is pinned",
    stood: "is pinned already",
  });
}

/** `lifeboat backup unpin NAME...` */
export function unpinBackups(invocation: Invocation): Promise<undefined> {
  return sayAll(invocation, unpinBackup, { done: "is no longer pinned", stood: "was not pinned" });
}

async function sayAll(
  { args, options, signal }: Invocation,
  change: (bucket: Bucket, name: string, about: { by?: string; signal: AbortSignal }) => Promise<boolean>,
  { done, stood }: { done: string; stood: string },
): Promise<undefined> {
  const bucket = await openBucket(options);
  for (const name of new Set(args[0] as string[])) {
    const changed = await change(bucket, name, { by: process.env.USER, signal });
    print(`Backup ${name} ${changed ? done : stood}`);
  }
}
