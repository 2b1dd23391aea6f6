import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gunzipSync } from "node:zlib";
import type { KubeObject } from "../rig/api.ts";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { type CsiDriver, DISK, startCsiDriver } from "../rig/csidriver.ts";
import { groupSnapshots } from "../rig/csigroups.ts";
import { makeDir, removeDir, until } from "../rig/process.ts";
import { requireOrSkip } from "../rig/require.ts";
import { installSnapshots } from "../rig/snapshotcrds.ts";
import { type BackupDocument, document, lifeboat, type RestoreDocument, start } from "./lifeboat.ts";
import { objectsIn } from "./objects.ts";

interface Problem {
  resource?: string;
  name?: string;
  message: string;
}
interface WithVolumes extends BackupDocument {
  volumes?: Record<string, number>;
}
interface Plan {
  volumes?: Record<string, number>;
  steps: { resource: string; name: string; action: string; reason?: string }[];
  warnings: Problem[];
}

const SNAPSHOT_API = "/apis/snapshot.storage.k8s.io/v1";
const INFRA = join(import.meta.dirname, "../../infra/kubernetes");
const GROUP_VERSION = "v1beta2";
const CLAIMS = "/api/v1/namespaces/shop/persistentvolumeclaims";

describe("the data of volumes", { skip: requireOrSkip("rig", CONTROL_PLANE) }, () => {
  let storage: string;
  let dir: string;
  let location: string[];
  let [a, b]: { cluster: Cluster; driver: CsiDriver; kubeconfig: string }[] = [];

  before(async () => {
    storage = makeDir("storage");
    dir = await mkdtemp(join(tmpdir(), "lifeboat-volumes-"));
    location = ["--location", `file://${dir}`];
    [a, b] = await Promise.all([startWithDriver(["backup", "csi"], GROUP_VERSION), startWithDriver(["restore"])]);
    await a!.cluster.api.request("POST", "/api/v1/namespaces", { metadata: { name: "shop" } });
    await claim("db");
    await claim("media");
    await loneVolume("scratch", "other.csi.example.com");
  });
  after(async () => {
    for (const one of [a, b]) {
      await one?.driver[Symbol.asyncDispose]();
      await one?.cluster.stop();
    }
    await removeDir(storage);
    await rm(dir, { recursive: true });
  });

  /** A cluster with the driver, and the kubeconfig of who has these rights of infra/kubernetes and no more. */
  async function startWithDriver(rights: string[], groups?: string) {
    const cluster = await startCluster();
    await installSnapshots(cluster.api, { groups });
    for (const right of rights) await cluster.kubectl(["apply", "-f", join(INFRA, `${right}.yaml`)]);
    const kubeconfig = join(cluster.dir, "keeper.yaml");
    const bound = rights.map((right) => `lifeboat:${right}`);
    await writeFile(kubeconfig, await cluster.user("keeper", bound));
    const driver = await startCsiDriver(cluster, storage, groups ? groupSnapshots(groups) : undefined);
    return { cluster, kubeconfig, driver };
  }

  async function claim(name: string, namespace = "shop", labels: Record<string, string> = {}): Promise<void> {
    await a!.cluster.api.request("POST", CLAIMS.replace("shop", namespace), {
      metadata: { name, labels: { app: name, ...labels } },
      spec: { storageClassName: DISK, accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "100Mi" } } },
    });
    await writeFile(join(await a!.driver.folder(namespace, name), "data"), `data of ${name}`);
  }

  /** A bound claim whose volume nobody can copy. */
  async function loneVolume(name: string, driver: string): Promise<void> {
    const { api } = a!.cluster;
    const common = { accessModes: ["ReadWriteOnce"], storageClassName: "other" };
    await api.request("POST", CLAIMS, {
      metadata: { name },
      spec: { ...common, volumeName: `pv-${name}`, resources: { requests: { storage: "1Gi" } } },
    });
    const made = await api.request<KubeObject>("GET", `${CLAIMS}/${name}`);
    await api.request("POST", "/api/v1/persistentvolumes", {
      metadata: { name: `pv-${name}` },
      spec: {
        ...common,
        capacity: { storage: "1Gi" },
        persistentVolumeReclaimPolicy: "Delete",
        csi: { driver, volumeHandle: "x" },
        claimRef: { namespace: "shop", name, uid: made.metadata.uid },
      },
    });
    await api.request("PUT", `${CLAIMS}/${name}/status`, {
      ...(await api.request<KubeObject>("GET", `${CLAIMS}/${name}`)),
      status: { phase: "Bound", accessModes: ["ReadWriteOnce"], capacity: { storage: "1Gi" } },
    });
  }

  const backup = (name: string, ...flags: string[]) => [
    ...["backup", "create", name, ...location, "--kubeconfig", a!.kubeconfig],
    ...["--include-namespaces", "shop", ...flags],
  ];
  const restore = (name: string, from: string, ...flags: string[]) => [
    ...["restore", "create", name, "--from-backup", from, ...location, "--kubeconfig", b!.kubeconfig],
    ...flags,
  ];

  /** What stands in a cluster of snapshots. */
  async function standing({ cluster }: { cluster: Cluster }): Promise<string[]> {
    const lists = await Promise.all(
      ["volumesnapshots", "volumesnapshotcontents"].map((kind) =>
        cluster.api.request<{ items: KubeObject[] }>("GET", `${SNAPSHOT_API}/${kind}`),
      ),
    );
    return lists.flatMap(({ items }) => items.map(({ kind, metadata }) => `${kind} ${metadata.name}`));
  }

  async function sideFile(name: string, ending: string): Promise<unknown> {
    return JSON.parse(gunzipSync(await readFile(join(dir, "backups", name, `${name}-${ending}.json.gz`))).toString());
  }

  test("go into a backup by CSI snapshots, and come back in another cluster; nothing is left in either", async () => {
    const made = await document<WithVolumes>(backup("full"));
    assert.equal(made.phase, "Completed");
    assert.deepEqual(made.volumes, {
      ...{ csiSnapshots: 2, nativeSnapshots: 0, fileCopies: 0, fileBytes: 0 },
      ...{ leftOut: 0, stays: 0, lacking: 1, podVolumes: 0 },
    });
    assert.deepEqual(await standing(a!), []);
    const handles = await a!.driver.stored();
    assert.equal(handles.length, 2);

    const stored = await objectsIn(join(dir, "backups/full/full.tar.gz"));
    const kinds = [...stored.keys()].filter((key) => key.includes("snapshot.storage")).map((key) => key.split(" ")[0]);
    assert.deepEqual(kinds.sort(), [
      ...["volumesnapshotclasses.snapshot.storage.k8s.io"],
      ...["volumesnapshotcontents.snapshot.storage.k8s.io", "volumesnapshotcontents.snapshot.storage.k8s.io"],
      ...["volumesnapshots.snapshot.storage.k8s.io", "volumesnapshots.snapshot.storage.k8s.io"],
    ]);
    const infos = (await sideFile("full", "volumeinfo")) as Record<string, unknown>[];
    assert.deepEqual(
      infos.map(({ pvcName, backupMethod, skipped }) => `${pvcName} ${backupMethod} ${skipped}`).sort(),
      ["db CSISnapshot false", "media CSISnapshot false", "scratch undefined true"],
    );

    const described = await lifeboat(["backup", "describe", "full", "--details", ...location]);
    assert.match(described.stdout, /Volumes:\s+2 CSI snapshots, 1 WITHOUT THEIR DATA/);
    assert.match(described.stdout, /shop\/db:\s+snapshot snap-\w+ of disk.csi.example.com/);
    assert.match(
      described.stdout,
      /shop\/scratch:\s+not copied: the cluster has no VolumeSnapshotClass for its driver other/,
    );

    await writeFile(join(await a!.driver.folder("shop", "db"), "data"), "written later");
    const plan = await document<Plan>(restore("planned", "full", "--dry-run"));
    const step = plan.steps.find(({ resource, name }) => resource === "persistentvolumeclaims" && name === "db");
    assert.match(step?.reason ?? "", /its data come from the snapshot snap-\w+ of disk.csi.example.com/);
    assert.deepEqual(
      plan.warnings.map(({ name, message }) => `${name}: ${message.split(";")[0]}`),
      ["scratch: its volume pv-scratch isn't restored: it gets a new, empty one"],
    );
    assert.deepEqual(plan.volumes, {
      ...{ csiSnapshots: 2, csiBytes: 2 * 2 ** 30, nativeSnapshots: 0, fileCopies: 0, fileBytes: 0 },
      ...{ leftOut: 0, stays: 0, lacking: 1, failed: 0 },
    });
    assert.deepEqual(await standing(b!), []);

    const restored = await document<RestoreDocument & Pick<Plan, "volumes">>(restore("back", "full"));
    assert.equal(restored.phase, "Completed");
    assert.deepEqual(restored.volumes, plan.volumes);
    const told = await lifeboat(["restore", "describe", "back", ...location]);
    assert.match(told.stdout, /^Volumes: +2 CSI snapshots \(2\.0 GiB\), 1 WITHOUT THEIR DATA$/m);
    for (const name of ["db", "media"])
      assert.equal(await readFile(join(await b!.driver.folder("shop", name), "data"), "utf8"), `data of ${name}`);
    assert.deepEqual(await standing(b!), []);
    assert.deepEqual(await b!.driver.stored(), handles, "the backup keeps its snapshots");
    const [volume] = JSON.parse(
      gunzipSync(await readFile(join(dir, "restores/back/back-volumeinfo.json.gz"))).toString(),
    ) as Record<string, unknown>[];
    assert.equal(volume?.restoreMethod, "CSISnapshot");
  });

  test("leave claims equal that are still there: a restore beside them changes nothing", async () => {
    const flags = [
      "--dry-run",
      "--existing-resource-policy",
      "update",
      "--include-resources",
      "persistentvolumeclaims",
    ];
    const into = ["--kubeconfig", a!.cluster.kubeconfigPath];
    const plan = await document<Plan>([
      "restore",
      "create",
      "beside",
      "--from-backup",
      "full",
      ...location,
      ...into,
      ...flags,
    ]);
    const claims = plan.steps.filter(({ resource }) => resource === "persistentvolumeclaims");
    assert.deepEqual(
      claims.map(({ name, action, reason }) => `${name} ${action}: ${reason}`),
      ["db", "media", "scratch"].map((name) => `${name} skip: exists, equal`),
    );
  });

  test("are left out where the user says so", async () => {
    const before = await a!.driver.stored();
    const made = await document<WithVolumes>(backup("without", "--snapshot-volumes=false"));
    assert.deepEqual([made.volumes?.leftOut, made.volumes?.lacking], [3, 0]);
    assert.deepEqual(await a!.driver.stored(), before);
  });

  test("that can't be copied are errors which name their claims, and nothing is left", async () => {
    const before = await a!.driver.stored();
    a!.driver.behaviours.set("media", { slow: Number.POSITIVE_INFINITY });
    const made = await document<WithVolumes>(
      backup("partial", "--item-operation-timeout", "3s", "--selector", "app in (db,media)"),
      {},
      3,
    ).finally(() => a!.driver.behaviours.clear());
    assert.equal(made.phase, "PartiallyFailed");
    const [error] = made.errors as Problem[];
    assert.equal(error!.name, "media");
    assert.match(error!.message, /^its data are not in the backup: its VolumeSnapshot is not ready to use in time/);
    assert.deepEqual(await standing(a!), []);
    assert.equal((await a!.driver.stored()).length, before.length + 1);
  });

  test("of a run that is ended leave nothing in the cluster or the storage", async () => {
    const before = await a!.driver.stored();
    a!.driver.behaviours.set("db", { slow: Number.POSITIVE_INFINITY });
    const running = start(backup("ended"));
    await until("its snapshot", async () => (await standing(a!)).length > 0);
    process.kill(running.pid, "SIGINT");
    const { code, stderr } = await running.ended;
    assert.equal(code, 130);
    assert.match(stderr, /^taking back \d snapshots? \(shop\//m);
    a!.driver.behaviours.clear();
    assert.deepEqual(await standing(a!), []);
    assert.deepEqual(await a!.driver.stored(), before);
  });

  test("of claims with a group's label are copied at one moment; without groups in a cluster, that is an error", async () => {
    const label = "example.com/together";
    await a!.cluster.api.request("POST", "/api/v1/namespaces", { metadata: { name: "bank" } });
    await Promise.all(["accounts", "ledger"].map((name) => claim(name, "bank", { [label]: "books" })));
    const grouped = (name: string, kubeconfig: string) => [
      ...["backup", "create", name, ...location, "--kubeconfig", kubeconfig],
      ...["--include-namespaces", "bank", "--volume-group-snapshot-label-key", label],
    ];
    const made = await document<WithVolumes>(grouped("group", a!.kubeconfig));
    assert.deepEqual([made.phase, made.volumes?.csiSnapshots], ["Completed", 2]);
    const infos = (await sideFile("group", "volumeinfo")) as { csiSnapshotInfo: Record<string, string> }[];
    const groups = new Set(infos.map(({ csiSnapshotInfo }) => csiSnapshotInfo.volumeGroupSnapshotHandle));
    assert.match([...groups].join(), /^group-[\w-]+$/);
    const root = `/apis/groupsnapshot.storage.k8s.io/${GROUP_VERSION}`;
    for (const kind of ["volumegroupsnapshots", "volumegroupsnapshotcontents"])
      assert.deepEqual((await a!.cluster.api.request<{ items: unknown[] }>("GET", `${root}/${kind}`)).items, []);
    assert.deepEqual(await standing(a!), []);

    assert.equal((await document<RestoreDocument>(restore("bank", "group"))).phase, "Completed");
    for (const name of ["accounts", "ledger"])
      assert.equal(await readFile(join(await b!.driver.folder("bank", name), "data"), "utf8"), `data of ${name}`);
    const without = await document<WithVolumes>(grouped("groupless", b!.cluster.kubeconfigPath), {}, 3);
    const errors = without.errors as Problem[];
    assert.deepEqual(errors.map(({ name }) => name).sort(), ["accounts", "ledger"]);
    for (const { message } of errors)
      assert.match(message, /it is of the group example.com\/together=books, and the cluster serves none of groupsnap/);
  });

  test("leave nothing of a run that died, whatever it had begun: its claims get what the old volumes had", async () => {
    await b!.cluster.api.request("DELETE", CLAIMS);
    const volumeOf = async ({ cluster }: { cluster: Cluster }, name: string) => {
      const { volumeName } = (await cluster.api.request<KubeObject>("GET", `${CLAIMS}/${name}`)).spec as {
        volumeName: string;
      };
      return `/api/v1/persistentvolumes/${volumeName}`;
    };
    await a!.cluster.api.request("PATCH", await volumeOf(a!, "db"), { metadata: { labels: { disk: "of-db" } } });
    await document(backup("kept", "--selector", "app in (db,media)"));
    const infos = (await sideFile("kept", "volumeinfo")) as {
      pvcName: string;
      csiSnapshotInfo: { snapshotHandle: string };
    }[];
    const media = infos.find(({ pvcName }) => pvcName === "media")!.csiSnapshotInfo.snapshotHandle;

    b!.driver.behaviours.set(media, { silent: true });
    const died = start(restore("twice", "kept"));
    await until("the volume of one claim", () => volumeOf(b!, "db").catch(() => undefined));
    await until("the snapshot of the other", async () => (await standing(b!)).length === 4);
    died.kill();
    await died.ended;
    b!.driver.behaviours.clear();

    const again = await document<RestoreDocument>(restore("twice", "kept", "--selector", "app=db"));
    assert.deepEqual([again.phase, again.warnings], ["Completed", []]);
    assert.deepEqual(await standing(b!), [], "neither of the claim that is there, nor of the one that is not");
    const { metadata } = await b!.cluster.api.request<KubeObject>("GET", await volumeOf(b!, "db"));
    assert.equal((metadata as { labels?: Record<string, string> }).labels?.disk, "of-db");
    assert.equal(await readFile(join(await b!.driver.folder("shop", "db"), "data"), "utf8"), "written later");
  });

  test("are not restored where the user says so: the claims come back empty, with a warning", async () => {
    await b!.cluster.api.request("DELETE", CLAIMS);
    const restored = await document<RestoreDocument & Pick<Plan, "volumes">>(
      restore("empty", "full", "--restore-volumes=false", "--include-resources", "persistentvolumeclaims"),
    );
    const warnings = (restored.warnings as Problem[]).map(({ message }) => message);
    assert.equal(warnings.filter((message) => message.includes("restorePVs is false")).length, 2, warnings.join("\n"));
    assert.deepEqual([restored.volumes?.leftOut, restored.volumes?.lacking], [3, 0]);
  });
});
