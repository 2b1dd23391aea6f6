import type { KubernetesObject } from "../archive/item.ts";
import { at, entriesOf, type Fields, fieldsAt } from "../objects/fields.ts";
import type { InZone } from "../ports.ts";
import { ZONES } from "./zone.ts";

/** Whose disks they are. */
export type DiskCloud = "aws" | "gcp" | "azure";

/** Where a PersistentVolume names a cloud's disk, and how the name is read from there and written there. */
interface Source {
  cloud: DiskCloud;
  /** The field of its spec; of `csi` only with this driver. */
  field: string;
  driver?: string;
  read(source: Fields): string | undefined;
  write(source: Fields, id: string, zone: string): void;
}

const csi = (cloud: DiskCloud, driver: string, form: RegExp): Source => ({
  cloud,
  field: "csi",
  driver,
  read: ({ volumeHandle }) => form.exec(text(volumeHandle))?.[1],
  write: (source, id) => {
    source.volumeHandle = id;
  },
});

const SOURCES: Source[] = [
  csi("aws", "ebs.csi.aws.com", /^(vol-[0-9a-f]+)$/),
  // A volume that was moved over from in-tree may have UNSPECIFIED for project and zone; then its name is all there is.
  csi("gcp", "pd.csi.storage.gke.io", /^(?:projects\/UNSPECIFIED\/zones\/UNSPECIFIED\/disks\/)?([^/]+|projects\/.+)$/),
  csi("azure", "disk.csi.azure.com", /^(\/subscriptions\/.+\/disks\/[^/]+)$/i),
  {
    cloud: "aws",
    field: "awsElasticBlockStore",
    read: ({ volumeID }) => /^(?:aws:\/\/[^/]*\/)?(vol-[0-9a-f]+)$/.exec(text(volumeID))?.[1],
    write: (source, id, zone) => {
      source.volumeID = text(source.volumeID).startsWith("aws://") ? `aws://${zone}/${id}` : id;
    },
  },
  {
    cloud: "gcp",
    field: "gcePersistentDisk",
    read: ({ pdName }) => text(pdName) || undefined,
    write: (source, id) => {
      source.pdName = id.split("/").at(-1);
    },
  },
  {
    cloud: "azure",
    field: "azureDisk",
    // An unmanaged disk is a blob, whose URI is a URL.
    read: ({ diskURI }) => /^\/subscriptions\/.+\/disks\/[^/]+$/i.exec(text(diskURI))?.[0],
    write: (source, id) => {
      source.diskURI = id;
      source.diskName = id.split("/").at(-1);
    },
  },
];

const ZONE_LABELS = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];
const GKE_ZONE = "topology.gke.io/zone";
/** The keys of a volume's node affinity that name its zone, as Velero looks for them (velero-format: 6.1). */
const ZONE_KEYS = ["topology.ebs.csi.aws.com/zone", "topology.disk.csi.azure.com/zone", GKE_ZONE, ...ZONE_LABELS];

/** The disk of a cloud that a PersistentVolume is; undefined for any other volume. Its zone is found by Velero's rule. */
export function diskOf(volume: KubernetesObject): ({ cloud: DiskCloud } & InZone) | undefined {
  const found = sourceOf(volume);
  const id = found?.source.read(found.fields);
  return found && id ? { cloud: found.source.cloud, id, zone: zoneOf(volume) } : undefined;
}

/**
 * Makes a PersistentVolume, in place, one of another disk of the same cloud, which is in `zone`: its name, its zone
 * labels and its node affinity, which stays as it is where it takes the zone already. Nothing happens to other volumes.
 */
export function withDisk(volume: KubernetesObject, id: string, zone: string): void {
  const found = sourceOf(volume);
  if (!found) return;
  found.source.write(found.fields, id, zone);
  const labels = volume.metadata.labels ?? {};
  for (const name of ZONE_LABELS) if (labels[name] !== undefined) labels[name] = zone;
  moveAffinity(volume, zone.split(ZONES));
}

function sourceOf(volume: KubernetesObject): { source: Source; fields: Fields } | undefined {
  for (const source of SOURCES) {
    const fields = fieldsAt(volume, "spec", source.field);
    if (fields && (!source.driver || fields.driver === source.driver)) return { source, fields };
  }
  return undefined;
}

function zoneOf(volume: KubernetesObject): string {
  const label = ZONE_LABELS.map((name) => volume.metadata.labels?.[name]).find((value) => value !== undefined);
  if (label !== undefined) return label;
  const named = termsOf(volume)
    .flatMap(zoneExpressions)
    .filter(({ values }) => values.length > 0);
  const [first] = named;
  if (first?.key !== GKE_ZONE) return first?.values[0] ?? "";
  return named.flatMap(({ key, values }) => (key === GKE_ZONE ? values : [])).join(ZONES);
}

/** Of several terms one is left for each zone: any of them suffices, and each may name a region or more beside. */
function moveAffinity(volume: KubernetesObject, zones: string[]): void {
  const terms = termsOf(volume);
  const named = terms.filter((term) => zoneExpressions(term).length > 0);
  const [model] = named;
  const taken = named.flatMap((term) => zoneExpressions(term).flatMap(({ values }) => values));
  if (!model || zones.every((zone) => taken.includes(zone))) return;
  const together = zoneExpressions(model).some(({ values }) => values.length > 1);
  const moved = (together ? [zones] : zones.map((zone) => [zone])).map((values) => {
    const term = structuredClone(model);
    for (const { expression } of zoneExpressions(term)) expression.values = values;
    return term;
  });
  const required = fieldsAt(volume, "spec", "nodeAffinity", "required");
  if (required) required.nodeSelectorTerms = [...moved, ...terms.filter((term) => !named.includes(term))];
}

const termsOf = (volume: KubernetesObject) =>
  entriesOf(volume, "spec", "nodeAffinity", "required", "nodeSelectorTerms");

function zoneExpressions(term: Fields): { expression: Fields; key: string; values: string[] }[] {
  return entriesOf(term, "matchExpressions").flatMap((expression) => {
    const key = ZONE_KEYS.find((one) => one === expression.key);
    const values = at(expression, "values");
    if (!key || expression.operator !== "In" || !Array.isArray(values)) return [];
    return [{ expression, key, values: values.filter((value) => typeof value === "string") }];
  });
}

const text = (value: unknown): string => (typeof value === "string" ? value : "");
