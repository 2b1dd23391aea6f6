import { listBackups, readBackup, readBackupDocument, readMarks } from "../../../core/index.ts";
import { getDocuments } from "../listing.ts";
import type { Invocation } from "../options.ts";
import { ageText, countText, phaseText, printable, timeText, untilText } from "../output.ts";

/** `lifeboat backup get [NAME]`: Velero's columns and four of ours. */
export function getBackups(invocation: Invocation): Promise<undefined> {
  let marks: ReturnType<typeof readMarks> | undefined;
  return getDocuments(invocation, {
    kind: "backup",
    read: readBackup,
    list: listBackups,
    document: async (bucket, record, signal) => {
      marks ??= readMarks(bucket, signal);
      return readBackupDocument(bucket, record, signal, await marks);
    },
    columns: {
      NAME: ({ name }) => printable(name),
      STATUS: ({ phase }) => phaseText(phase),
      ERRORS: ({ errors }) => countText(errors.length),
      WARNINGS: ({ warnings }) => countText(warnings.length),
      CREATED: ({ startTimestamp }) => timeText(startTimestamp),
      EXPIRES: ({ expiration, schedule }) => (schedule && !expiration ? "-" : untilText(expiration)),
      VERIFIED: ({ verified }) => (verified ? `${verified.ok ? "" : "damaged, "}${ageText(verified.at)}` : "-"),
      PINNED: ({ pinned }) => (pinned ? "yes" : "-"),
      ITEMS: ({ items }) => countText(items),
      CONSISTENCY: ({ consistency }) => consistency?.grade ?? "-",
    },
  });
}
