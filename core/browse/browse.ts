import { type Listening, listen } from "../apiserver/listen.ts";
import { answer, type Backend, notAllowed } from "../apiserver/routes.ts";
import type { Bucket } from "../ports.ts";
import { openNamed, type Reading } from "../reading/open.ts";
import { keptReads } from "./keptreads.ts";
import { backupObjects } from "./objects.ts";
import { answerReadOnly, READING_VERBS } from "./readonly.ts";
import { surveyHoldings } from "./served.ts";

/** A backup that is served. */
export interface Browsing extends Listening {
  /** When the backup was begun. */
  of: Date;
}

/**
 * Serves a backup as a read-only Kubernetes API server on 127.0.0.1, below a path that only its kubeconfig tells. Ages in
 * tables are those at the time of the backup. The backup's index is read at once, bodies when they are asked for. Throws
 * as `openNamed`, and `invalid` where the port can't be had.
 */
export async function browseBackup(
  bucket: Bucket,
  name: string,
  { port, ...reading }: Reading & { port?: number } = {},
): Promise<Browsing> {
  const opened = await openNamed(keptReads(bucket), name, reading);
  const { archive, record } = opened;
  try {
    const holdings = await surveyHoldings(archive);
    const { metadata, status } = record;
    const { startTimestamp = metadata.creationTimestamp, completionTimestamp = startTimestamp } = status ?? {};
    const [of, complete] = [startTimestamp, completionTimestamp].map((time) => new Date(String(time)));
    const what = `backup "${name}" of ${of!.toISOString().slice(0, 19).replace("T", " ")} UTC`;
    const backend: Backend = {
      served: holdings.served,
      verbs: READING_VERBS,
      objects: backupObjects(opened, holdings),
      gitVersion: metadata.annotations?.["velero.io/source-cluster-k8s-gitversion"] ?? "v1.36.3",
      now: () => complete!,
      other: () => {
        throw notAllowed();
      },
    };
    const listening = await listen(async (call) => answerReadOnly(call, what) ?? (await answer(backend, call)), {
      ...{ port, secret: true, name: `lifeboat-${name}` },
    });
    return {
      ...listening,
      of: of!,
      async stop() {
        await listening.stop();
        await archive.close();
      },
    };
  } catch (error) {
    await archive.close();
    throw error;
  }
}
