import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { QueueServiceClient } from "@azure/storage-queue";
import { storageQueueJobs } from "../../functions/azure/jobs.ts";
import { type Azurite, startAzurite } from "../rig/azurite.ts";
import { type Gate, startGate } from "../rig/gate.ts";
import { requireOrSkip } from "../rig/require.ts";
import { rejects } from "./bucket.ts";
import { jobsConformance } from "./jobs.ts";
import { assertNotQuoted } from "./troubles.ts";

const denial = {
  status: 403,
  headers: { "content-type": "application/xml", "x-ms-error-code": "AuthorizationPermissionMismatch" },
  body: "<Error><Code>AuthorizationPermissionMismatch</Code><Message>This request is not authorized.</Message></Error>",
};

describe("storage queue", { skip: requireOrSkip("rig", ["npm:azurite"]) }, () => {
  let azurite: Azurite;
  let gate: Gate;
  before(async () => {
    azurite = await startAzurite();
    gate = await startGate(azurite.queue, denial);
    Object.assign(process.env, azurite.env);
  });
  after(async () => {
    await gate?.stop();
    await azurite?.stop();
  });

  jobsConformance(
    "storage queue on azurite",
    async () => {
      const { account } = azurite;
      const endpoint = `http://127.0.0.1:${gate.port}/${account}`;
      const client = QueueServiceClient.fromConnectionString(azurite.env.AzureWebJobsStorage ?? "");
      const queue = client.getQueueClient(azurite.queueName);
      const messages: { job: unknown; at: Date }[] = [];
      return {
        jobs: storageQueueJobs({ account, queue: azurite.queueName, endpoint }),
        nowhere: storageQueueJobs({ account, queue: "no-such-queue", endpoint }),
        received: async () => {
          const { receivedMessageItems } = await queue.receiveMessages({ numberOfMessages: 32 });
          for (const { messageId, popReceipt, messageText } of receivedMessageItems) {
            const job: unknown = JSON.parse(Buffer.from(messageText, "base64").toString());
            messages.push({ job, at: new Date() });
            await queue.deleteMessage(messageId, popReceipt);
          }
          return messages;
        },
        inTrouble: async (trouble, run) => {
          gate.trouble = trouble;
          await run().finally(() => {
            gate.trouble = undefined;
          });
        },
      };
    },
    { largest: 48 * 1024 },
  );

  test("the account is that of AzureWebJobsStorage where none is named", async () => {
    const jobs = storageQueueJobs({ account: "", queue: azurite.queueName });
    await jobs.enqueue({ kind: "backup", name: "by-the-environment" });
  });

  test("a delay that Azure doesn't take is invalid", async () => {
    const jobs = storageQueueJobs({ account: azurite.account, queue: azurite.queueName });
    await rejects("invalid", jobs.enqueue({ kind: "backup" }, { after: 8 * 24 * 3600 }));
  });

  test("a wrong key is denied, and not quoted", async (t) => {
    t.after(() => Object.assign(process.env, azurite.env));
    const key = Buffer.from("a wrong key").toString("base64");
    process.env.AzureWebJobsStorage = `AccountName=${azurite.account};AccountKey=${key};QueueEndpoint=${azurite.queue}`;
    const jobs = storageQueueJobs({ account: "", queue: azurite.queueName });
    const error = await rejects("denied", jobs.enqueue({ kind: "backup" }));
    assert.match(error.hint ?? "", /AZURE_STORAGE_KEY/);
    assertNotQuoted(error, key);
  });
});
