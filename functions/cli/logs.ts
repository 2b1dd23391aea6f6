import { readLog } from "../../core/index.ts";
import type { Invocation } from "./options.ts";
import { print } from "./output.ts";
import { openBucket } from "./session.ts";
import { readMade } from "./underway.ts";

/** `lifeboat backup logs NAME` */
export const backupLogs = (invocation: Invocation) => printLog("backup", invocation);

/** `lifeboat restore logs NAME` */
export const restoreLogs = (invocation: Invocation) => printLog("restore", invocation);

async function printLog(kind: "backup" | "restore", { args, options, signal }: Invocation): Promise<undefined> {
  const bucket = await openBucket(options);
  const name = args[0] as string;
  print(await readMade({ bucket, kind, name, signal }, () => readLog(bucket, `${kind}s`, name, signal)));
}
