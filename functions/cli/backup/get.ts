import { listBackups, readBackup, readBackupDocument, readPins } from "../../../core/index.ts";
import { getDocuments } from "../listing.ts";
import type { Invocation } from "../options.ts";
import { countText, phaseText, printable, timeText, untilText } from "../output.ts";

/** `lifeboat backup get [NAME]`: Velero's columns and three of ours. */
export function getBackups(invocation: Invocation): Promise<undefined> {
  let pins: ReturnType<typeof readPins> | undefined;
  return getDocuments(invocation, {
    kind: "backup",
    read: readBackup,
    list: listBackups,
    document: async (bucket, record, signal) => {
      pins ??= readPins(bucket, signal);
      return readBackupDocument(bucket, record, signal, await pins);
    },
    columns: {
      NAME: ({ name }) => printable(name),
      STATUS: ({ phase }) => phaseText(phase),
      ERRORS: ({ errors }) => countText(errors.length),
      WARNINGS: ({ warnings }) => countText(warnings.length),
      CREATED: ({ startTimestamp }) => timeText(startTimestamp),
      EXPIRES: ({ expiration, schedule }) => (schedule && !expiration ? "-" : untilText(expiration)),
      PINNED: ({ pinned }) => (pinned ? "yes" : "-"),
      ITEMS: ({ items }) => countText(items),
      CONSISTENCY: ({ consistency }) => consistency?.grade ?? "-",
    },
  });
}
