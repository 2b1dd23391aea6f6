import { listRestores, readRestore, readRestoreDocument } from "../../../core/index.ts";
import { getDocuments } from "../listing.ts";
import type { Invocation } from "../options.ts";
import { countText, phaseText, printable, timeText } from "../output.ts";
import { countsText } from "./counts.ts";

/** `lifeboat restore get [NAME]` */
export function getRestores(invocation: Invocation): Promise<undefined> {
  return getDocuments(invocation, {
    kind: "restore",
    read: readRestore,
    list: listRestores,
    document: readRestoreDocument,
    columns: {
      NAME: ({ name }) => printable(name),
      STATUS: ({ phase }) => phaseText(phase),
      BACKUP: ({ backup }) => printable(backup ?? "<none>"),
      STARTED: ({ startTimestamp }) => timeText(startTimestamp),
      ERRORS: ({ errors }) => countText(errors.length),
      WARNINGS: ({ warnings }) => countText(warnings.length),
      OBJECTS: ({ counts }) => countsText(counts),
    },
  });
}
