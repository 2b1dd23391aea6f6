import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { BlobServiceClient } from "@azure/storage-blob";
import { QueueServiceClient } from "@azure/storage-queue";
import { makeAuthority, makeCertificate } from "./certs.ts";
import { npmTool } from "./npmtool.ts";
import { freePorts, makeDir, removeDir, startServer, until } from "./process.ts";

/** A storage account's Blob and Queue services on 127.0.0.1, with one empty container and one empty queue. */
export interface Azurite extends AsyncDisposable {
  account: string;
  key: string;
  /** The URLs of the services, which end in the account. */
  blob: string;
  queue: string;
  container: string;
  queueName: string;
  /** The account's connection string as the environment variables of a function and of the az command. */
  env: Readonly<Record<string, string>>;
  /** PEM of the authority, where the services speak TLS. */
  ca?: string;
  /** The location of a prefix in the container, as lifeboat takes it. */
  location(prefix: string): string;
  stop(): Promise<void>;
}

/**
 * Starts azurite, which keeps all in memory and checks signatures. With `tls` it speaks https and also takes bearer tokens:
 * JWTs, of which it checks the times, issuer and audience.
 */
export async function startAzurite({
  tls = false,
  container = "backups",
  queue = "lifeboat-jobs",
} = {}): Promise<Azurite> {
  const dir = makeDir("azurite");
  const [blobPort = 0, queuePort = 0, tablePort = 0] = await freePorts(3);
  const account = "lifeboatrig";
  const key = randomBytes(64).toString("base64");
  const tlsArgs: string[] = [];
  let ca: string | undefined;
  if (tls) {
    ca = (await makeAuthority(dir)).cert;
    const { certPath, keyPath } = await makeCertificate(dir, "azurite", { commonName: "azurite", server: true });
    tlsArgs.push("--cert", certPath, "--key", keyPath, "--oauth", "basic");
  }
  const server = startServer(
    dir,
    "azurite",
    process.execPath,
    [
      join(await npmTool("azurite"), "node_modules/azurite/dist/src/azurite.js"),
      ...["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"],
      ...["--blobHost", "127.0.0.1", "--queueHost", "127.0.0.1", "--tableHost", "127.0.0.1"],
      ...["--blobPort", String(blobPort), "--queuePort", String(queuePort), "--tablePort", String(tablePort)],
      ...tlsArgs,
    ],
    { AZURITE_ACCOUNTS: `${account}:${key}` },
  );
  const stop = async () => {
    await server.stop();
    await removeDir(dir);
  };
  const scheme = tls ? "https" : "http";
  const blob = `${scheme}://127.0.0.1:${blobPort}/${account}`;
  const queueUrl = `${scheme}://127.0.0.1:${queuePort}/${account}`;
  const connection = [
    `DefaultEndpointsProtocol=${scheme}`,
    `AccountName=${account}`,
    `AccountKey=${key}`,
    `BlobEndpoint=${blob}`,
    `QueueEndpoint=${queueUrl}`,
  ].join(";");
  try {
    const options = { retryOptions: { maxTries: 1 }, tlsOptions: { ca } };
    const blobs = BlobServiceClient.fromConnectionString(connection, options);
    const queues = QueueServiceClient.fromConnectionString(connection, options);
    const made = async () => {
      await blobs.getContainerClient(container).createIfNotExists();
      await queues.getQueueClient(queue).createIfNotExists();
      return true;
    };
    await until("azurite", made, { servers: [server] });
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    account,
    key,
    blob,
    queue: queueUrl,
    container,
    queueName: queue,
    env: { AZURE_STORAGE_CONNECTION_STRING: connection, AzureWebJobsStorage: connection },
    ca,
    location: (prefix) => `azblob://${container}/${prefix}?${new URLSearchParams({ account, endpoint: blob })}`,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
