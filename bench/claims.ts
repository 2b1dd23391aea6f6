import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { type KubernetesObject, startApiServer } from "./lifeboat.ts";

/**
 * Measures what bound claims cost a backup: the peak memory of `backup create` of the built command line, of so many claims with
 * their volumes, bound and not, in turn. None is copied, and nothing is told of any: what is measured is what a run keeps of
 * each until all else has been read. The cluster is in this process.
 */
const { values } = parseArgs({
  options: { claims: { type: "string", default: "5000" }, repeat: { type: "string", default: "5" } },
});
const claims = Number(values.claims);

const run = promisify(execFile);
const root = join(import.meta.dirname, "..");
const dir = await mkdtemp(join(tmpdir(), "lifeboat-bench-"));

/** As API servers keep them, for each of two who wrote the object: 1.1 KB. */
const managedFields = (fields: string[]) =>
  ["kube-controller-manager", "csi-provisioner"].map((manager) => ({
    ...{ manager, operation: "Update", apiVersion: "v1", time: "2026-11-01T00:00:00Z", fieldsType: "FieldsV1" },
    fieldsV1: Object.fromEntries(fields.map((field) => [`f:${field}`, { ".": {}, "f:name": {}, "f:value": {} }])),
  }));

/** A claim of a namespace of 50 and its volume, which it names where it is bound. */
function* claimed(index: number, bound: boolean): Generator<KubernetesObject> {
  const name = `data-${index}`;
  const namespace = `app-${Math.floor(index / 50)}`;
  const asked = { accessModes: ["ReadWriteOnce"], storageClassName: "fast", volumeMode: "Filesystem" };
  if (index % 50 === 0) yield { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } };
  yield {
    ...{ apiVersion: "v1", kind: "PersistentVolumeClaim" },
    metadata: {
      ...{
        namespace,
        name,
        uid: `claim-${index}`,
        labels: { app: name },
        finalizers: ["kubernetes.io/pvc-protection"],
      },
      annotations: {
        "pv.kubernetes.io/bind-completed": "yes",
        "volume.kubernetes.io/storage-provisioner": "csi.example",
      },
      managedFields: managedFields(["metadata", "spec", "status", "accessModes", "resources", "volumeName"]),
    },
    spec: { ...asked, resources: { requests: { storage: "10Gi" } }, ...(bound && { volumeName: `pv-${index}` }) },
    status: { phase: bound ? "Bound" : "Pending", accessModes: ["ReadWriteOnce"], capacity: { storage: "10Gi" } },
  };
  yield {
    ...{ apiVersion: "v1", kind: "PersistentVolume" },
    metadata: {
      ...{ name: `pv-${index}`, uid: `volume-${index}`, finalizers: ["kubernetes.io/pv-protection"] },
      annotations: { "pv.kubernetes.io/provisioned-by": "csi.example" },
      managedFields: managedFields(["metadata", "spec", "status", "accessModes", "claimRef", "csi", "nodeAffinity"]),
    },
    spec: {
      ...{ ...asked, capacity: { storage: "10Gi" }, persistentVolumeReclaimPolicy: "Delete" },
      claimRef: { apiVersion: "v1", kind: "PersistentVolumeClaim", namespace, name, uid: `claim-${index}` },
      csi: { driver: "csi.example", volumeHandle: `vol-${index}`, volumeAttributes: { pool: "ssd", format: "ext4" } },
    },
    status: { phase: "Bound" },
  };
}

/** 10^6 bytes. */
async function peakOf(name: string, kubeconfig: string): Promise<number> {
  const peak = join(dir, "peak");
  const create = ["backup", "create", name, "--snapshot-volumes=false", "--location", `file://${dir}`];
  await run(
    process.execPath,
    ["--import", join(root, "bench/peak.mjs"), join(root, "dist/lifeboat.mjs"), ...create, "--kubeconfig", kubeconfig],
    { env: { ...process.env, PEAK_FILE: peak } },
  );
  const { peakKiB } = JSON.parse(await readFile(peak, "utf8"));
  return (peakKiB * 1024) / 1e6;
}

const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;

try {
  await run("npm", ["run", "build", "--silent"], { cwd: root });
  const peaks: Record<string, number[]> = { bound: [], unbound: [] };
  const servers = await Promise.all(
    Object.keys(peaks).map(async (how) => {
      const objects = Array.from({ length: claims }, (_, index) => [...claimed(index, how === "bound")]).flat();
      const server = await startApiServer({ objects });
      const kubeconfig = join(dir, `${how}.yaml`);
      await writeFile(kubeconfig, server.kubeconfig);
      return { how, server, kubeconfig };
    }),
  );
  for (let round = 0; round < Number(values.repeat); round++)
    for (const { how, kubeconfig } of servers) peaks[how]!.push(await peakOf(`${how}-${round}`, kubeconfig));
  for (const { server } of servers) await server.stop();
  const [bound, unbound] = [median(peaks.bound!), median(peaks.unbound!)];
  const each = ((bound - unbound) * 1000) / claims;
  process.stdout.write(
    `${claims} claims: peak ${bound.toFixed(0)} MB bound, ${unbound.toFixed(0)} MB not: ${each.toFixed(1)} KB each\n`,
  );
} finally {
  await rm(dir, { recursive: true, force: true });
}
