import { isLifeboatError, LifeboatError, messageOf } from "../../errors.ts";
import type { Kube } from "../../kube/client.ts";
import { listPages } from "../../kube/list.ts";
import type { Log } from "../../log.ts";
import type { Fix } from "../fixes.ts";
import type { Served } from "../served.ts";
import type { RestoreSpec } from "../spec.ts";
import type { RestoreSurvey } from "../survey.ts";
import { CLASS_FIXES } from "./classes.ts";
import { DOMAIN_FIXES } from "./domains.ts";
import { IMAGE_FIXES, type ImageRule } from "./images.ts";
import { PARKING_FIXES } from "./parking.ts";
import { readPluginConfig } from "./pluginconfig.ts";

/** What makes a restore a clone: the fields of the spec, and what Velero's own ConfigMaps in the target add to them. */
export interface CloneOptions
  extends Pick<
    RestoreSpec,
    "domainMapping" | "registryMapping" | "storageClassMapping" | "ingressClassMapping" | "scaleTo"
  > {
  imageRules?: ImageRule[];
}

/** Every change that only clones see. They come before all others, so that those see what the clone will have. */
export const CLONE_FIXES: Fix[] = [...DOMAIN_FIXES, ...IMAGE_FIXES, ...CLASS_FIXES, ...PARKING_FIXES];

const STORAGE_CLASSES = "storageclasses.storage.k8s.io";

/**
 * The options of a spec, completed by Velero's ConfigMaps; what the spec says wins. Throws `invalid` where a storage
 * class is mapped to one that neither the target has nor the restore brings: every claim of it would wait for ever.
 */
export async function readClone(
  spec: RestoreSpec,
  {
    kube,
    served,
    survey,
    signal,
    log,
  }: { kube: Kube; served: Served; survey: RestoreSurvey; signal: AbortSignal; log: Log },
): Promise<CloneOptions> {
  const { domainMapping, registryMapping, ingressClassMapping, scaleTo } = spec;
  const config = await readPluginConfig(kube, signal).catch((error) => {
    if (!isLifeboatError(error, "denied")) throw error;
    log("warning", "Velero's own ConfigMaps can't be read: they are taken for absent", { error: messageOf(error) });
    return undefined;
  });
  const { storageClasses, images } = config ?? {};
  const classes = [
    { source: `ConfigMap velero/${storageClasses?.name}`, mapping: storageClasses?.mapping ?? {} },
    { source: "storageClassMapping", mapping: spec.storageClassMapping ?? {} },
  ];
  const names = new Set(survey.items.filter(({ entry }) => entry.resource === STORAGE_CLASSES).map(({ name }) => name));
  if (classes.some(({ mapping }) => Object.values(mapping).some((to) => !names.has(to))))
    for (const name of await liveClasses(kube, served, signal)) names.add(name);
  for (const { source, mapping } of classes) checkClasses(source, mapping, names);
  return {
    domainMapping,
    registryMapping,
    ingressClassMapping,
    scaleTo,
    storageClassMapping: Object.assign({}, ...classes.map(({ mapping }) => mapping)),
    imageRules: images?.rules,
  };
}

function checkClasses(source: string, mapping: Record<string, string>, names: Set<string>): void {
  for (const [from, to] of Object.entries(mapping)) {
    if (names.has(to)) continue;
    throw new LifeboatError("invalid", `${source} maps "${from}" to "${to}", but there is no storage class "${to}"`, {
      hint: names.size
        ? `there are ${[...names].sort().join(", ")}`
        : "neither the cluster nor what is restored has one: create it first",
    });
  }
}

async function liveClasses(kube: Kube, served: Served, signal: AbortSignal): Promise<string[]> {
  const resource = served.preferred(STORAGE_CLASSES);
  const names: string[] = [];
  if (!resource) return names;
  for await (const { items } of listPages(kube, resource, { signal })) {
    for (const item of items) names.push(JSON.parse(item.toString("utf8")).metadata.name);
  }
  return names;
}
