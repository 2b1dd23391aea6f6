import { type GkeReference, LifeboatError, type ManagedClusters, unlessMissing } from "../../core/index.ts";
import { googleApi } from "./api.ts";
import { googleError } from "./errors.ts";
import { unlessAborted } from "./http.ts";

/** Where a token doesn't say when it ends. Google's last an hour. */
const TOKEN_MS = 300_000;

/** What is read of the GKE API's `Cluster`. */
interface Cluster {
  name?: string;
  location?: string;
  resourceLabels?: Record<string, string>;
  status?: string;
  endpoint?: string;
  masterAuth?: { clusterCaCertificate?: string };
  controlPlaneEndpointsConfig?: { dnsEndpointConfig?: { endpoint?: string; allowExternalTraffic?: boolean } };
}

/**
 * GKE's clusters. The endpoint: by DNS, with a public certificate, where the cluster allows that from outside Google
 * Cloud's networks; else by IP, with the cluster's own authority. The token is an OAuth access token of the function's
 * service account, renewed by Google's library before it ends; Kubernetes knows the account by its e-mail address.
 */
export function gkeClusters(): ManagedClusters<GkeReference> {
  const { auth, call } = googleApi("container");
  return {
    async endpoint({ project, location, name }, signal) {
      const wanted = `find the GKE cluster ${project}/${location}/${name}`;
      const parts = ["projects", project, "locations", location, "clusters", name];
      const path = `/v1/${parts.map(encodeURIComponent).join("/")}`;
      const { status, endpoint, masterAuth, controlPlaneEndpointsConfig } = await call<Cluster>({
        wanted,
        path,
        signal,
      });
      const dns = controlPlaneEndpointsConfig?.dnsEndpointConfig;
      if (dns?.endpoint && dns.allowExternalTraffic) return { server: `https://${dns.endpoint}` };
      const ca = masterAuth?.clusterCaCertificate;
      if (endpoint && ca) return { server: `https://${endpoint}`, ca: Buffer.from(ca, "base64").toString() };
      throw new LifeboatError(
        "unreachable",
        `can't ${wanted}: it has no endpoint; its status is ${status ?? "unknown"}`,
        {
          hint: "wait until it is running, or allow external traffic to its DNS endpoint",
        },
      );
    },

    async *list({ project = "", location, name }, signal) {
      const place = `/v1/projects/${encodeURIComponent(project)}/locations/${encodeURIComponent(location ?? "-")}/clusters`;
      const wanted = `list the GKE clusters of ${project}`;
      let found: { clusters?: Cluster[]; missingZones?: string[] };
      if (name === undefined) {
        found = await call({ wanted, path: place, signal });
      } else {
        const one = call<Cluster>({ wanted, path: `${place}/${encodeURIComponent(name)}`, signal });
        const cluster = await unlessMissing(one);
        found = { clusters: cluster ? [cluster] : [] };
      }
      for (const { name, location, status = "", resourceLabels = {} } of found.clusters ?? []) {
        if (name && location && !["PROVISIONING", "STOPPING"].includes(status))
          yield { reference: { project, location, name }, tags: resourceLabels };
      }
      const { missingZones = [] } = found;
      if (missingZones.length > 0)
        throw new LifeboatError("unreachable", `can't ${wanted} in ${missingZones.join(", ")}: Google can't reach it`);
    },

    async token(_reference, signal) {
      signal.throwIfAborted();
      try {
        const { token, expires } = await unlessAborted(accessToken(), signal);
        if (!token) throw new Error("none came");
        return { token, expires: new Date(expires ?? Date.now() + TOKEN_MS) };
      } catch (error) {
        signal.throwIfAborted();
        throw googleError(error, "get a token for GKE");
      }
    },
  };

  async function accessToken() {
    const client = await auth.getClient();
    const { token } = await client.getAccessToken();
    return { token, expires: client.credentials.expiry_date };
  }
}
