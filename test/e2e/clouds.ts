import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { CreateSecretCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { QueueServiceClient } from "@azure/storage-queue";
import { startAzure } from "../rig/azure.ts";
import { startAzurite } from "../rig/azurite.ts";
import { makeBundle } from "../rig/bundles.ts";
import { startGcp } from "../rig/gcp.ts";
import { startGcs } from "../rig/gcs.ts";
import { startMoto } from "../rig/moto.ts";
import { startAzureHost } from "../rig/runtimes/azure.ts";
import { startCloudFunction } from "../rig/runtimes/gcf.ts";
import { startLambda } from "../rig/runtimes/lambda.ts";
import { begunOnMoto } from "../rig/statemachine.ts";

/** A request to a deployment's HTTP API, and its answer. */
export interface Request {
  method: string;
  path: string;
  body?: string;
}
export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** A cloud's bundle in its own runtime, with its own bucket, secret store and queue. */
export interface Deployment {
  /** Does what the platform's clock does when a slot of the schedule `hourly` is due. Rejects where the run fails. */
  trigger(slot: Date): Promise<void>;
  http(request: Request): Promise<Answer>;
  /** Delivers what was enqueued since the last time; how it failed, where it did. */
  deliver(): Promise<string | undefined>;
  logs(): string;
  stop(): Promise<void>;
}

/** What is deployed: kubeconfigs by the names of their clusters, and of those that are wrong, what they hold instead. */
export type Secrets = Record<string, string>;

const SCHEDULE = { LIFEBOAT_SCHEDULES_HOURLY_SCHEDULE: "0 */1 * * *", LIFEBOAT_SCHEDULES_HOURLY_CLUSTER: "a" };

/** The configuration by environment variables: each secret is a cluster's. */
function configuration(location: string, references: Record<string, string>): Record<string, string> {
  const clusters = Object.entries(references).map(([name, reference]) => [
    `LIFEBOAT_CLUSTERS_${name.toUpperCase()}_KUBECONFIG`,
    reference,
  ]);
  return { LIFEBOAT_LOCATION: location, ...SCHEDULE, ...Object.fromEntries(clusters) };
}

const stopAll = async (parts: (AsyncDisposable | { stop(): Promise<void> } | undefined)[]) => {
  for (const part of parts) await (part && ("stop" in part ? part.stop() : part[Symbol.asyncDispose]()));
};

/** Lambda, S3, Secrets Manager and executions of a state machine. */
export async function deployAws(secrets: Secrets): Promise<Deployment> {
  const [bundle, moto] = await Promise.all([makeBundle("aws"), startMoto()]);
  const begun = await begunOnMoto(moto);
  let delivered = 0;
  const { endpoint, region } = moto;
  const credentials = { accessKeyId: moto.env.AWS_ACCESS_KEY_ID!, secretAccessKey: moto.env.AWS_SECRET_ACCESS_KEY! };
  const s3 = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
  await s3.send(new CreateBucketCommand({ Bucket: "backups" }));
  s3.destroy();
  const manager = new SecretsManagerClient({ endpoint, region, credentials });
  for (const [Name, SecretString] of Object.entries(secrets)) {
    await manager.send(new CreateSecretCommand({ Name: `kubeconfig/${Name}`, SecretString }));
  }
  manager.destroy();
  const references = Object.fromEntries(Object.keys(secrets).map((name) => [name, `aws-sm://kubeconfig/${name}`]));
  const location = `s3://backups/prod?${new URLSearchParams({ region, endpoint, forcePathStyle: "true" })}`;
  const env = { ...moto.env, LIFEBOAT_STATE_MACHINE: begun.machine, ...configuration(location, references) };
  const lambda = await startLambda({ dir: bundle.dir, env });
  const invoke = async (event: unknown) => (await lambda.invoke(event)).error;
  return {
    async trigger(slot) {
      const error = await invoke({ kind: "backup", schedule: "hourly", slot: slot.toISOString() });
      if (error) throw new Error(`${error.errorType}: ${error.errorMessage}`);
    },
    http: (request) => lambda.invokeUrl({ ...request, headers: { "content-type": "application/json" } }),
    async deliver() {
      let error: Awaited<ReturnType<typeof invoke>>;
      const jobs = (await begun.received()).slice(delivered);
      delivered += jobs.length;
      for (const [index, { job }] of jobs.entries())
        error = await invoke({ loops: true, delivery: `execution-${delivered - jobs.length + index}`, job });
      return error && `${error.errorType}: ${error.errorMessage}`;
    },
    logs: lambda.logs,
    stop: () => stopAll([lambda, moto, bundle]),
  };
}

/** Cloud Functions, Cloud Storage, Secret Manager and Cloud Tasks. */
export async function deployGcp(secrets: Secrets): Promise<Deployment> {
  const [bundle, gcs, gcp] = await Promise.all([makeBundle("gcp"), startGcs(), startGcp()]);
  const references: Record<string, string> = {};
  for (const [name, value] of Object.entries(secrets)) {
    gcp.addSecret(`kubeconfig-${name}`, value);
    references[name] = `gcp-sm://projects/${gcp.project}/secrets/kubeconfig-${name}`;
  }
  const front = await startFront();
  const run = await startCloudFunction({
    dir: bundle.dir,
    target: "lifeboat",
    env: {
      ...gcp.env,
      ...configuration(gcs.location("prod"), references),
      LIFEBOAT_TASKS_QUEUE: gcp.queue,
      LIFEBOAT_TASKS_URL: front.url,
      LIFEBOAT_TASKS_SERVICE_ACCOUNT: gcp.email,
    },
  });
  front.target = run.url;
  const send = async ({ method, path, body }: Request, headers: Record<string, string> = {}): Promise<Answer> => {
    const response = await fetch(new URL(path, run.url), {
      method,
      body,
      headers: { "content-type": "application/json", ...headers },
    });
    return { status: response.status, headers: Object.fromEntries(response.headers), body: await response.text() };
  };
  return {
    async trigger(slot) {
      const headers = { "x-cloudscheduler": "true", "x-cloudscheduler-scheduletime": slot.toISOString() };
      const body = JSON.stringify({ kind: "backup", schedule: "hourly" });
      const { status, body: answer } = await send({ method: "POST", path: "/", body }, headers);
      if (status >= 300) throw new Error(answer);
    },
    http: send,
    deliver: () => front.answered(),
    logs: run.logs,
    stop: () => stopAll([run, front, gcp, gcs, bundle]),
  };
}

/** Azure Functions, Blob Storage, Key Vault and a storage queue. */
export async function deployAzure(secrets: Secrets): Promise<Deployment> {
  const [bundle, azurite, azure] = await Promise.all([makeBundle("azure"), startAzurite(), startAzure()]);
  const references: Record<string, string> = {};
  for (const [name, value] of Object.entries(secrets)) {
    azure.setSecret(`kubeconfig-${name}`, value);
    references[name] = `azure-kv://${azure.vault}/kubeconfig-${name}`;
  }
  const env = { ...azurite.env, ...azure.env, ...configuration(azurite.location("prod"), references) };
  const host = await startAzureHost({ dir: bundle.dir, env });
  const queue = QueueServiceClient.fromConnectionString(azurite.env.AzureWebJobsStorage!).getQueueClient(
    azurite.queueName,
  );
  const deliver = async () => {
    let failure: string | undefined;
    for (;;) {
      const { receivedMessageItems } = await queue.receiveMessages({ numberOfMessages: 1 });
      const [message] = receivedMessageItems;
      if (!message) return failure;
      const text = Buffer.from(message.messageText, "base64").toString();
      await host.queue("jobs", text).catch((error) => {
        failure = `${error.name}: ${error.message}`;
      });
      await queue.deleteMessage(message.messageId, message.popReceipt);
    }
  };
  return {
    async trigger(slot) {
      await host.timer("clock", { last: new Date(slot.getTime() - 300_000) });
      const failure = await deliver();
      if (failure) throw new Error(failure);
    },
    http: (request) => host.http({ ...request, headers: { "content-type": "application/json" } }),
    deliver,
    logs: host.logs,
    stop: () => stopAll([host, azure, azurite, bundle]),
  };
}

/**
 * What stands before a function that is yet to be started: it hands on requests, and remembers how they were answered.
 * Every task is done with its first answer, as in a queue whose `maxAttempts` is 1.
 */
async function startFront() {
  const answers: string[] = [];
  const front = { url: "", target: "", answered, stop };
  const server = createServer(async (incoming: IncomingMessage, outgoing) => {
    const { method, url = "/", headers } = incoming;
    const body = await buffer(incoming);
    const passed = { "content-type": headers["content-type"] ?? "", authorization: headers.authorization ?? "" };
    const response = await fetch(new URL(url, front.target), { method, body: new Uint8Array(body), headers: passed });
    const text = await response.text();
    answers.push(response.ok ? "" : text);
    outgoing.writeHead(200).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  front.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;

  /** Waits for a task's answer, and gives it where it is a failure. */
  async function answered(): Promise<string | undefined> {
    for (let waited = 0; answers.length === 0; waited += 50) {
      if (waited > 60_000) throw new Error("no task was sent in a minute");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return answers.splice(0).at(-1) || undefined;
  }
  async function stop() {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  return front;
}
