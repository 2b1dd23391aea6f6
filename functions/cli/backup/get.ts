import { listBackups, readBackup, readBackupDocument } from "../../../core/index.ts";
import { getDocuments } from "../listing.ts";
import type { Invocation } from "../options.ts";
import { countText, phaseText, printable, timeText, untilText } from "../output.ts";

/** `lifeboat backup get [NAME]`: Velero's columns and two of ours. */
export function getBackups(invocation: Invocation): Promise<undefined> {
  return getDocuments(invocation, {
    kind: "backup",
    read: readBackup,
    list: listBackups,
    document: readBackupDocument,
    columns: {
      NAME: ({ name }) => printable(name),
      STATUS: ({ phase }) => phaseText(phase),
      ERRORS: ({ errors }) => countText(errors.length),
      WARNINGS: ({ warnings }) => countText(warnings.length),
      CREATED: ({ startTimestamp }) => timeText(startTimestamp),
      EXPIRES: ({ expiration }) => untilText(expiration),
      ITEMS: ({ items }) => countText(items),
      CONSISTENCY: ({ consistency }) => consistency?.grade ?? "-",
    },
  });
}
