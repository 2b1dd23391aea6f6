import { createService } from "../../core/index.ts";
import { directoryBucket } from "../../functions/cli/bucket.ts";
import { keepHeapSmall } from "../../functions/memory.ts";

/** A backup that a function makes, or a slice of it. */
export interface FunctionWish {
  directory: string;
  kubeconfig: string;
  name: string;
  deadlineMs: number;
}

// A process of its own, as a function is one: prints how its job has ended.
if (import.meta.main) {
  keepHeapSmall();
  const { directory, kubeconfig, name, deadlineMs } = JSON.parse(process.argv[2]!) as FunctionWish;
  const service = createService(
    {
      buckets: { "file:": async () => directoryBucket(directory) },
      ...{ secrets: {}, clusters: {}, jobs: async () => ({ enqueue: async () => {} }) },
    },
    {
      env: { LIFEBOAT_LOCATION: "file:///anywhere", LIFEBOAT_CLUSTERS_A_KUBECONFIG: `file:${kubeconfig}` },
      listen: () => {},
    },
  );
  const ended = await service.run({ kind: "backup", name }, { deadline: new Date(Date.now() + deadlineMs) });
  process.stdout.write(JSON.stringify(ended));
}
