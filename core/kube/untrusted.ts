import { LifeboatError } from "../errors.ts";
import { isLoopback } from "../loopback.ts";
import {
  AKS_SERVER_ID,
  AWS_REGION,
  CLOUD_NAMES,
  type CloudReferences,
  EKS_NAME,
  eksRegion,
  isClusterHost,
  ROLE_ARN,
} from "./clouds.ts";
import { withoutTokens } from "./exec.ts";
import { type ChosenContext, textOf } from "./kubeconfig.ts";

/** A user whose tokens a cloud gives, and what a kubeconfig tells about them. */
export type CloudUser<Cloud extends keyof CloudReferences = keyof CloudReferences> = {
  [Each in Cloud]: { cloud: Each; reference: Partial<CloudReferences[Each]> };
}[Cloud];

/**
 * What a kubeconfig may do that comes from a secret (in functions and in `serve`, where whoever may write the secret
 * must not get to run programs, read files or show what it holds to the network). The three clouds' own credential
 * programs, and the auth providers that came before them, are never run: where the user names one, what it was told is
 * read out of its arguments, for the platform to get the token itself; undefined for users that need none of them. That
 * token is the function's own, so it goes straight to a host of the cloud's clusters (or to this machine), no other:
 * see `isClusterHost`, and there why GKE's may yet be anybody's.
 *
 * Throws `invalid` in one line for everything else. Of the kubeconfig, only a program's or provider's name is quoted.
 */
export function vetKubeconfig(chosen: ChosenContext): CloudUser | undefined {
  for (const rule of RULES) {
    if (rule.breaks(chosen)) throw refused(rule.what, rule.hint);
  }
  const { exec, "auth-provider": provider } = chosen.user;
  const user = exec
    ? programUser(exec as Exec, chosen.server)
    : provider
      ? providerUser(provider as AuthProvider)
      : undefined;
  if (user) checkWay(user.cloud, chosen);
  return user;
}

/** Whoever wrote the kubeconfig wrote its authority as well: a proxy of his could pass for any server. */
function checkWay(cloud: keyof CloudReferences, chosen: ChosenContext): void {
  const token = `the function's token for ${CLOUD_NAMES[cloud]}`;
  if (chosen.cluster["proxy-url"]) {
    throw refused(`its proxy-url could get ${token}`, "leave it out, or give a service account's token for the user");
  }
  if (staysHere(chosen) || isClusterHost(cloud, chosen.server.hostname)) return;
  throw refused(
    `its server, which would get ${token}, is no host of that cloud's clusters`,
    `name the cluster by ${cloud}: in place of kubeconfig:, which asks the cloud for the address; or use a service account's token`,
  );
}

interface Rule {
  breaks(chosen: ChosenContext): boolean;
  what: string;
  hint: string;
}

const FLATTEN = "kubectl config view --raw --minify --flatten prints a kubeconfig with the files' content in it";

const RULES: Rule[] = [
  ...(["certificate-authority", "client-certificate", "client-key"] as const).map((field) => ({
    breaks: ({ cluster, user }: ChosenContext) => Boolean(cluster[field] || user[field]),
    what: `its ${field} is a path to a local file`,
    hint: `give ${field}-data; ${FLATTEN}`,
  })),
  ...(["tokenFile", "token-file"] as const).map((field) => ({
    breaks: ({ user }: ChosenContext) => Boolean(user[field]),
    what: `its ${field} is a path to a local file`,
    hint: "give the token itself as `token`",
  })),
  {
    breaks: (chosen) => chosen.server.protocol === "http:" && !staysHere(chosen),
    what: "its server is plain http, which shows credentials and data to the network",
    hint: "give an https server; http is for 127.0.0.1 and localhost",
  },
  {
    breaks: (chosen) => Boolean(chosen.cluster["insecure-skip-tls-verify"]) && !staysHere(chosen),
    what: "its insecure-skip-tls-verify would hand the credentials to whoever answers",
    hint: "give the server's authority as certificate-authority-data",
  },
];

/** Whether the server is this machine, and the way to it no proxy, whose 127.0.0.1 would be another. */
function staysHere({ server, cluster }: ChosenContext): boolean {
  return isLoopback(server.hostname) && !cluster["proxy-url"];
}

interface Exec {
  command?: unknown;
  args?: unknown;
  env?: unknown;
}

/** What a credential program was told: its arguments, its own environment, the server it is for. */
interface Call {
  args: string[];
  env: Record<string, string>;
  server: URL;
}

