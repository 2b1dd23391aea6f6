import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Authenticator } from "@kubernetes/client-node/dist/auth.js";
import type { User } from "@kubernetes/client-node/dist/config_types.js";
import { LifeboatError, messageOf } from "../errors.ts";
import { type ExecPlugin, runExecPlugin, withoutTokens } from "./exec.ts";

/** What proves to the API server who we are. */
export interface Credentials {
  /** `Authorization` and impersonation headers. */
  headers: Record<string, string | string[]>;
  /** The client certificate and its key, PEM. */
  cert?: Buffer | string;
  key?: Buffer | string;
  /** When they must be obtained anew at the latest. */
  expires?: Date;
  /** Where they come from gives others before they end: a program, a provider, a file that something keeps fresh. */
  renewed?: boolean;
}

/** What credentials tell of themselves; nothing of it is secret. */
export interface CredentialFacts {
  means: "token" | "password" | "certificate" | "none";
  /** When they end, where they say so: a JWT's `exp`, a certificate's notAfter. */
  ends?: Date;
  /** As of `Credentials`. */
  renewed: boolean;
}

/** Obtains what goes into `Authorization`, and when that ends. */
export type Authorize = (signal: AbortSignal) => Promise<Credentials>;

/** A user of a kubeconfig as client-node reads it, with what that leaves out. */
export interface KubeconfigUser extends User {
  /** In place of `exec` and `authProvider`. */
  authorize: Authorize | undefined;
  tokenFile: string | undefined;
  impersonateGroups: string[];
  cert: () => Buffer | undefined;
  key: () => Buffer | undefined;
}

/**
 * The authenticators of client-node, each loaded only for a user that needs it: its `KubeConfig` would import all of
 * them, and all generated API models with them (75 MB and the better part of a second at every start).
 */
const AUTH_PROVIDERS: Record<string, () => Promise<Authenticator>> = {
  oidc: async () => new (await import("@kubernetes/client-node/dist/oidc_auth.js")).OpenIDConnectAuth(),
  gcp: async () => new (await import("@kubernetes/client-node/dist/gcp_auth.js")).GoogleCloudPlatformAuth(),
  azure: async () => new (await import("@kubernetes/client-node/dist/azure_auth.js")).AzureAuth(),
};

/**
 * The user's credentials as of now. Of several ways a user names, the order is kubectl's: token file (read anew
 * each time), token, password, credential program, auth provider; certificates besides. Throws `denied` where a program
 * or provider fails, `invalid` where the kubeconfig is wrong.
 */
export async function authenticateUser(
  user: KubeconfigUser,
  context: { directory: string; cluster: Record<string, unknown> | undefined; signal: AbortSignal },
): Promise<Credentials> {
  const own = { cert: user.cert(), key: user.key() };
  const { headers, ...obtained } = await authorization(user, context);
  return { ...own, ...obtained, headers: { ...headers, ...impersonation(user) } };
}

/** What these credentials tell of themselves. */
export function factsOf({ headers, cert, expires, renewed = false }: Credentials): CredentialFacts {
  const [scheme = "", value = ""] = [headers.Authorization ?? ""].flat()[0]?.split(" ") ?? [];
  if (scheme === "Bearer") return { means: "token", ends: expires ?? endOfToken(value), renewed };
  if (scheme) return { means: "password", renewed };
  if (cert) return { means: "certificate", ends: expires ?? endOfCertificate(cert), renewed };
  return { means: "none", renewed };
}

/** The `exp` of a JWT; undefined for another token. */
function endOfToken(token: string): Date | undefined {
  try {
    const { exp } = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as { exp?: unknown };
    return typeof exp === "number" ? new Date(exp * 1000) : undefined;
  } catch {
    return undefined;
  }
}

function endOfCertificate(pem: Buffer | string): Date | undefined {
  try {
    return new X509Certificate(pem).validToDate;
  } catch {
    return undefined;
  }
}

async function authorization(
  user: KubeconfigUser,
  { directory, cluster, signal }: Parameters<typeof authenticateUser>[1],
): Promise<Credentials> {
  if (user.tokenFile) return { ...bearer(await readToken(resolve(directory, user.tokenFile))), renewed: true };
  if (user.token) return bearer(user.token);
  if (user.username) {
    const pair = Buffer.from(`${user.username}:${user.password ?? ""}`).toString("base64");
    return { headers: { Authorization: `Basic ${pair}` } };
  }
  if (user.authorize) return user.authorize(signal);
  if (user.exec) {
    const { token, ...rest } = await runExecPlugin(user.exec as ExecPlugin, { directory, cluster, signal });
    return { ...rest, ...(token ? bearer(token) : { headers: {} }), renewed: true };
  }
  if (user.authProvider) return { ...(await askProvider(user)), renewed: true };
  return { headers: {} };
}

async function askProvider(user: User): Promise<Credentials> {
  const name = String(user.authProvider.name);
  const load = AUTH_PROVIDERS[name];
  if (!load) {
    throw new LifeboatError("invalid", `the kubeconfig's user "${user.name}" has the unknown auth-provider "${name}"`, {
      hint: `known are ${Object.keys(AUTH_PROVIDERS).join(", ")}; current kubeconfigs name a credential program (exec) instead`,
    });
  }
  const request: { headers: Record<string, string> } = { headers: {} };
  try {
    await (await load()).applyAuthentication(user, request);
  } catch (error) {
    throw new LifeboatError("denied", `the auth-provider "${name}" of user "${user.name}" gave no credentials`, {
      hint: `it said: ${withoutTokens(messageOf(error))}`,
    });
  }
  return { headers: request.headers };
}

async function readToken(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new LifeboatError("invalid", `the kubeconfig's tokenFile can't be read: ${messageOf(error)}`);
  }
}

/** The header for a token; line feeds around it, which files often have, are no part of it. */
export function bearer(token: string): Credentials {
  return { headers: { Authorization: `Bearer ${token.trim()}` } };
}

function impersonation(user: KubeconfigUser): Record<string, string | string[]> {
  if (!user.impersonateUser) return {};
  return { "Impersonate-User": user.impersonateUser, "Impersonate-Group": user.impersonateGroups };
}
