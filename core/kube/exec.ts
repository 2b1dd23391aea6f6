import { execFile } from "node:child_process";
import { isAbsolute, resolve, sep } from "node:path";
import { promisify } from "node:util";
import { LifeboatError } from "../errors.ts";

/** A kubeconfig user's `exec`: the credential program, as client.authentication.k8s.io describes it. */
export interface ExecPlugin {
  apiVersion?: string;
  command?: string;
  args?: string[] | null;
  env?: { name: string; value: string }[] | null;
  installHint?: string;
  provideClusterInfo?: boolean;
}

const TIMEOUT_MS = 60_000;

/**
 * Runs a credential program (`aws eks get-token`, `gke-gcloud-auth-plugin`, `kubelogin` …) and reads the
 * ExecCredential it prints. Unlike client-node's own, it hands over KUBERNETES_EXEC_INFO as the protocol demands, ends
 * the program after a minute or with `signal`, and quotes no output in its errors. The program can't ask questions.
 * Throws `denied`, with the program's complaint.
 */
export async function runExecPlugin(
  plugin: ExecPlugin,
  context: { directory: string; cluster: Record<string, unknown> | undefined; signal: AbortSignal },
): Promise<{ token?: string; cert?: string; key?: string; expires?: Date }> {
  const command = plugin.command ?? "";
  if (!command) throw new LifeboatError("invalid", "the kubeconfig names no command for its credential program");
  const path = command.includes(sep) && !isAbsolute(command) ? resolve(context.directory, command) : command;
  const env = { ...process.env, KUBERNETES_EXEC_INFO: execInfo(plugin, context.cluster) };
  for (const { name, value } of plugin.env ?? []) Object.assign(env, { [name]: value });
  const options = { env, signal: context.signal, timeout: TIMEOUT_MS, maxBuffer: 1 << 20, windowsHide: true };
  const running = promisify(execFile)(path, plugin.args ?? [], options);
  running.child.stdin?.end();
  let output: string;
  try {
    output = (await running).stdout;
  } catch (error) {
    context.signal.throwIfAborted();
    throw failed(command, error as ExecFailure, plugin.installHint);
  }
  return readCredential(command, output);
}

function execInfo(plugin: ExecPlugin, cluster: Record<string, unknown> = {}): string {
  const { extensions, ...rest } = cluster as { extensions?: { name: string; extension: unknown }[] };
  const config = extensions?.find(({ name }) => name === "client.authentication.k8s.io/exec")?.extension;
  const spec = { interactive: false, cluster: plugin.provideClusterInfo ? { ...rest, config } : undefined };
  const apiVersion = plugin.apiVersion ?? "client.authentication.k8s.io/v1";
  return JSON.stringify({ apiVersion, kind: "ExecCredential", spec });
}

function readCredential(command: string, output: string): Awaited<ReturnType<typeof runExecPlugin>> {
  let status: { token?: string; clientCertificateData?: string; clientKeyData?: string; expirationTimestamp?: string };
  try {
    status = JSON.parse(output).status;
    if (!status.token && !status.clientCertificateData) throw new Error("no credential");
  } catch {
    throw new LifeboatError("denied", `the credential program "${command}" printed no ExecCredential`, {
      hint: "run it by hand, as the kubeconfig's exec section says, and see what it prints",
    });
  }
  return {
    token: status.token,
    cert: status.clientCertificateData,
    key: status.clientKeyData,
    expires: status.expirationTimestamp ? new Date(status.expirationTimestamp) : undefined,
  };
}

type ExecFailure = { code?: string | number; killed?: boolean; stderr?: string };

function failed(command: string, { code, killed, stderr }: ExecFailure, installHint?: string): LifeboatError {
  if (code === "ENOENT") {
    return new LifeboatError("denied", `the kubeconfig's credential program "${command}" was not found`, {
      hint:
        installHint?.trim().split("\n", 1)[0] ||
        "install it, or give a kubeconfig with a token or a client certificate",
    });
  }
  const why = killed ? `did not end within ${TIMEOUT_MS / 1000} s` : `failed (${code ?? "killed"})`;
  const complaint = withoutTokens(stderr?.trim().split("\n").at(-1) ?? "");
  return new LifeboatError("denied", `the kubeconfig's credential program "${command}" ${why}`, {
    hint: complaint ? `it said: ${complaint}` : "run it by hand and see what it says; perhaps a login has expired",
  });
}

/** `text` in at most 200 characters, without whatever is as long and dense as a token. */
export function withoutTokens(text: string): string {
  return text.replace(/[\w.~+/=-]{40,}/g, "…").slice(0, 200);
}
