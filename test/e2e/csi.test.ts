import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { connect, type Kube } from "../../core/kube/client.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import { type ClassChoice, chooseClass, type SnapshotClass, snapshotClasses } from "../../core/volumes/csi/classes.ts";
import { copyByCsi } from "../../core/volumes/csi/copy.ts";
import { deleteByHandle, deleteSnapshots, storedSnapshot } from "../../core/volumes/csi/deletion.ts";
import { type ClaimGroup, copyGroupByCsi } from "../../core/volumes/csi/groupcopy.ts";
import { chooseGroupClass, groupApi } from "../../core/volumes/csi/groups.ts";
import { releaseSnapshots } from "../../core/volumes/csi/release.ts";
import { csiRestore, snapshotForClaim } from "../../core/volumes/csi/restore.ts";
import { type CsiRun, csiRun } from "../../core/volumes/csi/run.ts";
import { namedBy, settleSnapshots, standingSnapshots } from "../../core/volumes/csi/standing.ts";
import { claimFromSnapshot, withSnapshot } from "../../core/volumes/csi/stored.ts";
import type { Copied, VolumeCopy } from "../../core/volumes/volume.ts";
import type { KubeObject } from "../rig/api.ts";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { type CsiDriver, DISK, DRIVER, LATE_DISK, startCsiDriver } from "../rig/csidriver.ts";
import { groupSnapshots } from "../rig/csigroups.ts";
import { makeDir, removeDir, until } from "../rig/process.ts";
import { requireOrSkip } from "../rig/require.ts";
import { installSnapshots } from "../rig/snapshotcrds.ts";

const SNAPSHOT_API = "/apis/snapshot.storage.k8s.io/v1";
const GROUP_API = "/apis/groupsnapshot.storage.k8s.io/v1beta2";
const STANDING = [
  ...["volumesnapshots", "volumesnapshotcontents"].map((kind) => `${SNAPSHOT_API}/${kind}`),
  ...["volumegroupsnapshots", "volumegroupsnapshotcontents"].map((kind) => `${GROUP_API}/${kind}`),
];
const BEING_CREATED = "snapshot.storage.kubernetes.io/volumesnapshot-being-created";
const INFRA = join(import.meta.dirname, "../../infra/kubernetes");
const CLAIMS = "/api/v1/namespaces/shop/persistentvolumeclaims";
/** For a driver that looks 25 times a second. */
const PATIENCE = { timeoutMs: 20_000, readyTimeoutMs: 20_000, errorMs: 10_000, removeMs: 10_000, pollMs: 40 };
const LOCATION = "file:///backups";
const never = new AbortController().signal;

