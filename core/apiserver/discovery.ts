import { resourceApiVersion } from "../kube/resource.ts";
import { compareVersions, type ServedResource } from "./resources.ts";

/** The verbs of every resource of a cluster in memory: those of the real server but watch and deletecollection. */
export const VERBS = ["create", "delete", "get", "list", "patch", "update"];

const STATUS_VERBS = ["get", "patch", "update"];

/** The media type of aggregated discovery, asked for by `Accept` and named in the answer. */
export const AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/** Whether an `Accept` header asks for aggregated discovery in the version served here, v2. */
export function wantsAggregated(accept: string): boolean {
  return accepted(accept, "apidiscovery.k8s.io", "v2").includes("APIGroupDiscoveryList");
}

/** The kinds of a group's version that an `Accept` header asks to be shown, `as` it says, in its order; "" for plain JSON. */
export function accepted(accept: string, group: string, version: string): string[] {
  return accept.split(",").flatMap((type) => {
    const [media, ...parameters] = type.split(";").map((part) => part.trim());
    const given = new URLSearchParams(parameters.join("&"));
    const as = given.get("as");
    if (media !== "application/json" || as === null) return [""];
    return given.get("g") === group && given.get("v") === version ? [as] : [];
  });
}

/** `/api`, unaggregated. */
export function coreVersions(): object {
  return { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [] };
}

/** `/apis`, unaggregated. */
export function groupList(served: ServedResource[]): object {
  const groups = [...byGroup(served)].map(([group, resources]) => groupEntry(group, resources));
  return { kind: "APIGroupList", apiVersion: "v1", groups };
}

/** `/apis/<group>`, or undefined where nothing of that group is served. */
export function oneGroup(served: ServedResource[], group: string): object | undefined {
  const resources = byGroup(served).get(group);
  return resources && { kind: "APIGroup", apiVersion: "v1", ...groupEntry(group, resources) };
}

/** `/api/v1` and `/apis/<group>/<version>`, or undefined where nothing of that version is served. */
export function resourceList(
  served: ServedResource[],
  verbs: string[],
  group: string,
  version: string,
): object | undefined {
  const resources = served.filter((resource) => resource.group === group && resource.version === version);
  if (resources.length === 0) return undefined;
  const entries = resources.flatMap((resource) => {
    const { name, singular, namespaced, kind, hasStatus } = resource;
    const main = { name, singularName: singular, namespaced, kind, verbs, ...names(resource) };
    const status = { name: `${name}/status`, singularName: "", namespaced, kind, verbs: STATUS_VERBS };
    return hasStatus ? [main, status] : [main];
  });
  return {
    kind: "APIResourceList",
    apiVersion: "v1",
    groupVersion: resourceApiVersion({ group, version }),
    resources: entries,
  };
}

/** `/api` (the core group alone) or `/apis` (all others), aggregated. */
export function aggregated(served: ServedResource[], verbs: string[], core: boolean): object {
  const groups = core ? [["", served.filter(({ group }) => group === "")] as const] : [...byGroup(served)];
  const items = groups.map(([group, resources]) => ({
    metadata: group === "" ? {} : { name: group },
    versions: versionsOf(resources).map((version) => ({
      version,
      freshness: "Current",
      resources: resources
        .filter((resource) => resource.version === version)
        .map((resource) => aggregatedEntry(resource, verbs)),
    })),
  }));
  return { kind: "APIGroupDiscoveryList", apiVersion: "apidiscovery.k8s.io/v2", metadata: {}, items };
}

function aggregatedEntry(resource: ServedResource, verbs: string[]): object {
  const { group, version, kind, name, namespaced, singular, hasStatus } = resource;
  const responseKind = { group, version, kind };
  const status = { subresource: "status", responseKind, verbs: STATUS_VERBS };
  return {
    resource: name,
    responseKind,
    scope: namespaced ? "Namespaced" : "Cluster",
    singularResource: singular,
    verbs,
    ...names(resource),
    ...(hasStatus ? { subresources: [status] } : {}),
  };
}

function names({ shortNames, categories }: ServedResource): object {
  return { ...(shortNames.length > 0 ? { shortNames } : {}), ...(categories.length > 0 ? { categories } : {}) };
}

function byGroup(served: ServedResource[]): Map<string, ServedResource[]> {
  return Map.groupBy(
    served.filter(({ group }) => group !== ""),
    ({ group }) => group,
  );
}

function groupEntry(group: string, resources: ServedResource[]): object {
  const versions = versionsOf(resources).map((version) => ({
    groupVersion: resourceApiVersion({ group, version }),
    version,
  }));
  return { name: group, versions, preferredVersion: versions[0] };
}

/** The versions of a group, the preferred one first. */
function versionsOf(resources: ServedResource[]): string[] {
  return [...new Set(resources.map(({ version }) => version))].sort(compareVersions);
}
