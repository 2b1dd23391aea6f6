import { messageOf } from "../errors.ts";
import { expectOk, type Kube } from "./client.ts";
import { type Resource, resourceApiVersion } from "./resource.ts";
import { notKubernetes } from "./scan.ts";

/** What a cluster serves. */
export interface Discovery {
  /** Every resource in every version that is served, in the server's order; subresources left out. */
  resources: Resource[];
  /** One for each group of which a version could not be had: its backend is dead. */
  warnings: { group: string; message: string }[];
  version: { gitVersion: string; major: string; minor: string };
}

const AGGREGATED = [
  "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
  "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
  "application/json",
].join(",");

/** The first answers tell whether the server is there at all: they get less time than a list. */
const FIRST_ANSWER_MS = 10_000;
/** For all group versions that are asked one by one together: dead ones cost no more than this. */
const GROUPS_MS = 5_000;

/**
 * Asks the server what it serves: by its two aggregated documents (Kubernetes 1.26 and later), else group by group. A
 * version that the aggregated document calls stale is asked by itself. Where that gives no answer either, the backend
 * is dead: its group is warned about and the rest goes on, as in Velero. Throws what `request` and `expectOk` throw.
 */
export async function discover(kube: Kube, options: { signal?: AbortSignal } = {}): Promise<Discovery> {
  const { signal } = options;
  const first = { accept: AGGREGATED, signal, timeoutMs: FIRST_ANSWER_MS };
  const [version, core, named] = await Promise.all([
    getJson<Discovery["version"]>(kube, { ...first, path: "/version", accept: undefined }),
    getJson<GroupDocument>(kube, { ...first, path: "/api" }),
    getJson<GroupDocument>(kube, { ...first, path: "/apis" }),
  ]);
  const { warnings, versions } = await askByThemselves(kube, [...groupVersions(core), ...groupVersions(named)], signal);
  const { gitVersion, major, minor } = version;
  return {
    resources: markPreferred(versions.flatMap(({ resources }) => resources ?? [])),
    warnings,
    version: { gitVersion, major, minor },
  };
}

/** One version of a group, in the server's order of preference; without resources where they must be asked for. */
interface GroupVersion {
  group: string;
  version: string;
  resources?: Resource[];
}

/** The documents `/api` and `/apis` may be: aggregated (`items`), or the old ones, of `versions` and of `groups`. */
interface GroupDocument {
  kind?: string;
  items?: { metadata?: { name?: string }; versions?: AggregatedVersion[] }[];
  versions?: string[];
  groups?: { name: string; versions: { version: string }[]; preferredVersion?: { version: string } }[];
}

interface AggregatedVersion {
  version: string;
  freshness?: "Current" | "Stale";
  resources?: {
    resource: string;
    responseKind?: { kind?: string };
    scope?: string;
    singularResource?: string;
    shortNames?: string[];
    verbs?: string[];
  }[];
}

interface ResourceDocument {
  resources?: {
    name: string;
    kind: string;
    singularName?: string;
    shortNames?: string[];
    namespaced?: boolean;
    verbs?: string[];
  }[];
}

function groupVersions(document: GroupDocument): GroupVersion[] {
  if (document.kind === "APIGroupDiscoveryList") {
    return (document.items ?? []).flatMap(({ metadata, versions }) =>
      (versions ?? []).map((version) => aggregated(metadata?.name ?? "", version)),
    );
  }
  if (document.kind === "APIVersions") return (document.versions ?? []).map((version) => ({ group: "", version }));
  if (document.kind !== "APIGroupList") throw notKubernetes("not a discovery document");
  return (document.groups ?? []).flatMap(({ name, versions, preferredVersion }) => {
    const ordered = new Set([preferredVersion, ...versions].flatMap((entry) => entry?.version ?? []));
    return [...ordered].map((version) => ({ group: name, version }));
  });
}

function aggregated(group: string, { version, freshness, resources }: AggregatedVersion): GroupVersion {
  if (freshness === "Stale") return { group, version };
  return {
    group,
    version,
    resources: (resources ?? [])
      .filter(({ responseKind }) => responseKind?.kind)
      .map(({ resource, responseKind, scope, singularResource, shortNames, verbs }) => ({
        group,
        version,
        name: resource,
        kind: responseKind?.kind ?? "",
        singular: singularResource ?? "",
        shortNames: shortNames ?? [],
        namespaced: scope === "Namespaced",
        verbs: verbs ?? [],
        preferred: false,
      })),
  };
}

/** Fills in the resources of those versions that lack them, all at once. The core group must answer: it is the server. */
async function askByThemselves(
  kube: Kube,
  versions: GroupVersion[],
  signal: AbortSignal | undefined,
): Promise<{ versions: GroupVersion[]; warnings: Discovery["warnings"] }> {
  const patience = AbortSignal.timeout(GROUPS_MS);
  const limited = signal ? AbortSignal.any([signal, patience]) : patience;
  const silent = new Map<string, string>();
  const ask = async (asked: GroupVersion): Promise<GroupVersion> => {
    if (asked.resources) return asked;
    const apiVersion = resourceApiVersion(asked);
    try {
      const path = `/${asked.group ? "apis" : "api"}/${apiVersion}`;
      const document = await getJson<ResourceDocument>(kube, { path, signal: asked.group ? limited : signal });
      return { ...asked, resources: classic(asked, document) };
    } catch (error) {
      signal?.throwIfAborted();
      if (!asked.group) throw error;
      const why = limited.aborted ? `no answer within ${GROUPS_MS / 1000} s` : messageOf(error);
      silent.set(
        asked.group,
        `${apiVersion} is announced but its backend does not serve it, so its objects are left out: ${why}`,
      );
      return asked;
    }
  };
  const asked = await Promise.all(versions.map(ask));
  return { versions: asked, warnings: [...silent].map(([group, message]) => ({ group, message })) };
}

function classic({ group, version }: GroupVersion, document: ResourceDocument): Resource[] {
  return (document.resources ?? []).map(({ name, kind, singularName, shortNames, namespaced, verbs }) => ({
    group,
    version,
    name,
    kind,
    singular: singularName ?? "",
    shortNames: shortNames ?? [],
    namespaced: namespaced ?? false,
    verbs: verbs ?? [],
    preferred: false,
  }));
}

/** Without subresources; preferred is the first version that has a resource, since versions come in the server's order. */
function markPreferred(resources: Resource[]): Resource[] {
  const seen = new Set<string>();
  return resources
    .filter((resource) => !resource.name.includes("/"))
    .map((resource) => {
      const key = `${resource.name}.${resource.group}`;
      const preferred = !seen.has(key);
      seen.add(key);
      return { ...resource, singular: resource.singular || resource.kind.toLowerCase(), preferred };
    });
}

async function getJson<T>(
  kube: Kube,
  request: { path: string; accept?: string; signal?: AbortSignal; timeoutMs?: number },
): Promise<T> {
  const { body } = expectOk(await kube.request(request), `tell what it serves at ${request.path}`);
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    throw notKubernetes("not JSON");
  }
}
