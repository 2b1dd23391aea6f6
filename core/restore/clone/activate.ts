import pLimit from "p-limit";
import type { KubernetesObject } from "../../archive/item.ts";
import { readRestore } from "../../catalog.ts";
import { LifeboatError, messageOf } from "../../errors.ts";
import { expectOk, type Kube } from "../../kube/client.ts";
import { readClusterUid } from "../../kube/clusteruid.ts";
import { discover } from "../../kube/discovery.ts";
import { throwIfGone } from "../../kube/gone.ts";
import { parseExact } from "../../kube/json.ts";
import { listPages } from "../../kube/list.ts";
import { type Resource, resourceKey, resourcePath } from "../../kube/resource.ts";
import { labelValue, RESTORE_NAME } from "../../labels.ts";
import { goJson } from "../../objects/fields.ts";
import type { Bucket } from "../../ports.ts";
import type { Problem } from "../../report.ts";
import { readNotes } from "../undo/notes.ts";
import { intoAnother } from "../undo/remains.ts";
import { PARKINGS, type Parking, unparking } from "./parking.ts";

/** What activating a restore did: the same for the command line and whoever calls it. */
export interface ActivationDocument {
  schemaVersion: 1;
  kind: "activation";
  restore: string;
  backup: string;
  counts: Record<"activated" | "failed", number>;
  /** Every object that was set going, and how: its resource as a group-resource string. */
  activated: { resource: string; namespace: string; name: string; change: string }[];
  errors: Problem[];
}

const AT_ONCE = 16;
/** How often an object is tried again that others change in between. */
const ATTEMPTS = 5;

/**
 * Sets going what a restore with `scaleTo` brought up standing still: as many replicas as in the backup, Jobs and
 * CronJobs no longer suspended. It is found by the restore's label and our annotation, which goes with the same
 * request; so a run that was stopped can be run again, and a second one finds nothing.
 *
 * Throws `missing` for an unknown restore, `invalid` for one that scaled nothing or was made into another cluster, `unreachable`
 * when the server is gone. What happens to single objects is in the answer.
 */
export async function activateRestore(run: {
  kube: Kube;
  bucket: Bucket;
  name: string;
  signal: AbortSignal;
}): Promise<ActivationDocument> {
  const { kube, bucket, name, signal } = run;
  const { spec } = await readRestore(bucket, name, signal);
  if (spec.scaleTo === undefined) {
    throw new LifeboatError(
      "invalid",
      `restore "${name}" brought everything up as it was: there is nothing to activate`,
      {
        hint: "only what was restored with --scale-to is activated",
      },
    );
  }
  await checkCluster(run);
  const document: ActivationDocument = {
    schemaVersion: 1,
    kind: "activation",
    restore: name,
    backup: spec.backupName ?? "",
    counts: { activated: 0, failed: 0 },
    activated: [],
    errors: [],
  };
  const { resources } = await discover(kube, { signal });
  const selector = `${RESTORE_NAME}=${labelValue(name)}`;
  for (const parking of PARKINGS) {
    for (const key of parking.resources) {
      const resource = resources.find((one) => resourceKey(one) === key && one.preferred);
      if (resource) await activateAll({ ...run, resource, parking, selector, document });
    }
  }
  return document;
}

/** Throws `invalid` where the restore noted another cluster. One that noted none, or a cluster that hides which it is, passes. */
async function checkCluster({
  kube,
  bucket,
  name,
  signal,
}: {
  kube: Kube;
  bucket: Bucket;
  name: string;
  signal: AbortSignal;
}) {
  const notes = await readNotes(bucket, name, signal);
  const uid = await readClusterUid(kube, signal);
  if (uid === undefined) return;
  if (notes.length === 0 || notes.some(({ clusterUid }) => clusterUid === "" || clusterUid === uid)) return;
  throw intoAnother(name);
}

interface Activating {
  kube: Kube;
  signal: AbortSignal;
  resource: Resource;
  parking: Parking;
  selector: string;
  document: ActivationDocument;
}

async function activateAll(activating: Activating): Promise<void> {
  const { kube, signal, resource, parking, selector, document } = activating;
  const limit = pLimit(AT_ONCE);
  const one = async (object: KubernetesObject) => {
    const { namespace = "", name } = object.metadata;
    const subject = { resource: resourceKey(resource), namespace, name };
    try {
      const change = await activate(object, activating);
      if (!change) return;
      document.counts.activated++;
      document.activated.push({ ...subject, change });
    } catch (error) {
      await throwIfGone(kube, error, signal);
      document.counts.failed++;
      document.errors.push({ ...subject, message: messageOf(error) });
    }
  };
  const parked: KubernetesObject[] = [];
  for await (const page of listPages(kube, resource, { labelSelector: selector, signal })) {
    const objects = page.items.map((body) => parseExact(body) as KubernetesObject);
    parked.push(...objects.filter(({ metadata }) => metadata.annotations?.[parking.annotation] !== undefined));
  }
  await Promise.all(parked.map((object) => limit(one, object)));
}

/** Sets one object going; says how, or undefined where it was not for us to do. */
async function activate(
  object: KubernetesObject,
  { kube, signal, resource, parking }: Activating,
): Promise<string | undefined> {
  const path = resourcePath(resource, object.metadata.namespace, object.metadata.name);
  let live = object;
  for (let attempt = 1; ; attempt++) {
    const patch = unparking(live, parking);
    if (!patch || live.metadata.deletionTimestamp) return undefined;
    const response = await kube.request({
      method: "PATCH",
      path,
      contentType: "application/merge-patch+json",
      query: { fieldManager: "lifeboat" },
      body: goJson(patch),
      signal,
    });
    if (response.status === 404) return undefined;
    if (response.status !== 409 || attempt === ATTEMPTS) {
      expectOk(response, `activate ${resourceKey(resource)} ${object.metadata.name}`);
      return patch.spec ? parking.told(live.metadata.annotations?.[parking.annotation] ?? "") : undefined;
    }
    const read = await kube.request({ path, signal });
    if (read.status === 404) return undefined;
    live = parseExact(expectOk(read, `read ${resourceKey(resource)} ${object.metadata.name}`).body) as KubernetesObject;
  }
}
