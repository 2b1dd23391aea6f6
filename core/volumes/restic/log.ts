import { isLifeboatError, LifeboatError } from "../../errors.ts";
import { expectOk, type Kube } from "../../kube/client.ts";
import { resourcePath } from "../../kube/resource.ts";
import { type ResticSecrets, withhold } from "./credentials.ts";
import { PODS } from "./removal.ts";

/** Whose log is read. */
export interface LogOf {
  kube: Kube;
  namespace: string;
  pod: string;
  container: string;
  /** What must not stand in it. */
  secrets: ResticSecrets;
  signal: AbortSignal;
}

/** Lines of a log: those of progress while it grows; of the end also what could not be read. */
const LINES = { glance: 10, whole: 1000 };
const PATIENCE_MS = 10_000;
const NO_LOG = new LifeboatError("unreachable", "the node of a Pod does not give its log");

/**
 * The last lines of a container's log, without secrets; undefined where they can't be had now. A glance is not tried again: what else
 * there is to look at would wait for it, the state of a node that does not answer too. Throws `denied`.
 */
export async function readLog(
  { kube, namespace, pod, container, secrets, signal }: LogOf,
  { glance = false } = {},
): Promise<string | undefined> {
  const path = resourcePath(PODS, namespace, pod, "log");
  const query = { container, tailLines: String(glance ? LINES.glance : LINES.whole) };
  const pausing = glance ? () => Promise.reject(NO_LOG) : undefined;
  const patience = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
  try {
    const response = await kube.request({ path, query, accept: "*/*", signal: patience, pausing });
    if (response.status === 403) expectOk(response, "read the log of a Pod");
    return response.status < 400 ? withhold(response.body.toString("utf8"), secrets) : undefined;
  } catch (error) {
    signal.throwIfAborted();
    if (isLifeboatError(error, "denied")) throw error;
    return undefined;
  }
}
