import { QueueClient, StorageSharedKeyCredential } from "@azure/storage-queue";
import { type Jobs, LifeboatError } from "../../core/index.ts";
import { azureCredential, storageAccess } from "./access.ts";
import { ask } from "./ask.ts";

const RETRIES = { maxTries: 4, retryDelayInMs: 500, maxRetryDelayInMs: 10_000 };
/** A message has at most 64 KiB, in base64. */
const MOST_BYTES = 48 * 1024;
const NEVER_EXPIRES = -1;

/**
 * Jobs as messages of a storage queue, which the Functions host hands to the queue's handler: base64 of the job's JSON,
 * as the host expects. `after` hides the message so long; Azure allows 7 days. `storageAccess` tells where the account
 * is (`account` may be "" where the environment names it; `endpoint` is the whole URL of the queue service) and its key.
 */
export function storageQueueJobs(env: { account: string; queue: string; endpoint?: string }): Jobs {
  const { url, key } = storageAccess("queue", env);
  const credential = key ? new StorageSharedKeyCredential(key.account, key.value) : azureCredential();
  const queue = new QueueClient(`${url}/${encodeURIComponent(env.queue)}`, credential, { retryOptions: RETRIES });

  return {
    async enqueue(job, { after = 0, signal } = {}) {
      const bytes = Buffer.from(JSON.stringify(job));
      if (bytes.length > MOST_BYTES) {
        throw new LifeboatError("invalid", `the job has ${bytes.length} bytes, a queue's message takes ${MOST_BYTES}`, {
          hint: "name fewer things one by one: use patterns or labels",
        });
      }
      await ask(`put a job into the queue ${env.queue}`, signal, (abortSignal) =>
        queue.sendMessage(bytes.toString("base64"), {
          visibilityTimeout: Math.ceil(after),
          messageTimeToLive: NEVER_EXPIRES,
          abortSignal,
        }),
      );
    },
  };
}
