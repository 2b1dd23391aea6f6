import { createService, type Ended } from "../../core/index.ts";
import { directoryBucket } from "../../functions/cli/bucket.ts";

/** What a slice of a backup is of, and how long it may take, in milliseconds. */
export interface SliceWish {
  directory: string;
  kubeconfig: string;
  name: string;
  deadlineMs: number;
}

/** Runs a backup's job as a function does that is stopped at a deadline. Gives how it ended: with what does the rest, if there is some. */
export function runSlice({ directory, kubeconfig, name, deadlineMs }: SliceWish): Promise<Ended> {
  const service = createService(
    {
      buckets: { "file:": async () => directoryBucket(directory) },
      secrets: {},
      clusters: {},
      jobs: async () => ({ enqueue: async () => {} }),
    },
    {
      env: { LIFEBOAT_LOCATION: "file:///anywhere", LIFEBOAT_CLUSTERS_A_KUBECONFIG: `file:${kubeconfig}` },
      timing: { renew: 500, valid: 1_500, poll: 50 },
      listen: (line) => process.send?.(line),
    },
  );
  return service.run({ kind: "backup", name }, { deadline: new Date(Date.now() + deadlineMs) });
}

if (import.meta.main) process.stdout.write(JSON.stringify(await runSlice(JSON.parse(process.argv[2]!))));
