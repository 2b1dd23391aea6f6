import { randomUUID } from "node:crypto";
import { createServer as createHttpServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { text as textOf } from "node:stream/consumers";
import { type ArmDisks, standInArmDisks, TOO_MANY } from "./armdisks.ts";
import { makeAuthority, makeCertificate } from "./certs.ts";
import { makeDir, removeDir } from "./process.ts";

/** What a stand-in does with every call. */
export type AzureTrouble = "denied" | "unreachable" | "silent" | "throttled";

/** Stand-ins on 127.0.0.1 for what of Azure has no emulator: its identities, Key Vault and Azure Resource Manager. */
export interface Azure extends AsyncDisposable {
  /** What leads Azure's clients, and ours, to them, as in a function. Its NODE_EXTRA_CA_CERTS is for processes to be started. */
  env: Readonly<Record<string, string>>;
  /** The same for the identity of a virtual machine, in place of a function's. */
  machineEnv: Readonly<Record<string, string>>;
  /** PEM of the authority of their certificate. */
  ca: string;
  /** The one vault. */
  vault: string;
  /** Adds a version to a secret of the vault and gives its name. */
  setSecret(name: string, value: string): string;
  /** The base64 of the kubeconfigs that AKS clusters have, by their path "/subscriptions/…". */
  clusters: Map<string, string>;
  /** What the manager tells of AKS clusters, by their path; of a list it gives two at a time. */
  managedClusters: Map<string, object>;
  /** Microsoft.Compute's disks and snapshots. */
  disks: ArmDisks;
  /** The tokens given so far, with what they were asked for, and in whose way. */
  tokens: readonly { token: string; resource: string; clientId: string | null; by: "function" | "machine" }[];
  /** What goes wrong with Key Vault and the manager. */
  trouble: AzureTrouble | undefined;
  /** What goes wrong with the identities. */
  identityTrouble: AzureTrouble | undefined;
  /** What Key Vault answers with success in place of a secret. */
  garbled: string | undefined;
  stop(): Promise<void>;
}

interface Answer {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
}

const TENANT = "11111111-1111-1111-1111-111111111111";
const VAULTS = "https://vault.azure.net";
const TOKEN_SECONDS = 24 * 3600;

/** Starts them. Each API takes only tokens that the identity gave for it; Key Vault tells by a challenge which those are. */
export async function startAzure(): Promise<Azure> {
  const dir = makeDir("azure");
  const authority = await makeAuthority(dir);
  const { cert, key } = await makeCertificate(dir, "azure", { commonName: "azure", server: true });
  const secrets = new Map<string, { version: string; value: string }[]>();
  const tokens: Azure["tokens"][number][] = [];
  const header = randomUUID();

  const identity = ({ url = "", headers }: IncomingMessage): Answer => {
    const { pathname, searchParams } = new URL(url, "http://identity");
    const by = pathname === "/function" ? "function" : "machine";
    const proven = by === "function" ? headers["x-identity-header"] === header : String(headers.metadata) === "true";
    const resource = searchParams.get("resource");
    if (!proven || !resource) return { status: 400, body: { error: "invalid_request" } };
    if (azure.identityTrouble === "denied") {
      return { status: 400, body: { error: "invalid_request", error_description: "Identity not found" } };
    }
    const clientId = searchParams.get("client_id");
    const token = makeToken(resource);
    tokens.push({ token, resource, clientId, by });
    const expires = Math.floor(Date.now() / 1000) + TOKEN_SECONDS;
    const times = { expires_in: String(TOKEN_SECONDS), expires_on: String(expires) };
    return { status: 200, body: { access_token: token, ...times, resource, token_type: "Bearer" } };
  };

  const mayNot = (request: IncomingMessage, resource: string): Answer | undefined => {
    const given = request.headers.authorization?.replace(/^Bearer /, "");
    const isOf = (wanted: string) => wanted.replace(/\/+$/, "") === resource;
    if (tokens.some(({ token, resource: asked }) => token === given && isOf(asked))) return undefined;
    const challenge = `Bearer authorization="https://login.microsoftonline.com/${TENANT}", resource="${resource}"`;
    return { ...refusal(401, "Unauthorized", "no valid token"), headers: { "www-authenticate": challenge } };
  };

  const vault = (request: IncomingMessage, name: string, version: string): Answer => {
    const unauthorized = mayNot(request, VAULTS);
    if (unauthorized) return unauthorized;
    if (azure.trouble === "denied") return refusal(403, "Forbidden", "The user has no secrets get permission.");
    if (azure.garbled !== undefined) return { status: 200, body: azure.garbled };
    const versions = secrets.get(name.toLowerCase()) ?? [];
    const found = version ? versions.find((one) => one.version === version) : versions.at(-1);
    if (!found) return refusal(404, "SecretNotFound", `A secret with (name/id) ${name} was not found.`);
    const id = `${origin}/secrets/${name}/${found.version}`;
    return { status: 200, body: { value: found.value, id, attributes: { enabled: true } } };
  };

  const manager = (request: IncomingMessage, answer: () => Answer): Answer => {
    const unauthorized = mayNot(request, origin);
    if (unauthorized) return unauthorized;
    if (azure.trouble === "denied") return refusal(403, "AuthorizationFailed", "The client is not authorized.");
    return azure.trouble === "throttled" ? TOO_MANY : answer();
  };

  const kubeconfigOf = (cluster: string): Answer => {
    const value = azure.clusters.get(cluster);
    if (value === undefined) return refusal(404, "ResourceNotFound", `The Resource '${cluster}' was not found.`);
    return { status: 200, body: { kubeconfigs: [{ name: "clusterUser", value }] } };
  };

  const managedClusters = (url: URL): Answer => {
    const all = [...azure.managedClusters].map(([id, cluster]) => ({ id, name: id.split("/").at(-1), ...cluster }));
    const path = url.pathname.toLowerCase();
    if (!path.endsWith("/managedclusters")) {
      const one = all.find(({ id }) => id.toLowerCase() === path);
      return one
        ? { status: 200, body: one }
        : refusal(404, "ResourceNotFound", `The Resource '${path}' was not found.`);
    }
    const subscription = `${path.split("/providers/")[0]}/`;
    const listed = all.filter(({ id }) => id.toLowerCase().startsWith(subscription));
    const from = Number(url.searchParams.get("$skipToken"));
    const next = new URL(url);
    next.searchParams.set("$skipToken", String(from + 2));
    const nextLink = from + 2 < listed.length ? { nextLink: next.href } : {};
    return { status: 200, body: { value: listed.slice(from, from + 2), ...nextLink } };
  };

  const api = (request: IncomingMessage, body: string): Answer => {
    const url = new URL(request.url ?? "", origin);
    const { pathname } = url;
    const [, secret, version = ""] = /^\/secrets\/([^/]+)\/([^/]*)$/.exec(pathname) ?? [];
    if (secret && request.method === "GET") return vault(request, secret, version);
    const cluster = /^(\/subscriptions\/.*)\/listClusterUserCredential$/.exec(pathname)?.[1];
    if (cluster && request.method === "POST") return manager(request, () => kubeconfigOf(cluster));
    if (pathname.includes("/Microsoft.ContainerService/managedClusters") && request.method === "GET")
      return manager(request, () => managedClusters(url));
    if (azure.disks.serves(pathname)) {
      return manager(request, () => azure.disks.answer(request.method ?? "", url, body));
    }
    return refusal(400, "BadParameter", "no such call");
  };

  const identities = createHttpServer(listener(identity, () => azure.identityTrouble));
  const apis = createHttpsServer(
    { cert, key },
    listener(api, () => azure.trouble),
  );
  const identityUrl = `http://127.0.0.1:${await listen(identities)}`;
  const origin = `https://127.0.0.1:${await listen(apis)}`;
  const stop = async () => {
    await Promise.all([close(identities), close(apis)]);
    await removeDir(dir);
  };
  const shared = {
    LIFEBOAT_KEY_VAULT_URL: origin,
    LIFEBOAT_AZURE_RESOURCE_MANAGER: origin,
    NODE_EXTRA_CA_CERTS: authority.certPath,
  };

  const azure: Azure = {
    env: { ...shared, IDENTITY_ENDPOINT: `${identityUrl}/function`, IDENTITY_HEADER: header },
    machineEnv: { ...shared, AZURE_POD_IDENTITY_AUTHORITY_HOST: identityUrl },
    ca: authority.cert,
    vault: "rig-vault",
    setSecret: (name, value) => {
      const version = randomUUID().replaceAll("-", "");
      secrets.set(name.toLowerCase(), [...(secrets.get(name.toLowerCase()) ?? []), { version, value }]);
      return version;
    },
    clusters: new Map(),
    managedClusters: new Map(),
    disks: standInArmDisks(),
    tokens,
    trouble: undefined,
    identityTrouble: undefined,
    garbled: undefined,
    stop,
    [Symbol.asyncDispose]: stop,
  };
  return azure;
}

/** A token of the form that Entra gives, signed by nobody: azurite too looks only at what it says. */
function makeToken(resource: string): string {
  const now = Math.floor(Date.now() / 1000);
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const issuer = `https://sts.windows.net/${TENANT}/`;
  const claims = { aud: resource, iss: issuer, iat: now, nbf: now - 60, exp: now + TOKEN_SECONDS, uti: randomUUID() };
  return `${part({ alg: "RS256", typ: "JWT" })}.${part(claims)}.${Buffer.from("unsigned").toString("base64url")}`;
}

const refusal = (status: number, code: string, message: string): Answer => ({
  status,
  body: { error: { code, message } },
});

function listener(
  answer: (request: IncomingMessage, body: string) => Answer,
  trouble: () => AzureTrouble | undefined,
): RequestListener {
  return async (request, response) => {
    const given = await textOf(request);
    if (trouble() === "silent") return;
    if (trouble() === "unreachable") return void request.socket.destroy();
    const { status, body, headers } = answer(request, given);
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(typeof body === "string" ? body : JSON.stringify(body));
  };
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

async function close(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}
