import { type CachedSecrets, LifeboatError, openSecrets, type Platform, readLocation } from "../../core/index.ts";
import { aws } from "../aws/platform.ts";
import { azure } from "../azure/platform.ts";
import { gcp } from "../gcp/platform.ts";

/** What the terminal offers: what every cloud does, with the identity that is at hand here, and directories. */
export const terminal: Pick<Platform, "buckets" | "secrets" | "clusters" | "disks"> = {
  buckets: {
    "file:": async (location) => (await import("./bucket.ts")).directoryBucket(directoryOf(location)),
    ...aws.buckets,
    ...gcp.buckets,
    ...azure.buckets,
  },
  secrets: { ...aws.secrets, ...gcp.secrets, ...azure.secrets },
  clusters: { ...aws.clusters, ...gcp.clusters, ...azure.clusters },
  disks: { ...aws.disks, ...gcp.disks, ...azure.disks },
};

/**
 * Outside of Google Cloud its library waits for a metadata server that isn't there, several times, and then warns of it.
 * Here it looks at the machine instead, unless that shows nothing, as in a sandboxed pod, or a server is named.
 */
if (!process.env.GCE_METADATA_HOST && !process.env.GCE_METADATA_IP && !process.env.KUBERNETES_SERVICE_HOST) {
  process.env.METADATA_SERVER_DETECTION ||= "bios-only";
}

let opened: CachedSecrets | undefined;

/** The secrets that a configuration may refer to. */
export function secrets(): CachedSecrets {
  opened ??= openSecrets(terminal);
  return opened;
}

/** Throws `invalid` for what a directory's URL doesn't have: a host, parameters. */
function directoryOf(location: URL): string {
  const { bucket: host, prefix: path } = readLocation(location, []);
  if (!host) return `/${path}`;
  throw new LifeboatError("invalid", `the file location names the host ${host}`, {
    hint: "a directory's URL has three slashes: file:///directory",
  });
}
