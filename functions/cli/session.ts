import { type Bucket, connect, type Kube, LifeboatError, readKubeconfig } from "../../core/index.ts";
import { loadKubeconfig } from "./kubeconfig.ts";
import { openLocation } from "./location.ts";
import type { SharedOptions } from "./options.ts";

/** The bucket of `--location`, else of LIFEBOAT_LOCATION. Throws `invalid` where neither is given. */
export function openBucket({ location = process.env.LIFEBOAT_LOCATION }: SharedOptions): Promise<Bucket> {
  if (location) return openLocation(location);
  throw new LifeboatError("invalid", "no location is given", {
    hint: "say where the backups lie: --location ./backups, or LIFEBOAT_LOCATION='s3://bucket/prefix?region=eu-west-1'",
  });
}

/** A client of the cluster that `--kubeconfig` and `--context` name. Nothing is sent yet. Throws `invalid`. */
export async function openCluster({ kubeconfig, context }: SharedOptions): Promise<Kube> {
  const { yaml, directory } = await loadKubeconfig(kubeconfig, process.env);
  return connect(readKubeconfig(yaml, { context, directory }));
}

/** A cluster, for people: "prod (https://10.0.0.1:6443)". */
export function clusterText({ context, server }: Kube): string {
  return `${context} (${server})`;
}

/** How the user calls this program, for suggested commands: in a clone, npx finds it. */
export const COMMAND = import.meta.url.endsWith(".ts") ? "npx lifeboat" : "lifeboat";

/** Makes `location` part of a suggested command, unless the environment says it already. */
export function locationFlag(location: string | undefined): string {
  return location ? ` --location ${/^[\w./:-]+$/.test(location) ? location : `'${location}'`}` : "";
}
