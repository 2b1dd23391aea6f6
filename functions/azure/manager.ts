import { isLifeboatError, LifeboatError, pause } from "../../core/index.ts";
import { azureCredential } from "./access.ts";
import { ask } from "./ask.ts";

/** How long is waited before a call is sent again, where Azure says nothing. */
const RETRY_MS = [500, 2000];
/** The longest wait that Azure is granted before a call is sent again. */
const MOST_RETRY_MS = 20_000;

/** A call of Azure Resource Manager: what is wanted by it, for messages. */
export interface ManagerCall {
  wanted: string;
  method: "GET" | "PUT" | "POST" | "DELETE";
  /** A path with its api-version ("/subscriptions/…?api-version=…"), or a URL that the manager gave. */
  path: string;
  body?: object;
  /** Of the managed identity to be. */
  clientId?: string;
  signal: AbortSignal;
}

/** What the manager answered: its JSON, and the URL that tells how an operation goes on, where one was begun. */
export interface ManagerAnswer<T> {
  body: T;
  operation?: string;
}

/**
 * Asks Azure Resource Manager, as `azureCredential`. What may pass is tried twice more, but for POST. `busy`: too many
 * requests. LIFEBOAT_AZURE_RESOURCE_MANAGER: another manager's URL than https://management.azure.com, for sovereign
 * clouds.
 */
export async function callManager<T>(call: ManagerCall): Promise<ManagerAnswer<T>> {
  const manager = managerUrl();
  const url = new URL(call.path, manager);
  // The token is for the manager alone.
  if (url.origin !== manager) throw new LifeboatError("unreachable", `can't ${call.wanted}: Azure leads elsewhere`);
  for (let attempt = 0; ; attempt++) {
    let after: number | undefined;
    try {
      return await ask(call.wanted, call.signal, async (abortSignal) => {
        const token = await azureToken(`${manager}/.default`, call.clientId, abortSignal);
        const response = await fetch(url, {
          method: call.method,
          headers: {
            authorization: `Bearer ${token.token}`,
            ...(call.body && { "content-type": "application/json" }),
          },
          body: call.body && JSON.stringify(call.body),
          signal: abortSignal,
          redirect: "error",
        });
        const header = response.headers.get("retry-after");
        after = header && /^\d+$/.test(header) ? Number(header) * 1000 : undefined;
        if (!response.ok) throw await refusal(response);
        const operation = response.headers.get("azure-asyncoperation") ?? undefined;
        return { body: parse(await response.text()) as T, ...(operation && { operation }) };
      });
    } catch (error) {
      const wait = call.method === "POST" ? undefined : RETRY_MS[attempt];
      const passes = isLifeboatError(error, "unreachable") || isLifeboatError(error, "busy");
      if (wait === undefined || !passes || call.signal.aborted) throw error;
      await pause(Math.min(after ?? wait, MOST_RETRY_MS), call.signal);
    }
  }
}

/** A token of Microsoft Entra ID. */
export async function azureToken(scope: string, clientId: string | undefined, abortSignal: AbortSignal) {
  const token = await azureCredential(clientId).getToken(scope, { abortSignal });
  if (!token) throw new LifeboatError("denied", "Azure gave no token");
  return token;
}

function managerUrl(): string {
  const text = process.env.LIFEBOAT_AZURE_RESOURCE_MANAGER || "https://management.azure.com";
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === "https:") return url.origin;
  throw new LifeboatError("invalid", "LIFEBOAT_AZURE_RESOURCE_MANAGER is not an https URL");
}

/** An answer of Azure Resource Manager, as an error of its SDKs. Each of its services has its own code for too many requests. */
async function refusal(response: Response): Promise<Error> {
  const { error } = parse(await response.text().catch(() => "")) as { error?: { code?: unknown; message?: unknown } };
  const code = response.status === 429 ? "TooManyRequests" : error?.code;
  return Object.assign(new Error(String(error?.message ?? response.statusText)), { code, statusCode: response.status });
}

/** The object that is in a JSON text, or an empty one: what isn't JSON may hold a kubeconfig, and isn't told. */
function parse(text: string): object {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}
