import { GoogleAuth } from "google-auth-library";
import { googleError, isTooMany, tooMany } from "./errors.ts";
import { isOnThisMachine, NO_PROJECT, send, unlessAborted } from "./http.ts";

/**
 * The second one is for GKE: without it, a cluster knows the account by its numeric id, not by its e-mail address
 * (`defaultScopes` in kubernetes/cloud-provider-gcp, cmd/gke-gcloud-auth-plugin).
 */
const SCOPES = ["cloud-platform", "userinfo.email"].map((name) => `https://www.googleapis.com/auth/${name}`);

/** One call of an API: what is wanted by it, for messages; the path begins with "/". */
export interface Call {
  wanted: string;
  path: string;
  method?: "GET" | "POST" | "DELETE";
  data?: object;
  /** Too many requests are `busy`. */
  tellsBusy?: boolean;
  signal: AbortSignal | undefined;
}

/**
 * One of Google's APIs by its host's name ("secretmanager"), with the credentials that Google's library finds: their
 * REST form, since the clients of their own (gRPC) weigh more than all else in a function. What comes is the answer's
 * JSON. Throws a LifeboatError, or the signal's reason. A call may be sent twice.
 *
 * For tests and private gateways, LIFEBOAT_GCP_ENDPOINT is the address of all of them: https, or http on this machine.
 */
export function googleApi(name: string): { auth: GoogleAuth; call<T>(call: Call): Promise<T> } {
  const endpoint = process.env.LIFEBOAT_GCP_ENDPOINT;
  if (endpoint) isOnThisMachine(endpoint, "LIFEBOAT_GCP_ENDPOINT");
  const base = endpoint || `https://${name}.googleapis.com`;
  const auth = new GoogleAuth({ scopes: SCOPES, ...NO_PROJECT });
  return {
    auth,
    async call<T>({ wanted, path, method = "GET", data, tellsBusy, signal }: Call): Promise<T> {
      signal?.throwIfAborted();
      try {
        const request = send<T>(auth, { method, url: base + path, data, responseType: "json", signal });
        return (await unlessAborted(request, signal)).data;
      } catch (error) {
        signal?.throwIfAborted();
        throw tellsBusy && isTooMany(error) ? tooMany(error, wanted) : googleError(error, wanted);
      }
    },
  };
}
