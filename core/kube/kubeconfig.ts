import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { newClusters, newContexts, newUsers } from "@kubernetes/client-node/dist/config_types.js";
import { LineCounter, parseDocument } from "yaml";
import { LifeboatError, messageOf } from "../errors.ts";
import { yamlFault } from "../yamlfault.ts";
import { type Authorize, authenticateUser, type Credentials } from "./credentials.ts";

/** One cluster and how to prove who we are there: what `connect` needs. Credentials come only out of the function. */
export interface ClusterAccess {
  /** The context's name, for messages. */
  name: string;
  /** The API server's URL without a trailing slash; it may have a path (Rancher). */
  server: string;
  /** The proxy to reach it through: http, https or socks5. It may hold a password: not for messages. */
  proxyUrl?: string;
  tls: {
    /** PEM; without it, the authorities that Node trusts. */
    ca?: Buffer;
    /** The name to ask for and to check, where it is not the server's host. */
    servername?: string;
    /** false for `insecure-skip-tls-verify`. */
    rejectUnauthorized?: boolean;
  };
  /** Obtains the credentials anew: reads files, runs the credential program. Throws `denied` or `invalid`. */
  authenticate(signal: AbortSignal): Promise<Credentials>;
}

/** The cluster and the user of the chosen context, as the kubeconfig has them. */
export interface ChosenContext {
  server: URL;
  cluster: Record<string, unknown>;
  user: Record<string, unknown>;
}

/**
 * Parses a kubeconfig (YAML or JSON) and takes one context of it: `context`, or else its current one. Relative paths
 * in it are resolved against `directory`, for which kubectl takes the file's own. Throws `invalid`; no message quotes
 * the text, which holds credentials. The kubeconfig is trusted, it may name files to read and programs to run, unless
 * there is `vet`: that is asked before any file is read, throws for what must not be, and may give what to do in place of the
 * user's credential program or auth provider.
 */
export function readKubeconfig(
  yaml: string,
  options: { context?: string; directory?: string; vet?: (chosen: ChosenContext) => Authorize | undefined } = {},
): ClusterAccess {
  const directory = options.directory ?? ".";
  const config = parse(yaml);
  const rawContext = chooseContext(config, options.context);
  const context = checked(() => newContexts([rawContext])[0]!, rawContext);
  const rawCluster = find(config, "clusters", context.cluster, context.name);
  const cluster = checked(() => newClusters([rawCluster])[0]!, rawCluster);
  const server = checkedUrl(cluster.server, "server", ["http:", "https:"]);
  const rawUser = context.user ? find(config, "users", context.user, context.name) : { name: "anonymous", user: {} };
  const authorize = options.vet?.({
    server: new URL(server),
    cluster: rawCluster.cluster ?? {},
    user: { ...rawUser.user },
  });
  const user = checked(() => newUsers([rawUser])[0]!, rawUser);
  return {
    name: context.name,
    server,
    proxyUrl: cluster.proxyUrl ? checkedUrl(cluster.proxyUrl, "proxy-url", ["http:", "https:", "socks5:"]) : undefined,
    tls: {
      ca: pem(directory, "certificate-authority", cluster.caFile, cluster.caData),
      servername: cluster.tlsServerName || undefined,
      rejectUnauthorized: !cluster.skipTLSVerify,
    },
    authenticate: (signal) =>
      authenticateUser(
        {
          ...user,
          authorize,
          tokenFile: rawUser.user?.tokenFile,
          impersonateGroups: rawUser.user?.["as-groups"] ?? [],
          cert: () => pem(directory, "client-certificate", user.certFile, user.certData),
          key: () => pem(directory, "client-key", user.keyFile, user.keyData),
        },
        { directory, cluster: rawCluster.cluster, signal },
      ),
  };
}

interface Kubeconfig {
  "current-context"?: unknown;
  contexts?: Named[];
  clusters?: Named[];
  users?: Named[];
}

interface Named {
  name: string;
  cluster?: Record<string, unknown>;
  user?: Record<string, unknown> & { tokenFile?: string; "as-groups"?: string[] };
}

const NOT_ONE = "give the kubeconfig itself, as YAML or JSON: not in base64, not as a field of another document";

