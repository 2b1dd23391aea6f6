import { readLog } from "../../core/index.ts";
import type { Invocation } from "./options.ts";
import { print } from "./output.ts";
import { openBucket } from "./session.ts";

/** `lifeboat backup logs NAME` */
export const backupLogs = (invocation: Invocation) => printLog("backups", invocation);

/** `lifeboat restore logs NAME` */
export const restoreLogs = (invocation: Invocation) => printLog("restores", invocation);

async function printLog(kind: "backups" | "restores", { args, options, signal }: Invocation): Promise<undefined> {
  const bucket = await openBucket(options);
  print(await readLog(bucket, kind, args[0] as string, signal));
}
