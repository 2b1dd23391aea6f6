import type { Duplex } from "node:stream";
import { abortedBy } from "../abort.ts";
import { LifeboatError } from "../errors.ts";
import { resourcePath } from "./resource.ts";
import type { HttpResponse } from "./send.ts";
import { expectOk } from "./status.ts";
import { handshake, hearWebSocket } from "./websocket.ts";

/** A command for a container of a Pod. */
export interface PodExec {
  namespace: string;
  pod: string;
  container: string;
  /** The program and its arguments; no shell. */
  command: string[];
  /** From now to its end. */
  timeoutMs: number;
  /** Ends it wherever it is; it then rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** How a command ended. */
export interface ExecResult {
  exitCode: number;
  /** What it wrote, UTF-8: the last 4 KiB of each, after a note of what is left out where that isn't all. */
  stdout: string;
  stderr: string;
}

/** What is asked for to open the connection. */
export interface Upgrade {
  path: string;
  headers: Record<string, string>;
  signal: AbortSignal;
}

/**
 * The subprotocols of Kubernetes' remotecommand that end with a status. Servers before 1.30 know the older one alone;
 * what the newer one adds is the end of stdin, which isn't used here.
 */
const PROTOCOLS = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
/** The first byte of a message. */
const CHANNELS = { stdout: 1, stderr: 2, status: 3 };
const OUTPUT_BYTES = 4 << 10;

/**
 * Runs a command in a container through `pods/exec`, over a WebSocket that `open` asks for. RBAC sees it as `get` and, from
 * Kubernetes 1.35 on, `create` of `pods/exec`. A command that ended, however, resolves.
 *
 * Throws `missing` where there is no such Pod, `denied`, `timeout` after `timeoutMs` (the command may then go on in the
 * container, for nothing can stop it), `unreachable` where the connection was cut or the node can't be reached, `invalid`
 * where the server refuses to run it, and the signals' reason.
 */
export async function execInPod(
  exec: PodExec,
  open: (upgrade: Upgrade) => Promise<HttpResponse>,
  closing: AbortSignal,
): Promise<ExecResult> {
  const where = `container ${exec.container} of pod ${exec.namespace}/${exec.pod}`;
  const late = new AbortController();
  const timer = setTimeout(() => {
    late.abort(
      new LifeboatError("timeout", `the command in ${where} did not end within ${exec.timeoutMs / 1000} s`, {
        hint: "it may go on in the container; give it more time",
      }),
    );
  }, exec.timeoutMs);
  try {
    using ending = abortedBy([closing, exec.signal, late.signal]);
    const { headers, accept } = handshake(PROTOCOLS);
    const answer = await open({ path: pathOf(exec), headers, signal: ending.signal });
    const { socket } = answer;
    if (!socket) {
      expectOk(answer, `run the command in ${where}`);
      throw noWebSocket(`it answered ${answer.status}`);
    }
    if (answer.headers["sec-websocket-accept"] !== accept || !PROTOCOLS.includes(protocolOf(answer))) {
      socket.destroy();
      throw noWebSocket(`it chose the protocol "${protocolOf(answer)}"`);
    }
    return await streams(socket, where, ending.signal);
  } finally {
    clearTimeout(timer);
  }
}

/** Far above what a status has. */
const MOST_STATUS = 1 << 20;

/** Hears what the command writes until its status comes. */
async function streams(socket: Duplex, where: string, signal: AbortSignal): Promise<ExecResult> {
  const ended = Promise.withResolvers<ExecResult>();
  const [stdout, stderr] = [tail(), tail()];
  let status = "";
  const close = hearWebSocket(socket, {
    message(payload) {
      const [channel, bytes] = [payload[0], payload.subarray(1)];
      if (channel === CHANNELS.stdout) stdout.add(bytes);
      else if (channel === CHANNELS.stderr) stderr.add(bytes);
      else if (channel === CHANNELS.status) {
        status += bytes.toString("utf8");
        if (status.length > MOST_STATUS) {
          ended.reject(new LifeboatError("unreachable", `the status of the command in ${where} has no end`));
          return;
        }
        const end = parseEnd(status);
        if (end?.exitCode !== undefined)
          ended.resolve({ exitCode: end.exitCode, stdout: stdout.text(), stderr: stderr.text() });
        else if (end) ended.reject(notRun(end, where));
      }
    },
    closed(why) {
      ended.reject(
        new LifeboatError("unreachable", `the connection to the command in ${where} ended before it: ${why}`, {
          hint: "the command may go on in the container",
        }),
      );
    },
  });
  const abort = () => ended.reject(signal.reason);
  signal.addEventListener("abort", abort);
  if (signal.aborted) abort();
  try {
    return await ended.promise;
  } finally {
    signal.removeEventListener("abort", abort);
    close();
  }
}

interface End {
  /** Undefined where the command did not run, or nobody knows how it ended. */
  exitCode?: number;
  code: number;
  text: string;
}

/** What the status channel says; undefined while it isn't whole. */
function parseEnd(text: string): End | undefined {
  let status: {
    status?: string;
    reason?: string;
    code?: number;
    details?: { causes?: { reason?: string; message?: string }[] };
  };
  try {
    status = JSON.parse(text);
  } catch {
    return undefined;
  }
  const end = { code: status.code ?? 500, text };
  if (status.status === "Success") return { ...end, exitCode: 0 };
  const cause = status.details?.causes?.find(({ reason }) => reason === "ExitCode");
  const exitCode = status.reason === "NonZeroExitCode" ? Number(cause?.message) : Number.NaN;
  return Number.isInteger(exitCode) ? { ...end, exitCode } : end;
}

/** The API server says in the same words as elsewhere why it could not. */
function notRun({ code, text }: End, where: string): unknown {
  try {
    const status = { ...JSON.parse(text), kind: "Status" };
    expectOk(
      { status: Math.max(400, code), headers: {}, body: Buffer.from(JSON.stringify(status)) },
      `run the command in ${where}`,
    );
  } catch (error) {
    return error;
  }
  return undefined;
}

function pathOf({ namespace, pod, container, command }: PodExec): string {
  const query = new URLSearchParams({ container, stdout: "true", stderr: "true" });
  for (const word of command) query.append("command", word);
  return `${resourcePath({ group: "", version: "v1", name: "pods" }, namespace, pod, "exec")}?${query}`;
}

function protocolOf({ headers }: HttpResponse): string {
  return headers["sec-websocket-protocol"] ?? "";
}

function noWebSocket(what: string): LifeboatError {
  return new LifeboatError("unreachable", `the API server opened no WebSocket for the command: ${what}`, {
    hint: "does something between here and the server not let WebSockets through?",
  });
}

/** Keeps the end of what is written: there stands why a command failed. */
function tail(): { add(bytes: Buffer): void; text(): string } {
  let kept = Buffer.alloc(0);
  let written = 0;
  return {
    add(bytes) {
      written += bytes.length;
      kept = Buffer.concat([kept, bytes]);
      if (kept.length > 2 * OUTPUT_BYTES) kept = Buffer.from(kept.subarray(-OUTPUT_BYTES));
    },
    text() {
      const end = kept.subarray(-OUTPUT_BYTES);
      const missing = written - end.length;
      return `${missing > 0 ? `[${missing} bytes left out] ` : ""}${end.toString("utf8")}`;
    },
  };
}
