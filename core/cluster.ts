import { z } from "zod";
import { isLifeboatError, LifeboatError } from "./errors.ts";
import { strictFields } from "./fields.ts";
import { connect, type Kube } from "./kube/client.ts";
import { AWS_REGION, CLOUD_NAMES, type CloudReferences, EKS_NAME, ROLE_ARN } from "./kube/clouds.ts";
import { type Authorize, bearer } from "./kube/credentials.ts";
import { type ChosenContext, type ClusterAccess, readKubeconfig } from "./kube/kubeconfig.ts";
import { type CloudUser, vetKubeconfig } from "./kube/untrusted.ts";
import { labelsSchema } from "./labels.ts";
import type { AksReference, EksReference, GkeReference, ManagedClusters, Platform } from "./ports.ts";
import { type CachedSecrets, secretReference } from "./secrets.ts";

/** Where a cluster is told: a kubeconfig in a secret (its `context`, or else its current one), or a cloud's own. */
export type ClusterReference =
  | { kubeconfig: string; context?: string }
  | { eks: EksReference }
  | { gke: GkeReference }
  | { aks: AksReference };

const text = z.string().min(1);
const WAYS = ["kubeconfig", "eks", "gke", "aks"] as const;

/** A cluster in the configuration: exactly one of the ways to tell it, and its labels. */
export const clusterReferenceSchema = strictFields({
  kubeconfig: secretReference("kubeconfig").optional(),
  context: text.optional(),
  eks: strictFields({
    name: z.string().regex(EKS_NAME, "is not a name that EKS takes"),
    region: z.string().regex(AWS_REGION, "is not an AWS region"),
    roleArn: z.string().regex(ROLE_ARN, "is not the ARN of a role: arn:aws:iam::<account>:role/<name>").optional(),
  }).optional(),
  gke: strictFields({ project: text, location: text, name: text }).optional(),
  aks: strictFields({ subscription: text, resourceGroup: text, name: text, clientId: text.optional() }).optional(),
  labels: labelsSchema.optional(),
}).transform((fields, { addIssue }): ClusterReference & { labels?: Record<string, string> } => {
  const told = WAYS.filter((way) => fields[way] !== undefined);
  if (told.length !== 1) {
    addIssue(`needs exactly one of ${WAYS.join(", ")}, and ${told.length ? `has ${told.join(", ")}` : "has none"}`);
  }
  if (fields.context && !fields.kubeconfig) addIssue("context is one of a kubeconfig's: it needs kubeconfig");
  return fields as ClusterReference;
});

/** What opens clusters: the platform's secrets and its managed clusters. */
export interface ClusterSources {
  secrets: CachedSecrets;
  clusters: Platform["clusters"];
}

/**
 * A client of the cluster. Reads its kubeconfig's secret, or asks its cloud for the endpoint, and nothing else; both are
 * read anew, past any cache, when the API server answers 401 (a rotated secret). A kubeconfig from a secret is not
 * trusted: see `vetKubeconfig`. Tokens of a cloud are renewed before they end.
 *
 * Throws what the secret's store and the cloud throw, and `invalid` for a secret that isn't a usable kubeconfig, or for
 * a cluster in a cloud whose tokens the platform can't get. Nothing of the secret is quoted but names.
 */
export async function openCluster(
  reference: ClusterReference,
  sources: ClusterSources,
  options: { signal?: AbortSignal } = {},
): Promise<Kube> {
  const signal = options.signal ?? new AbortController().signal;
  const access = await readAccess(reference, sources, { fresh: false, signal });
  return connect(access, { reload: (signal) => readAccess(reference, sources, { fresh: true, signal }) });
}

interface Reading {
  /** Past the cache of secrets. */
  fresh: boolean;
  signal: AbortSignal;
}

function readAccess(reference: ClusterReference, sources: ClusterSources, reading: Reading): Promise<ClusterAccess> {
  const { clusters } = sources;
  if ("eks" in reference) return managedAccess(clusters, { cloud: "eks", reference: reference.eks }, reading.signal);
  if ("gke" in reference) return managedAccess(clusters, { cloud: "gke", reference: reference.gke }, reading.signal);
  if ("aks" in reference) return managedAccess(clusters, { cloud: "aks", reference: reference.aks }, reading.signal);
  return secretAccess(reference, sources, reading);
}

async function secretAccess(
  { kubeconfig, context }: { kubeconfig: string; context?: string },
  { secrets, clusters }: ClusterSources,
  reading: Reading,
): Promise<ClusterAccess> {
  const yaml = await secrets.read(kubeconfig, reading);
  const vet = (chosen: ChosenContext) => {
    const user = vetKubeconfig(chosen);
    return user && cloudTokens(clusters, user);
  };
  try {
    return readKubeconfig(yaml, { context, vet });
  } catch (error) {
    if (!isLifeboatError(error)) throw error;
    throw new LifeboatError(error.kind, `${error.message} (secret ${kubeconfig})`, { hint: error.hint });
  }
}

async function managedAccess<Cloud extends keyof CloudReferences>(
  clusters: Clouds,
  { cloud, reference }: { cloud: Cloud; reference: CloudReferences[Cloud] },
  signal: AbortSignal,
): Promise<ClusterAccess> {
  const { server, ca } = await (await openManaged(clusters, cloud)()).endpoint(reference, signal);
  return {
    name: reference.name,
    server: server.replace(/\/+$/, ""),
    tls: { ca: ca === undefined ? undefined : Buffer.from(ca) },
    authenticate: cloudTokens(clusters, { cloud, reference }),
  };
}

/** `Platform["clusters"]`, as one type for each cloud. */
type Clouds = { [Cloud in keyof CloudReferences]?: () => Promise<ManagedClusters<CloudReferences[Cloud]>> };

/** What opens a cloud's managed clusters. Throws `invalid` where they can't be had here. */
export function openManaged<Cloud extends keyof CloudReferences>(
  clusters: Clouds,
  cloud: Cloud,
): NonNullable<Clouds[Cloud]> {
  const found = clusters[cloud];
  if (found) return found;
  throw new LifeboatError("invalid", `the cluster is one of ${CLOUD_NAMES[cloud]}, whose tokens can't be had here`, {
    hint: "run where that cloud's identity is at hand, or give a kubeconfig with a service account's token",
  });
}

function cloudTokens<Cloud extends keyof CloudReferences>(clusters: Clouds, user: CloudUser<Cloud>): Authorize {
  const managed = openManaged(clusters, user.cloud);
  return renewedInTime(async (signal) => (await managed()).token(user.reference, signal));
}

/** A bearer token and when it ends. */
type Token = Awaited<ReturnType<ManagedClusters<never>["token"]>>;

const MARGIN_MS = 60_000;

/**
 * Credentials to be renewed a minute before the token ends (or when a third of its time is left, if that is less): a
 * request that is under way then still finds it good, and a cloud that can't answer now may be asked again, for until its
 * end the token in hand goes on being used.
 */
function renewedInTime(ask: (signal: AbortSignal) => Promise<Token>): Authorize {
  let held: Token | undefined;
  return async (signal) => {
    try {
      held = await ask(signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!held || held.expires.getTime() <= Date.now()) throw error;
    }
    const left = held.expires.getTime() - Date.now();
    return {
      ...bearer(held.token),
      renewed: true,
      expires: new Date(held.expires.getTime() - Math.min(MARGIN_MS, left / 3)),
    };
  };
}
