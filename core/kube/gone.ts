import { isLifeboatError } from "../errors.ts";
import { expectOk, type Kube } from "./client.ts";

/**
 * Throws where `error` means the end of a run: it was cancelled, a fault of our own, or the server can't be reached or
 * doesn't know us any more. Else it concerns one request, and the run goes on.
 */
export async function throwIfGone(kube: Kube, error: unknown, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  if (!isLifeboatError(error)) throw error;
  if (!["unreachable", "timeout", "denied"].includes(error.kind)) return;
  const response = await kube.request({ path: "/version", signal });
  if (response.status !== 403) expectOk(response, "tell its version");
}