/** The credential programs of the clouds: undefined where they are called for anything but a token. */
const PROGRAMS: Record<string, (call: Call) => CloudUser | undefined> = {
  aws: (call) => {
    const at = call.args.indexOf("eks");
    return at >= 0 && call.args[at + 1] === "get-token" ? eksUser(call, ["--cluster-name", "--cluster-id"]) : undefined;
  },
  "aws-iam-authenticator": (call) =>
    call.args.includes("token") ? eksUser(call, ["--cluster-id", "--cluster-name", "-i"]) : undefined,
  "gke-gcloud-auth-plugin": () => ({ cloud: "gke", reference: {} }),
  kubelogin: ({ args }) => {
    const server = flag(args, "--server-id");
    if (!args.includes("get-token") || !server) return undefined;
    const clientId = isOwnIdentity(flag(args, "--login", "-l")) ? flag(args, "--client-id") : undefined;
    return aksUser(server, clientId);
  },
};

const STATIC =
  "use a kubeconfig with a service account's token or a client certificate, or the cluster's cloud (eks, gke, aks)";

function programUser(exec: Exec, server: URL): CloudUser {
  const program = programName(exec.command);
  const call = { args: texts(exec.args), env: environment(exec.env), server };
  const user = Object.hasOwn(PROGRAMS, program) ? PROGRAMS[program]!(call) : undefined;
  if (user) return user;
  const known = "aws eks get-token, aws-iam-authenticator token, gke-gcloud-auth-plugin or Azure's kubelogin get-token";
  throw refused(`its user would run the program "${shown(program)}", which is not ${known}`, STATIC);
}

interface AuthProvider {
  name?: unknown;
  config?: Record<string, unknown> | null;
}

function providerUser({ name, config }: AuthProvider): CloudUser {
  const program = config?.["cmd-path"];
  if (program) {
    throw refused(
      `its user's auth-provider "${shown(name)}" would run the program "${shown(programName(program))}" (cmd-path)`,
      "leave out cmd-path and cmd-args: with auth-provider gcp or azure, the platform's own identity is used",
    );
  }
  if (name === "gcp") return { cloud: "gke", reference: {} };
  if (name === "azure") return aksUser(textOf(config?.["apiserver-id"]) || AKS_SERVER_ID);
  throw refused(`its user's auth-provider "${shown(name)}" is neither gcp nor azure`, STATIC);
}

function eksUser({ args, env, server }: Call, nameFlags: string[]): CloudUser {
  const name = flag(args, ...nameFlags);
  const region = flag(args, "--region") ?? env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? eksRegion(server.hostname);
  const roleArn = flag(args, "--role-arn", "--role", "-r");
  const wrong =
    (!EKS_NAME.test(name ?? "") && "cluster name") ||
    (region !== undefined && !AWS_REGION.test(region) && "region") ||
    (roleArn !== undefined && !ROLE_ARN.test(roleArn) && "role ARN");
  if (wrong) {
    throw refused(
      `its user's credential program is told no ${wrong}, or none that can be one`,
      "aws eks update-kubeconfig writes a right one",
    );
  }
  return { cloud: "eks", reference: { name, ...(region && { region }), ...(roleArn && { roleArn }) } };
}

function aksUser(serverId: string, clientId?: string): CloudUser {
  if (serverId.toLowerCase() === AKS_SERVER_ID) return { cloud: "aks", reference: clientId ? { clientId } : {} };
  throw refused(
    "its user's tokens are for another server than AKS with managed Entra integration",
    `its server-id must be ${AKS_SERVER_ID}`,
  );
}

/** In kubelogin's other logins --client-id is an application that people log in with, not the identity to be. */
function isOwnIdentity(login: string | undefined): boolean {
  return login === "msi" || login === "workloadidentity";
}

/** The value of the first of these flags: `--flag value` or `--flag=value`. */
function flag(args: string[], ...names: string[]): string | undefined {
  for (const name of names) {
    const at = args.findIndex((arg) => arg === name || arg.startsWith(`${name}=`));
    if (at >= 0) return args[at] === name ? args[at + 1] : args[at]!.slice(name.length + 1);
  }
  return undefined;
}

function environment(env: unknown): Record<string, string> {
  const entries = Array.isArray(env) ? env.filter((entry) => entry?.name && entry.value) : [];
  return Object.fromEntries(entries.map(({ name, value }) => [textOf(name), textOf(value)]));
}

function texts(args: unknown): string[] {
  return Array.isArray(args) ? args.map(textOf) : [];
}

/** "/usr/bin/aws" and "C:\\Program Files\\aws.exe" are both "aws". */
function programName(command: unknown): string {
  const name = textOf(command).split(/[/\\]/).at(-1) ?? "";
  return name.replace(/\.exe$/i, "");
}

/** The first word of a name, which is not a place to keep a token, but might be one nevertheless. */
function shown(name: unknown): string {
  return withoutTokens(/[\w.~+=-]*/.exec(textOf(name))?.[0] ?? "").slice(0, 60);
}

function refused(what: string, hint: string): LifeboatError {
  return new LifeboatError("invalid", `the kubeconfig can't be used here: ${what}`, { hint });
}
