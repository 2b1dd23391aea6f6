import {
  type CopyWish,
  deleteBackup,
  ERROR_KINDS,
  isLifeboatError,
  restoresUnderWay,
  thisProcess,
} from "../../../core/index.ts";
import { consents } from "../consent.ts";
import { printFailure } from "../failure.ts";
import type { Invocation } from "../options.ts";
import { plural, print, printable, say } from "../output.ts";
import { openBucket, removalOf } from "../session.ts";

/** `lifeboat backup delete NAME...`: tells of restores under way, goes on past those that can't be deleted, and ends with the last one's exit code. */
export async function deleteBackups({
  args,
  options,
  signal,
}: Invocation<{ confirm?: boolean; keepVolumeData?: boolean }>): Promise<number> {
  const names = [...new Set(args[0] as string[])];
  const bucket = await openBucket(options);
  for (const [name, who] of await restoresUnderWay(bucket, signal))
    say(`Restore ${printable(name)} is under way here${who}: if it reads what is deleted, it ends half-way`);
  const asked = {
    question: `Delete ${names.join(", ")} from ${bucket.location} for good?`,
    wanted: `deleting ${plural(names.length, "backup")}`,
    flag: "--confirm",
  };
  if (!options.confirm && !(await consents(asked, signal))) {
    say("Nothing was deleted.");
    return 0;
  }
  let code = 0;
  await using removal = removalOf(options, bucket);
  const volumes: CopyWish = options.keepVolumeData ? "keep" : { means: removal.means };
  const tell = (message: string) => say(printable(message));
  for (const name of names) {
    try {
      await deleteBackup(bucket, name, signal, { volumes, tell, by: thisProcess() });
      print(`Deleted backup ${name}`);
    } catch (error) {
      if (!isLifeboatError(error)) throw error;
      printFailure(error.message, error);
      code = ERROR_KINDS[error.kind].exit;
    }
  }
  return code;
}
