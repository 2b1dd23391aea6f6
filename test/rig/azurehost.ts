import { chmod } from "node:fs/promises";
import { createServer as createHttpServer, request } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, connect } from "node:net";
import {
  AccountSASPermissions,
  generateAccountSASQueryParameters,
  StorageSharedKeyCredential,
} from "@azure/storage-blob";
import type { Azurite } from "./azurite.ts";
import { makeAuthority, makeCertificate } from "./certs.ts";
import { makeDir, removeDir } from "./process.ts";

/** An account of azurite under a host name of its own, as clients want it that take no URL of the service. */
export interface AzureHost extends AsyncDisposable {
  /** `https://ACCOUNT.blob.rig.test`, which is only to be had through the proxy. */
  endpoint: string;
  /** An HTTP proxy that leads there, and nowhere else. */
  proxy: string;
  /** A shared access signature of the account, for all that a client does to blobs. */
  sas: string;
  /** A folder with the certificate of its authority, and that file. */
  dir: string;
  ca: string;
}

/** Puts TLS and a proxy in front of an azurite that speaks plain HTTP; `blob` is the URL of its Blob service. */
export async function startAzureHost({ account, key: accountKey, blob }: Azurite): Promise<AzureHost> {
  const dir = makeDir("azure-host");
  await chmod(dir, 0o755);
  const host = `${account}.blob.rig.test`;
  const authority = await makeAuthority(dir);
  const { cert, key } = await makeCertificate(dir, "host", { commonName: host, server: true, names: [host] });
  const { hostname, port } = new URL(blob);
  const front = createHttpsServer({ cert, key }, (incoming, outgoing) => {
    const { method, url: path } = incoming;
    // Of a client that says no tier azurite takes nothing. What is signed in headers can't be mended so, but SAS are.
    const headers = Object.fromEntries(Object.entries(incoming.headers).filter(([, value]) => value !== ""));
    const passed = request({ host: hostname, port, method, path, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    passed.on("error", () => outgoing.destroy());
    outgoing.on("close", () => passed.destroy());
    incoming.pipe(passed);
  });
  const proxy = createHttpServer((_, answer) => answer.writeHead(405).end());
  proxy.on("connect", ({ url }, client) => {
    if (url !== `${host}:443`) return client.end("HTTP/1.1 403 Forbidden\r\n\r\n");
    const upstream = connect((front.address() as AddressInfo).port, "127.0.0.1");
    client.write("HTTP/1.1 200 OK\r\n\r\n");
    client.pipe(upstream).pipe(client);
    client.on("error", () => upstream.destroy());
    upstream.on("error", () => client.destroy());
    client.on("close", () => upstream.destroy());
    tunnels.add(client);
  });
  const tunnels = new Set<{ destroy(): void }>();
  for (const server of [front, proxy]) await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    endpoint: `https://${host}`,
    proxy: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    sas: generateAccountSASQueryParameters(
      {
        expiresOn: new Date(Date.now() + 3_600_000),
        permissions: AccountSASPermissions.parse("rwdlac"),
        resourceTypes: "sco",
        services: "b",
      },
      new StorageSharedKeyCredential(account, accountKey),
    ).toString(),
    dir,
    ca: authority.certPath,
    [Symbol.asyncDispose]: async () => {
      for (const tunnel of tunnels) tunnel.destroy();
      front.closeAllConnections();
      for (const server of [front, proxy]) await new Promise((resolve) => server.close(resolve));
      await removeDir(dir);
    },
  };
}
