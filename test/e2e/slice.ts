import { createService, type JobStatus } from "../../core/index.ts";
import { directoryBucket } from "../../functions/cli/bucket.ts";
import { keepHeapSmall } from "../../functions/memory.ts";

/** The job of a slice, where it works, and how long it may take, in milliseconds. */
export interface SliceWish {
  directory: string;
  kubeconfig: string;
  job: { kind: "backup" | "restore"; name: string };
  /** None where it isn't cut. */
  deadlineMs?: number;
  /** How long a lock is valid that nobody renews: 2,500 ms where it is not said. */
  lockMs?: number;
}

/**
 * Runs a job as a function does that is stopped at a deadline. Gives how it ended: with what does the rest, if there is some; `enqueue`
 * gets that, as the platform's queue does.
 */
export function runSlice(
  { directory, kubeconfig, job, deadlineMs, lockMs = 2_500 }: SliceWish,
  enqueue: (job: unknown) => void = () => {},
): Promise<JobStatus> {
  const service = createService(
    {
      buckets: { "file:": async () => directoryBucket(directory) },
      secrets: {},
      clusters: {},
      jobs: async () => ({ enqueue: async (job) => enqueue(job) }),
    },
    {
      env: { LIFEBOAT_LOCATION: "file:///anywhere", LIFEBOAT_CLUSTERS_A_KUBECONFIG: `file:${kubeconfig}` },
      timing: { renew: 500, valid: lockMs, poll: 50 },
      listen: (line) => process.send?.(line),
    },
  );
  return service.run(job, { deadline: deadlineMs === undefined ? undefined : new Date(Date.now() + deadlineMs) });
}

if (import.meta.main) {
  keepHeapSmall();
  process.stdout.write(JSON.stringify(await runSlice(JSON.parse(process.argv[2]!))));
}
