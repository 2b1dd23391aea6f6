import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { constants, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Browsing, browseBackup, LifeboatError } from "../../../core/index.ts";
import type { Invocation } from "../options.ts";
import { print } from "../output.ts";
import { readingOf } from "../reading.ts";
import { openBucket } from "../session.ts";
import { readMade } from "../underway.ts";

interface BrowseOptions {
  port?: string;
  kubeconfigOut?: string;
}

/** `lifeboat browse NAME`: until the first signal; `lifeboat browse NAME -- COMMAND`: until that has ended. */
export async function browse({ args, options, signal }: Invocation<BrowseOptions>): Promise<number> {
  const [name, command] = args as [string, string[]];
  const port = readPort(options.port);
  const bucket = await openBucket(options);
  const reading = await readingOf(options, signal);
  const server = await readMade({ bucket, kind: "backup", name, signal }, () =>
    browseBackup(bucket, name, { ...reading, port }),
  );
  const directory = await mkdtemp(join(tmpdir(), "lifeboat-browse-"));
  const kubeconfig = resolve(options.kubeconfigOut ?? join(directory, "kubeconfig"));
  let written = false;
  try {
    await writeNew(kubeconfig, server.kubeconfig);
    written = true;
    if (command.length > 0) return await runWith({ KUBECONFIG: kubeconfig, KUBECACHEDIR: directory }, command, signal);
    await print(introduction(name, server, kubeconfig));
    if (!signal.aborted) await once(signal, "abort");
    return 0;
  } finally {
    await server.stop();
    if (written) await rm(kubeconfig, { force: true });
    await rm(directory, { recursive: true, force: true });
  }
}

function introduction(name: string, { of }: Browsing, kubeconfig: string): string {
  const time = of.toISOString().slice(0, 19).replace("T", " ");
  const quoted = /^[\w./-]+$/.test(kubeconfig) ? kubeconfig : `'${kubeconfig.replaceAll("'", "'\\''")}'`;
  return `Backup ${name} (${time} UTC) is served, read-only, until Ctrl-C. In another terminal:

  export KUBECONFIG=${quoted}
  kubectl get pods -A
`;
}

function readPort(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new LifeboatError("invalid", `--port is "${text}"`, { hint: "give a number up to 65535" });
}

async function writeNew(file: string, content: string): Promise<void> {
  try {
    await writeFile(file, content, { mode: 0o600, flag: "wx" });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new LifeboatError("invalid", `${file} can't be written: ${code}`, {
      hint: code === "EEXIST" ? "a kubeconfig is never overwritten: name a file that isn't there" : undefined,
    });
  }
}

/** Runs a command in this terminal, and gives its exit code, as shells tell it. A signal reaches the command, and what it does then counts. */
async function runWith(env: Record<string, string>, command: string[], signal: AbortSignal): Promise<number> {
  const [program = "", ...args] = command;
  const child = spawn(program, args, { stdio: "inherit", env: { ...process.env, ...env } });
  const pass = () => child.kill("SIGTERM");
  signal.addEventListener("abort", pass);
  try {
    const [code, ended] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
    return code ?? 128 + (ended ? constants.signals[ended] : 0);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new LifeboatError("invalid", `${program} can't be run: ${code === "ENOENT" ? "it is not found" : code}`);
  } finally {
    signal.removeEventListener("abort", pass);
  }
}
