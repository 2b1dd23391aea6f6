import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gunzipSync } from "node:zlib";
import {
  CreateVolumeCommand,
  DeleteVolumeCommand,
  DescribeSnapshotsCommand,
  DescribeVolumesCommand,
  EC2Client,
} from "@aws-sdk/client-ec2";
import { backup as runBackup } from "../../core/backup/backup.ts";
import { connect } from "../../core/kube/client.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import { startRunLog } from "../../core/log.ts";
import type { Bucket } from "../../core/ports.ts";
import { ebsDisks } from "../../functions/aws/disks.ts";
import { memoryBucket } from "../memory-bucket.ts";
import type { KubeObject } from "../rig/api.ts";
import { type Cluster, startCluster, WITH_CONTROLLERS } from "../rig/cluster.ts";
import { type Moto, startMoto } from "../rig/moto.ts";
import { until } from "../rig/process.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type BackupDocument, document, type RestoreDocument } from "./lifeboat.ts";

interface Problem {
  resource?: string;
  name?: string;
  message: string;
}
interface Plan {
  steps: { resource: string; name: string; action: string; reason?: string }[];
  warnings: Problem[];
}
interface Volume extends KubeObject {
  metadata: KubeObject["metadata"] & { annotations?: Record<string, string> };
  spec: {
    csi: { volumeHandle: string };
    nodeAffinity: { required: { nodeSelectorTerms: { matchExpressions: { values: string[] }[] }[] } };
    claimRef: { namespace: string; name: string; uid?: string };
  };
}
interface Claim extends KubeObject {
  spec: { volumeName?: string };
  status?: { phase?: string };
}

const HOME = "us-east-1a";
const ZONE_KEY = "topology.ebs.csi.aws.com/zone";
const VOLUMES = "/api/v1/persistentvolumes";
const claims = (namespace: string) => `/api/v1/namespaces/${namespace}/persistentvolumeclaims`;