function parse(yaml: string): Kubeconfig {
  if (!yaml.trim()) throw broken("it is empty");
  const lines = new LineCounter();
  const document = parseDocument(yaml, { prettyErrors: false, lineCounter: lines, logLevel: "error" });
  if (document.errors.length > 0) {
    const { line, reason } = yamlFault(document.errors, lines);
    throw broken(`line ${line} is not valid YAML: ${reason}`);
  }
  const config = aliasesResolved(document);
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw broken("it is not a mapping", NOT_ONE);
  }
  if (!["kind", "clusters", "contexts", "users"].some((key) => key in config)) {
    throw broken("it has neither clusters nor contexts nor users: it is something else", NOT_ONE);
  }
  return config;
}

/** The library's own error quotes the alias. */
function aliasesResolved(document: { toJS(): unknown }): unknown {
  try {
    return document.toJS();
  } catch {
    throw broken("an alias in it (*name) names no anchor, or there are too many");
  }
}

function chooseContext(config: Kubeconfig, wanted: string | undefined): Named {
  const contexts = list(config, "contexts");
  const hint = contexts.length
    ? `its contexts are: ${contexts.map(({ name }) => name).join(", ")}`
    : "it has no contexts at all";
  const name = wanted ?? textOf(config["current-context"]);
  if (!name)
    throw new LifeboatError("invalid", "the kubeconfig has no current-context and none was asked for", { hint });
  const found = contexts.find((context) => context.name === name);
  if (!found) throw new LifeboatError("invalid", `the kubeconfig has no context "${name}"`, { hint });
  return found;
}

function find(config: Kubeconfig, section: "clusters" | "users", name: string, context: string): Named {
  const found = list(config, section).find((entry) => entry.name === textOf(name));
  if (!found) throw broken(`its context "${context}" names "${textOf(name)}", which is not among its ${section}`);
  return { ...found, cluster: textual(found.cluster), user: textual(found.user) };
}

/** The fields that are text; YAML makes a number of a token of digits. */
const TEXTS = [
  ...["server", "proxy-url", "tls-server-name", "certificate-authority", "certificate-authority-data"],
  ...["client-certificate", "client-certificate-data", "client-key", "client-key-data"],
  ...["token", "tokenFile", "token-file", "username", "password", "as"],
];

function textual<T extends Record<string, unknown>>(fields: T | undefined): T | undefined {
  if (typeof fields !== "object" || fields === null) return undefined;
  const entries = TEXTS.filter((field) => fields[field] != null).map((field) => {
    if (typeof fields[field] === "object") throw broken(`its ${field} is not text`);
    return [field, textOf(fields[field])];
  });
  return { ...fields, ...Object.fromEntries(entries) };
}

function list(config: Kubeconfig, section: "contexts" | "clusters" | "users"): Named[] {
  const entries = config[section] ?? [];
  if (!Array.isArray(entries)) throw broken(`its ${section} are not a list`);
  return entries.map((entry) => ({ ...entry, name: textOf(entry?.name) })).filter(({ name }) => name);
}

/** A name or an argument, which YAML may have made a number of; "" for what is no text at all. */
export function textOf(value: unknown): string {
  return ["string", "number", "boolean"].includes(typeof value) ? String(value) : "";
}

function checkedUrl(value: string, field: string, protocols: string[]): string {
  if (!URL.canParse(value) || !protocols.includes(new URL(value).protocol)) {
    throw broken(
      `its ${field} is not a URL that begins with ${protocols.map((protocol) => `${protocol}//`).join(" or ")}`,
    );
  }
  const { username, password, search, hash } = new URL(value);
  if (field === "server" && (username || password)) {
    throw broken("its server holds a password: put it into the user's username and password");
  }
  if (field === "server" && (search || hash)) throw broken("its server has a query (?) or a fragment (#)");
  return value.replace(/\/+$/, "");
}

/** The certificate or key of `field`, from its file or from its base64 `-data`. */
function pem(directory: string, field: string, file: string | undefined, data: string | undefined): Buffer | undefined {
  if (!file && !data) return undefined;
  const bytes = data ? Buffer.from(data, "base64") : checked(() => readFileSync(resolve(directory, file!)));
  if (!bytes.includes("-----BEGIN "))
    throw broken(`its ${data ? `${field}-data` : field} is not ${data ? "the base64 of a " : ""}PEM`);
  return bytes;
}

/** Runs what throws plain errors, none of which quotes a credential; client-node's name the one `entry` as "[0]". */
function checked<T>(read: () => T, entry?: Named): T {
  try {
    return read();
  } catch (error) {
    throw broken(messageOf(error).replace("[0]", `["${entry?.name}"]`));
  }
}

function broken(why: string, hint = "check it with: kubectl --kubeconfig FILE config view"): LifeboatError {
  return new LifeboatError("invalid", `the kubeconfig can't be used: ${why}`, { hint });
}
