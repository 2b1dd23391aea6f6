import type { KubernetesObject } from "../../archive/item.ts";
import { LifeboatError } from "../../errors.ts";
import { expectOk, type Kube } from "../../kube/client.ts";
import { resourcePath } from "../../kube/resource.ts";
import type { ImageRule } from "./images.ts";

/** What Velero's own ConfigMaps in the target say (velero-format: 5.7), with the name of each. */
export interface PluginConfig {
  storageClasses?: { name: string; mapping: Record<string, string> };
  images?: { name: string; rules: ImageRule[] };
}

const NAMESPACE = "velero";
const CONFIG_MAPS = { group: "", version: "v1", name: "configmaps" };
const KIND = "RestoreItemAction";
const STORAGE_CLASS = "velero.io/change-storage-class";
const IMAGE_NAME = "velero.io/change-image-name";

/**
 * Reads the ConfigMaps of namespace `velero` by which Velero changes storage classes and images on restore. Throws
 * `invalid` where there are two for the same (as Velero refuses then), and what `expectOk` throws.
 */
export async function readPluginConfig(kube: Kube, signal: AbortSignal): Promise<PluginConfig> {
  const query = { labelSelector: "velero.io/plugin-config" };
  const response = await kube.request({ path: resourcePath(CONFIG_MAPS, NAMESPACE), query, signal });
  const list = expectOk(response, `list configmaps in namespace ${NAMESPACE}`).body.toString("utf8");
  const { items } = JSON.parse(list) as { items: KubernetesObject[] };
  const [storage, image] = [only(items, STORAGE_CLASS), only(items, IMAGE_NAME)];
  return {
    ...(storage && { storageClasses: { name: storage.metadata.name, mapping: dataOf(storage) } }),
    ...(image && { images: { name: image.metadata.name, rules: imageRules(dataOf(image)) } }),
  };
}

/**
 * The rules of `velero.io/change-image-name`, each an "old,new". Velero takes the first that matches in random order;
 * here it is the order of the keys.
 */
export function imageRules(data: Record<string, string>): ImageRule[] {
  return Object.keys(data)
    .sort()
    .flatMap((key) => {
      const [, from = "", to = ""] = /^([^,]*),(.*)$/s.exec(data[key]!) ?? [];
      return from.trim() && to ? [{ from: from.trim(), to: to.trim() }] : [];
    });
}

function only(items: KubernetesObject[], action: string): KubernetesObject | undefined {
  const found = items.filter(({ metadata }) => metadata.labels?.[action] === KIND);
  if (found.length < 2) return found[0];
  const names = found.map(({ metadata }) => metadata.name).join(" and ");
  throw new LifeboatError("invalid", `namespace ${NAMESPACE} has two ConfigMaps for ${action}: ${names}`, {
    hint: "Velero takes only one: delete the other, or its label",
  });
}

function dataOf(object: KubernetesObject): Record<string, string> {
  return (object.data ?? {}) as Record<string, string>;
}