describe("disks of a cloud", { skip: requireOrSkip("rig", [...WITH_CONTROLLERS, "moto"]) }, () => {
  let dir: string;
  let location: string[];
  let moto: Moto;
  let ec2: EC2Client;
  let [a, b]: Cluster[] = [];
  const disks = new Map<string, string>();

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "lifeboat-disks-"));
    location = ["--location", `file://${dir}`];
    [moto, a, b] = await Promise.all([startMoto(), startCluster({ controllers: true, nodes: 0 }), startCluster()]);
    const { AWS_ACCESS_KEY_ID: accessKeyId = "", AWS_SECRET_ACCESS_KEY: secretAccessKey = "" } = moto.env;
    const { endpoint, region } = moto;
    ec2 = new EC2Client({ region, endpoint, credentials: { accessKeyId, secretAccessKey } });
    await a.api.request("POST", "/api/v1/namespaces", { metadata: { name: "shop" } });
    await Promise.all(["db", "media"].map(addClaim));
  });
  after(async () => {
    ec2?.destroy();
    await Promise.all([a?.stop(), b?.stop(), moto?.stop()]);
    await rm(dir, { recursive: true });
  });

  async function addClaim(name: string): Promise<void> {
    const made = await ec2.send(new CreateVolumeCommand({ AvailabilityZone: HOME, Size: 1, VolumeType: "gp3" }));
    disks.set(name, made.VolumeId!);
    const common = { accessModes: ["ReadWriteOnce"], storageClassName: "ebs" };
    const term = { matchExpressions: [{ key: ZONE_KEY, operator: "In", values: [HOME] }] };
    await a!.api.request("POST", VOLUMES, {
      metadata: { name: `pv-${name}`, labels: { tier: name } },
      spec: {
        ...common,
        capacity: { storage: "1Gi" },
        persistentVolumeReclaimPolicy: "Delete",
        csi: { driver: "ebs.csi.aws.com", volumeHandle: made.VolumeId },
        nodeAffinity: { required: { nodeSelectorTerms: [term] } },
        claimRef: { namespace: "shop", name },
      },
    });
    await a!.api.request("POST", claims("shop"), {
      metadata: { name },
      spec: { ...common, volumeName: `pv-${name}`, resources: { requests: { storage: "1Gi" } } },
    });
    await bound("shop", name);
  }

  function bound(namespace: string, name: string): Promise<Volume> {
    return until(`${namespace}/${name} to be bound`, async () => {
      const { spec, status } = await a!.api.request<Claim>("GET", `${claims(namespace)}/${name}`);
      return status?.phase === "Bound" && a!.api.request<Volume>("GET", `${VOLUMES}/${spec.volumeName}`);
    });
  }

  const create = (name: string, ...flags: string[]) => [
    ...["backup", "create", name, ...location, "--kubeconfig", a!.kubeconfigPath, "--include-namespaces", "shop"],
    ...flags,
  ];
  const restore = (name: string, { kubeconfigPath }: Cluster, ...flags: string[]) => [
    ...["restore", "create", name, "--from-backup", "full", ...location, "--kubeconfig", kubeconfigPath],
    ...flags,
  ];

  async function snapshots() {
    const { Snapshots = [] } = await ec2.send(new DescribeSnapshotsCommand({ OwnerIds: ["self"] }));
    return Snapshots.filter(({ Tags = [] }) => Tags.some(({ Key }) => Key === "velero.io/backup"));
  }
  async function diskOf(volumeHandle: string) {
    const { Volumes = [] } = await ec2.send(new DescribeVolumesCommand({ VolumeIds: [volumeHandle] }));
    return Volumes[0]!;
  }
  async function sideFile<T>(name: string, ending: string, folder = "backups"): Promise<T> {
    return JSON.parse(gunzipSync(await readFile(join(dir, folder, name, `${name}-${ending}.json.gz`))).toString());
  }
  const affinityOf = ({ spec }: Volume) =>
    spec.nodeAffinity.required.nodeSelectorTerms[0]!.matchExpressions[0]!.values[0];
  /** The node that a cluster without kubelets says it has. */
  const moveNode = (method: "POST" | "PATCH", zone: string) =>
    b!.api.request(method, method === "POST" ? "/api/v1/nodes" : "/api/v1/nodes/one", {
      metadata: { name: "one", labels: { "topology.kubernetes.io/zone": zone } },
    });

  test("are snapshotted with a backup, which tells of them as Velero does", async () => {
    const made = await document<BackupDocument & { volumes: Record<string, number> }>(create("full"), moto.env);
    assert.equal(made.phase, "Completed", JSON.stringify(made));
    assert.deepEqual([made.volumes.nativeSnapshots, made.volumes.lacking], [2, 0]);
    const taken = new Map((await snapshots()).map((one) => [one.VolumeId, one]));
    const listed = await sideFile<{ spec: Record<string, unknown>; status: object }[]>("full", "volumesnapshots");
    const infos = await sideFile<Record<string, unknown>[]>("full", "volumeinfo");
    for (const [name, id] of disks) {
      const { SnapshotId, Tags = [] } = taken.get(id)!;
      const tags = Object.fromEntries(Tags.map(({ Key, Value }) => [Key, Value]));
      const { "velero.io/backup": backup, "velero.io/pv": pv, "lifeboat/location": place } = tags;
      assert.deepEqual([backup, pv, place], ["full", `pv-${name}`, `file://${dir}`]);
      const { spec, status } = listed.find((one) => one.spec.persistentVolumeName === `pv-${name}`)!;
      assert.deepEqual([spec.providerVolumeID, spec.volumeType, spec.volumeAZ], [id, "gp3", HOME]);
      assert.deepEqual(status, { providerSnapshotID: SnapshotId, phase: "Completed" });
      const info = infos.find(({ pvcName }) => pvcName === name)!;
      const { snapshotHandle, volumeAZ, Phase } = info.nativeSnapshotInfo as Record<string, string>;
      assert.deepEqual([snapshotHandle, volumeAZ, Phase], [SnapshotId, HOME, "Completed"]);
      assert.deepEqual([info.backupMethod, info.pvName], ["NativeSnapshot", `pv-${name}`]);
    }
  });

  test("can't be made where the snapshots are not: the plan says so, and the claims come back empty, with a warning", async () => {
    await moveNode("POST", "eu-west-1a");
    const reason = /^its snapshot is in us-east-1, the target's nodes are in eu-west-1/;
    const plan = await document<Plan>(restore("far", b!, "--dry-run"), moto.env, 3);
    const step = plan.steps.find(({ resource, name }) => resource === "persistentvolumes" && name === "pv-db");
    assert.equal(step?.action, "blocked");
    assert.match(step.reason ?? "", reason);
    const restored = await document<RestoreDocument>(
      restore("far", b!, "--namespace-mappings", "shop:far"),
      moto.env,
      3,
    );
    assert.equal(restored.phase, "PartiallyFailed");
    assert.equal(restored.counts.blocked, 2);
    for (const warnings of [plan.warnings, restored.warnings as Problem[]])
      assert.deepEqual(
        warnings.map(({ name, message }) => `${name}: ${message}`).sort(),
        ["db", "media"].map((name) => `${name}: its volume pv-${name} isn't restored: it gets a new, empty one`),
      );
    assert.deepEqual((await b!.api.request<{ items: Volume[] }>("GET", VOLUMES)).items, []);
  });

  test("are made again of their snapshots where another cluster has its nodes, for the volumes of its claims", async () => {
    await moveNode("PATCH", "us-east-1b");
    const plan = await document<Plan>(restore("back", b!, "--dry-run"), moto.env);
    assert.match(
      plan.steps.find(({ name }) => name === "pv-db")?.reason ?? "",
      /^it is made of the snapshot snap-\w+/,
      "nothing is made for a plan",
    );
    const before = await ec2.send(new DescribeVolumesCommand({}));
    const restored = await document<RestoreDocument>(restore("back", b!), moto.env);
    assert.equal(restored.phase, "Completed", JSON.stringify(restored));
    assert.equal((await ec2.send(new DescribeVolumesCommand({}))).Volumes!.length, before.Volumes!.length + 2);
    for (const [name, original] of disks) {
      const claim = await b!.api.request<Claim>("GET", `${claims("shop")}/${name}`);
      assert.equal(claim.spec.volumeName, `pv-${name}`);
      const volume = await b!.api.request<Volume>("GET", `${VOLUMES}/pv-${name}`);
      assert.deepEqual([volume.spec.claimRef.name, volume.spec.claimRef.uid], [name, undefined]);
      assert.equal(affinityOf(volume), "us-east-1b");
      const { SnapshotId, AvailabilityZone } = await diskOf(volume.spec.csi.volumeHandle);
      assert.equal(AvailabilityZone, "us-east-1b");
      assert.equal((await snapshots()).find((one) => one.SnapshotId === SnapshotId)?.VolumeId, original);
    }
    const again = await document<RestoreDocument>(
      restore("again", b!, "--existing-resource-policy", "update"),
      moto.env,
    );
    assert.deepEqual([again.phase, again.warnings], ["Completed", []], "what exists keeps its disk");
  });

  test("are made anew for a clone beside the original, which keeps its own", async () => {
    const flags = ["--namespace-mappings", "shop:shop2", "--zone-mapping", `${HOME}=us-east-1c`];
    const restored = await document<RestoreDocument>(restore("clone", a!, ...flags), moto.env);
    assert.equal(restored.phase, "Completed", JSON.stringify(restored));
    const cloned = new Set<string>();
    for (const [name, original] of disks) {
      const clone = await bound("shop2", name);
      assert.match(clone.metadata.name, /^velero-clone-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
      assert.equal(clone.metadata.annotations?.["velero.io/original-pv-name"], `pv-${name}`);
      assert.equal(affinityOf(clone), "us-east-1c");
      assert.equal((await diskOf(clone.spec.csi.volumeHandle)).AvailabilityZone, "us-east-1c");
      cloned.add(clone.spec.csi.volumeHandle);
      assert.equal((await bound("shop", name)).spec.csi.volumeHandle, original);
    }
    assert.equal(cloned.size, 2);
    const infos = await sideFile<Record<string, string>[]>("clone", "volumeinfo", "restores");
    assert.deepEqual(
      infos.map(({ pvcNamespace, pvcName, restoreMethod }) => `${pvcNamespace}/${pvcName} ${restoreMethod}`).sort(),
      ["shop2/db NativeSnapshot", "shop2/media NativeSnapshot"],
    );
    assert(infos.every(({ pvName }) => pvName?.startsWith("velero-clone-")));
  });

  test("that may not be snapshotted are a warning, and an error where snapshots were asked for", async () => {
    const before = await snapshots();
    await moto.refuse(true);
    const unasked = await document<BackupDocument>(create("refused"), moto.env);
    const asked = await document<BackupDocument>(create("asked", "--snapshot-volumes"), moto.env, 3);
    await moto.refuse(false);
    assert.deepEqual([unasked.phase, asked.phase], ["Completed", "PartiallyFailed"]);
    for (const told of [unasked.warnings, asked.errors] as Problem[][]) {
      const lacking = told.filter(({ message }) => message.startsWith("its data are not in the backup: "));
      assert.deepEqual(lacking.map(({ name }) => name).sort(), ["db", "media"]);
    }
    assert.deepEqual(await snapshots(), before);
  });

  test("of a run that fails after all leave no snapshot", async () => {
    const before = await snapshots();
    const kube = connect(readKubeconfig(a!.kubeconfig));
    const bucket = memoryBucket();
    let taken = 0;
    const full: Bucket["put"] = async (key, body, options) => {
      if (!key.endsWith("/ended.tar.gz") || Buffer.isBuffer(body)) return bucket.put(key, body, options);
      for await (const _ of body);
      taken = (await snapshots()).length;
      throw new Error("no space is left");
    };
    Object.assign(process.env, moto.env);
    try {
      const run = runBackup({
        ...{ kube, bucket: { ...bucket, put: full }, name: "ended", spec: { includedNamespaces: ["shop"] } },
        volumes: { disks: { aws: async () => ebsDisks({ pollMs: 5 }) } },
        log: startRunLog({}),
        signal: AbortSignal.timeout(60_000),
      });
      await assert.rejects(run, /no space is left/);
    } finally {
      for (const name of Object.keys(moto.env)) delete process.env[name];
      await kube.close();
    }
    assert.equal(taken, before.length + 2);
    assert.deepEqual(await snapshots(), before);
  });

  test("that are gone are errors which name their claims; the others are snapshotted", async () => {
    const before = await snapshots();
    await ec2.send(new DeleteVolumeCommand({ VolumeId: disks.get("media") }));
    const made = await document<BackupDocument>(create("partial"), moto.env, 3);
    assert.equal(made.phase, "PartiallyFailed");
    const [error, ...others] = made.errors as Problem[];
    assert.deepEqual([error?.name, others], ["media", []]);
    assert.match(error!.message, /^its data are not in the backup: .*\bvol-\w+\b.* does not exist/);
    assert.equal((await snapshots()).length, before.length + 1);
  });
});