describe("CSI snapshots", { skip: requireOrSkip("rig", CONTROL_PLANE) }, () => {
  let storage: string;
  const clusters: { cluster: Cluster; kube: Kube; driver: CsiDriver }[] = [];
  let classes: SnapshotClass[];

  before(async () => {
    storage = makeDir("storage");
    clusters.push(...(await Promise.all([start("backup", "csi"), start("restore")])));
    classes = (await snapshotClasses(clusters[0]!.kube, never))!;
  });
  after(async () => {
    for (const { cluster, kube, driver } of clusters) {
      await driver[Symbol.asyncDispose]();
      await kube.close();
      await cluster.stop();
    }
    await removeDir(storage);
  });

  /** A cluster with the driver, and a client that has these rights of infra/kubernetes and no more. */
  async function start(...rights: string[]) {
    const cluster = await startCluster();
    await installSnapshots(cluster.api, { groups: "v1beta2" });
    const driver = await startCsiDriver(cluster, storage, groupSnapshots("v1beta2"));
    await cluster.api.request("POST", "/api/v1/namespaces", { metadata: { name: "shop" } });
    for (const right of rights) await cluster.kubectl(["apply", "-f", join(INFRA, `${right}.yaml`)]);
    const kubeconfig = await cluster.user(
      "lifeboat",
      rights.map((right) => `lifeboat:${right}`),
    );
    return { cluster, driver, kube: connect(readKubeconfig(kubeconfig)) };
  }

  /** A claim in A, its volume with a file. */
  async function claim(name: string, labels: Record<string, string> = {}): Promise<KubernetesObject> {
    const { cluster, driver } = clusters[0]!;
    await cluster.api.request("POST", CLAIMS, {
      metadata: { name, labels },
      spec: { storageClassName: DISK, accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "100Mi" } } },
    });
    await writeFile(join(await driver.folder("shop", name), "data"), `data of ${name}`);
    return cluster.api.request<KubeObject>("GET", `${CLAIMS}/${name}`);
  }

  function run(backupName: string, patience: Partial<typeof PATIENCE> = {}, signal = never): CsiRun {
    return csiRun(clusters[0]!.kube, { backupName, location: LOCATION, signal, ...PATIENCE, ...patience });
  }

  function copy(backing: CsiRun, source: KubernetesObject) {
    const choice: ClassChoice = chooseClass({ driver: DRIVER, claim: source }, classes);
    assert("chosen" in choice);
    return copyByCsi(backing, source, choice.chosen);
  }

  /** A client that tells what it has made only once the driver is asked for a snapshot: before, no patience begins. */
  function onceDriverIsAsked(kube: Kube): Kube {
    const isAsked = async () => {
      const { items } = await clusters[0]!.cluster.api.request<{ items: KubernetesObject[] }>("GET", STANDING[1]!);
      return items.some(({ metadata }) => metadata.annotations?.[BEING_CREATED]);
    };
    return {
      ...kube,
      request: async (request) => {
        const response = await kube.request(request);
        if (request.method === "POST") await until("the driver to be asked", isAsked);
        return response;
      },
    };
  }

  /** What stands in a cluster of snapshots. */
  async function standing({ cluster }: { cluster: Cluster }): Promise<string[]> {
    const lists = STANDING.map((path) => cluster.api.request<{ items: KubeObject[] }>("GET", path));
    return (await Promise.all(lists)).flatMap(({ items }) =>
      items.map(({ kind, metadata }) => `${kind} ${metadata.name}`),
    );
  }

  /** What becomes of a backup's snapshots in A once these copies of it are written down; none, where it isn't stored. */
  async function settle(backupName: string, ...copies: Copied[]): Promise<void> {
    const { kube } = clusters[0]!;
    const of = { backupName, location: LOCATION };
    const options = { of, isNamed: namedBy(copies), signal: never, ...PATIENCE };
    assert.deepEqual(await settleSnapshots(kube, await standingSnapshots(kube, of, never), options), []);
  }

  /** What deleting the backup does. */
  async function deleteCopies(...copies: Copied[]): Promise<void> {
    const stored = copies.map(({ objects }) => storedSnapshot(objects![1]!)!);
    assert.deepEqual(await deleteSnapshots(run("nightly"), stored, never), []);
  }

  async function nothingLeft(): Promise<void> {
    for (const one of clusters) assert.deepEqual(await standing(one), []);
  }

  /** Restores a claim of a backup in B, and gives its file. */
  async function restored(source: KubernetesObject, copied: Copied, restoreName: string, storageClassName = DISK) {
    const { cluster, kube, driver } = clusters[1]!;
    const stored = withSnapshot(source, copied.csi!, "nightly");
    const restoring = csiRestore(kube, { restoreName, signal: never, ...PATIENCE });
    const place = { namespace: "shop", name: source.metadata.name };
    const made = await snapshotForClaim(restoring, { claim: place, from: copied.csi! });
    assert.deepEqual(
      await snapshotForClaim(restoring, { claim: place, from: copied.csi! }),
      made,
      "a second run finds it",
    );
    const created = claimFromSnapshot(stored, made);
    await cluster.api.request("POST", CLAIMS, {
      metadata: { name: place.name },
      spec: { ...(created.spec as object), storageClassName },
    });
    const release = () =>
      releaseSnapshots(restoring, [{ claim: place, snapshot: made.dataSource.name }], { waitMs: 20_000 });
    return { release, file: async () => readFile(join(await driver.folder("shop", place.name), "data"), "utf8") };
  }

  test("a volume comes back in another cluster, and nothing is left in either", async () => {
    const source = await claim("plain", { app: "shop" });
    clusters[0]!.driver.behaviours.set("plain", { slow: 5 });
    const { fixed, done } = copy(run("nightly"), source);
    await fixed;
    const at = await standing(clusters[0]!);
    assert.equal(at.length, 2, `fixed before it is ready: ${at}`);
    await writeFile(join(await clusters[0]!.driver.folder("shop", "plain"), "data"), "written later");
    const copied = await done;
    assert.deepEqual(await standing(clusters[0]!), at, "until the backup is stored");
    await settle("nightly", copied);
    await nothingLeft();
    assert.deepEqual(await clusters[0]!.driver.stored(), [copied.csi!.snapshotHandle]);
    assert.equal(copied.csi!.restoreSize, 2 ** 30);
    assert.equal(copied.warnings, undefined);

    const [snapshot, content, storedClass] = copied.objects!;
    assert.deepEqual(snapshot!.metadata.labels, { app: "shop", "velero.io/backup-name": "nightly" });
    assert.deepEqual(snapshot!.metadata.annotations, {
      "velero.io/csi-volumesnapshot-handle": copied.csi!.snapshotHandle,
      "velero.io/csi-driver-name": DRIVER,
      "velero.io/csi-volumesnapshot-restore-size": "1Gi",
      "velero.io/csi-vsc-deletion-policy": "Delete",
    });
    assert.deepEqual(content!.metadata.labels, { "velero.io/backup-name": "nightly" });
    assert.equal(content!.metadata.annotations, undefined);
    assert.equal(storedClass!.metadata.name, classes[0]!.name);

    const back = await restored(source, copied, "again");
    assert.equal(await back.file(), "data of plain");
    assert.deepEqual(await back.release(), []);
    await nothingLeft();
    assert.deepEqual(await clusters[0]!.driver.stored(), [copied.csi!.snapshotHandle], "the backup still has it");
    await deleteCopies(copied);
    assert.deepEqual(await clusters[0]!.driver.stored(), []);
    await nothingLeft();
  });

  test("what waits for its first Pod keeps its snapshot until there is one", async () => {
    const source = await claim("late");
    const copied = await copy(run("nightly"), source).done;
    await settle("nightly", copied);
    const back = await restored(source, copied, "late", LATE_DISK);
    const [waiting] = await back.release();
    assert.match(waiting!.reason, /claim shop\/late is bound once a Pod uses it/);
    assert.equal((await standing(clusters[1]!)).length, 2);
    await clusters[1]!.cluster.api.request("POST", "/api/v1/namespaces/shop/pods", {
      metadata: { name: "user" },
      spec: {
        containers: [{ name: "main", image: "busybox" }],
        volumes: [{ name: "data", persistentVolumeClaim: { claimName: "late" } }],
      },
    });
    assert.deepEqual(await back.release(), []);
    assert.equal(await back.file(), "data of late");
    await nothingLeft();
    await deleteCopies(copied);
  });

  const GOES_WELL = [
    { name: "slow", behaviour: { slow: 20 } },
    { name: "fails-at-first", behaviour: { failures: 3 } },
  ];
  for (const { name, behaviour } of GOES_WELL)
    test(`a driver that is ${name} is waited for; what is discarded leaves nothing`, async () => {
      const source = await claim(name);
      clusters[0]!.driver.behaviours.set(name, behaviour);
      const copied = await copy(run("nightly"), source).done;
      assert.deepEqual(await clusters[0]!.driver.stored(), [copied.csi!.snapshotHandle]);
      await copied.discard!(never);
      await nothingLeft();
      assert.deepEqual(await clusters[0]!.driver.stored(), []);
    });

  const GOES_WRONG = [
    {
      name: "failing",
      behaviour: { failures: Number.POSITIVE_INFINITY, error: "no quota" },
      patience: { errorMs: 300 },
      want: {
        kind: "unreachable",
        message: /^its VolumeSnapshot fails: Failed to create snapshot: no quota/,
      },
    },
    {
      name: "never-ready",
      behaviour: { slow: Number.POSITIVE_INFINITY },
      patience: { readyTimeoutMs: 300 },
      want: { kind: "timeout", message: /not ready to use in time: the CSI driver has not answered/ },
    },
  ];
  for (const { name, behaviour, patience, want } of GOES_WRONG)
    test(`${name} ends as a named failure that leaves nothing`, async () => {
      const source = await claim(name);
      clusters[0]!.driver.behaviours.set(name, behaviour);
      const { fixed, done } = copy(run("nightly", patience), source);
      await assert.rejects(done, want);
      if (name === "failing") await assert.rejects(fixed, want);
      await nothingLeft();
      assert.deepEqual(await clusters[0]!.driver.stored(), []);
    });

  test("a driver that never answers: the message says what is left, which goes once it answers", async () => {
    const source = await claim("silent");
    const { driver, kube } = clusters[0]!;
    driver.behaviours.set("silent", { silent: true });
    const impatient = {
      backupName: "nightly",
      location: LOCATION,
      signal: never,
      ...PATIENCE,
      timeoutMs: 300,
      removeMs: 300,
    };
    await assert.rejects(copy(csiRun(onceDriverIsAsked(kube), impatient), source).done, {
      kind: "timeout",
      message:
        /not cut in time: the CSI driver has not answered; (the VolumeSnapshot shop\/velero-silent-\w+) may be left: \1 was deleted but is not gone/,
    });
    assert.equal((await standingSnapshots(kube, undefined, never)).length, 1);
    driver.behaviours.clear();
    await until("the end of what was left", async () => (await standing(clusters[0]!)).length === 0);
    assert.deepEqual(await driver.stored(), []);
  });

  test("who ends a run takes back what it has made, whenever it does", async () => {
    const source = await claim("aborted");
    const { driver } = clusters[0]!;
    for (const wait of [false, true]) {
      const ending = new AbortController();
      driver.behaviours.set("aborted", wait ? { slow: Number.POSITIVE_INFINITY } : { silent: true });
      const { fixed, done } = copy(run("nightly", {}, ending.signal), source);
      if (wait) await fixed;
      else await until("its content", async () => (await standing(clusters[0]!)).length === 2);
      ending.abort(new Error("enough"));
      driver.behaviours.clear();
      await assert.rejects(done, { message: "enough" });
      await nothingLeft();
      assert.deepEqual(await driver.stored(), []);
    }
  });

  test("a claim that is deleted meanwhile is told of", async () => {
    const source = await claim("deleted");
    await clusters[0]!.cluster.api.request("DELETE", `${CLAIMS}/deleted`);
    await assert.rejects(copy(run("nightly"), source).done, {
      kind: "missing",
      message: /claim shop\/deleted was deleted before its snapshot was cut/,
    });
    await nothingLeft();
  });

  test("a VolumeSnapshot that somebody deletes is told of", async () => {
    const source = await claim("meddled");
    const { cluster, driver } = clusters[0]!;
    driver.behaviours.set("meddled", { slow: Number.POSITIVE_INFINITY });
    const { fixed, done } = copy(run("nightly"), source);
    await fixed;
    await cluster.api.request("DELETE", `${SNAPSHOT_API}/namespaces/shop/volumesnapshots`);
    await assert.rejects(done, { kind: "missing", message: /was deleted before it was ready to use/ });
    await nothingLeft();
    assert.deepEqual(await driver.stored(), []);
  });

  test("what a dead run left is found by its backup's name and location, and removed with its snapshot", async () => {
    const source = await claim("left");
    const { kube, driver } = clusters[0]!;
    driver.behaviours.set("left", { slow: Number.POSITIVE_INFINITY });
    const dead = new AbortController();
    const { fixed, done } = copyByCsi(
      { ...run("dead", {}, dead.signal), kube: unwritable(kube, dead.signal) },
      source,
      classes[0]!,
    );
    await fixed;
    dead.abort(new Error("killed"));
    await assert.rejects(done);
    for (const other of [
      { backupName: "other", location: LOCATION },
      { backupName: "dead", location: "file:///other" },
    ])
      assert.deepEqual(await standingSnapshots(kube, other, never), []);
    assert.equal((await standingSnapshots(kube, { backupName: "dead", location: `${LOCATION}/` }, never)).length, 1);
    await settle("dead");
    await nothingLeft();
    assert.deepEqual(await driver.stored(), []);
  });

  test("a snapshot is deleted by its handle alone; one that the driver doesn't know is absent", async () => {
    const copied = await copy(run("nightly"), await claim("old")).done;
    await settle("nightly", copied);
    const snapshot = storedSnapshot(copied.objects![1]!)!;
    assert.equal(await deleteByHandle(run("nightly"), snapshot, never), "deleted");
    assert.deepEqual(await clusters[0]!.driver.stored(), []);
    assert.equal(await deleteByHandle(run("nightly"), snapshot, never), "absent");
    await nothingLeft();
  });

  test("a driver that doesn't answer keeps its snapshot, and nothing of the attempt stays", async () => {
    const copied = await copy(run("nightly"), await claim("kept")).done;
    await settle("nightly", copied);
    const { driver } = clusters[0]!;
    driver.behaviours.set(copied.csi!.snapshotHandle, { silent: true });
    await assert.rejects(
      deleteByHandle(run("nightly", { removeMs: 300 }), storedSnapshot(copied.objects![1]!)!, never),
      {
        kind: "timeout",
        message:
          /snapshot snap-\w+ of the CSI driver disk.csi.example.com could not be deleted: the driver doesn't answer/,
      },
    );
    await nothingLeft();
    driver.behaviours.clear();
    await deleteCopies(copied);
  });

  async function groupOf(name: string): Promise<ClaimGroup> {
    const label = { key: "group", value: name };
    const claims = [await claim(`${name}-1`, { group: name }), await claim(`${name}-2`, { group: name })];
    const api = await groupApi(clusters[0]!.kube, never);
    const choice = chooseGroupClass({ driver: DRIVER, claim: claims[0]! }, api!.classes);
    assert("name" in choice);
    return { claims, label, className: choice.name, version: api!.version };
  }

  test("a group is copied at one moment, comes back, and is deleted as a whole", async () => {
    const group = await groupOf("pair");
    const copies = copyGroupByCsi(run("nightly"), group);
    const copied = await Promise.all(copies.map(({ done }) => done));
    await settle("nightly", ...copied);
    await nothingLeft();
    const { driver } = clusters[0]!;
    assert.equal((await driver.stored()).length, 2);
    const [groupHandle] = copied.map(({ csi }) => csi!.groupHandle);
    assert(copied.every(({ csi, warnings }) => csi!.groupHandle === groupHandle && !warnings));
    for (const [index, one] of copied.entries()) {
      const [snapshot] = one.objects!;
      assert.equal(snapshot!.metadata.annotations!["velero.io/csi-volumegroupsnapshot-handle"], groupHandle);
      assert.equal(snapshot!.metadata.ownerReferences, undefined);
      const back = await restored(group.claims[index]!, one, "group");
      assert.equal(await back.file(), `data of pair-${index + 1}`);
      assert.deepEqual(await back.release(), []);
    }
    await deleteCopies(...copied);
    assert.deepEqual(await driver.stored(), []);
    await nothingLeft();
  });

  test("a group of which one fails leaves nothing; nor does one that is ended, or that a dead run left", async () => {
    const group = await groupOf("broken");
    const { driver, kube } = clusters[0]!;
    driver.behaviours.set("broken-2", { failures: 1, error: "no quota" });
    for (const { done } of copyGroupByCsi(run("nightly", { errorMs: 200 }), group))
      await assert.rejects(done, {
        kind: "unreachable",
        message: /VolumeGroupSnapshot shop.velero-broken-\w+ fails: .*no quota/,
      });
    await nothingLeft();
    driver.behaviours.clear();

    for (const dies of [false, true]) {
      const ending = new AbortController();
      const backing = run("nightly", {}, ending.signal);
      const written = dies ? { ...backing, kube: unwritable(kube, ending.signal) } : backing;
      driver.behaviours.set("broken-1", { slow: Number.POSITIVE_INFINITY });
      const [{ fixed, done }] = copyGroupByCsi(written, group) as [VolumeCopy, VolumeCopy];
      await fixed;
      ending.abort(new Error("enough"));
      await assert.rejects(done);
      if (dies) await settle("nightly");
      driver.behaviours.clear();
      await nothingLeft();
      assert.deepEqual(await driver.stored(), []);
    }
  });

  test("a group that another claim belongs to is refused, before anything is made", async () => {
    const group = await groupOf("wide");
    const [copy] = copyGroupByCsi(run("nightly"), { ...group, claims: group.claims.slice(0, 1) });
    await assert.rejects(copy!.done, {
      kind: "invalid",
      message: /claim shop\/wide-2 belongs to the group group=wide too/,
    });
    await nothingLeft();
  });

  const UNRESTORABLE = [
    {
      what: "a handle that the driver doesn't know",
      from: { driver: DRIVER },
      want: { kind: "unreachable", message: /can't be restored: .* can not find snapshot/ },
    },
    {
      what: "a driver that the target doesn't have",
      from: { driver: "other.csi.example.com" },
      want: { kind: "invalid", message: /target has no CSI driver other/ },
    },
  ];
  for (const { what, from, want } of UNRESTORABLE)
    test(`${what} is told of, and leaves nothing`, async () => {
      const restoring = csiRestore(clusters[1]!.kube, {
        restoreName: "again",
        signal: never,
        ...PATIENCE,
        errorMs: 200,
      });
      const source = { snapshotHandle: "snap-none", snapshotName: "velero-none", ...from };
      await assert.rejects(
        snapshotForClaim(restoring, { claim: { namespace: "shop", name: "none" }, from: source }),
        want,
      );
      await nothingLeft();
    });
});

/** A client through which nothing more is changed once the signal has aborted: what a killed run could still do. */
function unwritable(kube: Kube, signal: AbortSignal): Kube {
  return {
    ...kube,
    request: (request) => {
      if (signal.aborted) throw new Error("killed");
      return kube.request(request);
    },
  };
}
