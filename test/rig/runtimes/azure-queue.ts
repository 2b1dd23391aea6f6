import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type DequeuedMessageItem, type QueueClient, QueueServiceClient } from "@azure/storage-queue";
import type { Azurite } from "../azurite.ts";
import type { AzureHost } from "./azure.ts";

/** What takes messages from a queue to a function app. */
export interface QueueListener {
  /** All that were delivered, oldest first. */
  delivered: { job: Record<string, unknown>; dequeueCount: number }[];
  /** How many were worked on at once, at most. */
  most(): number;
  /** The jobs in the poison queue. */
  poison(): Promise<unknown[]>;
  send(job: object): Promise<void>;
  stop(): Promise<void>;
}

/** How long the host has a message for itself, in seconds; it renews that. */
const TAKEN_S = 600;

/**
 * Does what the Functions host's listener does, by the settings of the app's host.json: each instance takes `batchSize`
 * messages at a time; one that failed comes again, or goes to the poison queue when it has come `maxDequeueCount` times.
 * It comes again at once, not after `visibilityTimeout`.
 */
export async function listenToQueue(
  host: AzureHost,
  { azurite, dir, instances = 1 }: { azurite: Azurite; dir: string; instances?: number },
): Promise<QueueListener> {
  const { extensions } = JSON.parse(await readFile(join(dir, "host.json"), "utf8"));
  const { batchSize, maxDequeueCount } = extensions.queues as { batchSize: number; maxDequeueCount: number };
  const { queueName } = azurite;
  const service = QueueServiceClient.fromConnectionString(azurite.env.AzureWebJobsStorage!);
  const queue = service.getQueueClient(queueName);
  const poisoned = service.getQueueClient(`${queueName}-poison`);
  await poisoned.createIfNotExists();
  const delivered: QueueListener["delivered"] = [];
  const decoded = (text: string) => JSON.parse(Buffer.from(text, "base64").toString());
  let running = 0;
  let most = 0;
  let over = false;

  async function deliver({ messageId, popReceipt, messageText, dequeueCount }: DequeuedMessageItem): Promise<void> {
    const job = decoded(messageText);
    delivered.push({ job, dequeueCount });
    most = Math.max(most, ++running);
    try {
      await host.queue("jobs", job, { dequeueCount, id: messageId });
    } catch {
      if (dequeueCount < maxDequeueCount) {
        await queue.updateMessage(messageId, popReceipt, messageText, 0);
        return;
      }
      await poisoned.sendMessage(messageText);
    } finally {
      running--;
    }
    await queue.deleteMessage(messageId, popReceipt);
  }

  async function work(from: QueueClient): Promise<void> {
    while (!over) {
      const options = { numberOfMessages: batchSize, visibilityTimeout: TAKEN_S };
      const { receivedMessageItems } = await from.receiveMessages(options);
      await Promise.all(receivedMessageItems.map(deliver));
      if (receivedMessageItems.length === 0) await sleep(100);
    }
  }

  const working = Promise.all(Array.from({ length: instances }, () => work(queue)));
  return {
    delivered,
    most: () => most,
    async poison() {
      const { peekedMessageItems } = await poisoned.peekMessages({ numberOfMessages: 32 });
      return peekedMessageItems.map(({ messageText }) => decoded(messageText));
    },
    async send(job) {
      await queue.sendMessage(Buffer.from(JSON.stringify(job)).toString("base64"));
    },
    async stop() {
      over = true;
      await working;
    },
  };
}
