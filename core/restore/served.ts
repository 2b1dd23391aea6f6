import type { Discovery } from "../kube/discovery.ts";
import { type Resource, resourceApiVersion, resourceKey } from "../kube/resource.ts";
import { type Conversions, conversionHint, conversionKey } from "./apiversions.ts";
import type { Item } from "./survey.ts";

/** What the target serves, by the items of a backup. */
export interface Served {
  /** The resource of the item's group, name and version; undefined where the target doesn't serve it. */
  find(item: Item): Resource | undefined;
  /** The version of a resource (a group-resource string) that the server prefers. */
  preferred(resource: string): Resource | undefined;
  /** Why `find` finds nothing. */
  absence(item: Item): string;
  /** Whether the item's API is announced, and what should serve it is down. */
  down(item: Item): boolean;
}

/** `conversions`: the versions that the target takes in place of those it doesn't serve. */
export function servedBy({ resources, warnings }: Discovery, conversions: Conversions = new Map()): Served {
  const byVersion = new Map(
    resources.map((resource) => [`${resourceKey(resource)} ${resourceApiVersion(resource)}`, resource]),
  );
  const preferred = (key: string) => resources.find((resource) => resourceKey(resource) === key && resource.preferred);
  const brokenGroup = ({ resource }: Item["entry"]) => warnings.find(({ group }) => resource.endsWith(`.${group}`));
  return {
    preferred,
    find: ({ entry, namespace }) => {
      const { resource, apiVersion } = entry;
      const taken = conversions.get(conversionKey(resource, apiVersion)) ?? apiVersion;
      const found = byVersion.get(`${resource} ${taken}`);
      return found && found.namespaced === (namespace !== "") ? found : undefined;
    },
    down: ({ entry }) => brokenGroup(entry) !== undefined,
    absence: ({ entry }) => {
      const versions = resources.filter((resource) => resourceKey(resource) === entry.resource);
      if (byVersion.has(`${entry.resource} ${entry.apiVersion}`)) {
        return `here ${entry.resource} are ${versions[0]?.namespaced ? "" : "not "}namespaced, in the backup they are${versions[0]?.namespaced ? " not" : ""}`;
      }
      const served = versions.map(resourceApiVersion).join(", ");
      const broken = brokenGroup(entry);
      if (broken) return `${entry.apiVersion} can't be reached: ${broken.message}`;
      const hint = conversionHint(entry.resource, served);
      return `this cluster doesn't serve ${entry.resource} as ${entry.apiVersion}${hint}`;
    },
  };
}
