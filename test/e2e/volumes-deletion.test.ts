import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { backup } from "../../core/backup/backup.ts";
import type { CheckDocument } from "../../core/check/document.ts";
import { listFolder } from "../../core/contents.ts";
import { LifeboatError } from "../../core/errors.ts";
import { connect } from "../../core/kube/client.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import { startRunLog } from "../../core/log.ts";
import type { Bucket } from "../../core/ports.ts";
import { runRetention } from "../../core/retention/retention.ts";
import { copyFiles } from "../../core/volumes/restic/copy.ts";
import { bucketRepositories } from "../../core/volumes/restic/repositories.ts";
import type { FileCopy } from "../../core/volumes/volume.ts";
import { s3Bucket } from "../../functions/aws/bucket.ts";
import { putBackup } from "../core/location-sample.ts";
import type { KubeObject } from "../rig/api.ts";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { type CsiDriver, DISK, startCsiDriver } from "../rig/csidriver.ts";
import { makeDir, removeDir } from "../rig/process.ts";
import { requireOrSkip } from "../rig/require.ts";
import { startS3 } from "../rig/s3.ts";
import { installSnapshots } from "../rig/snapshotcrds.ts";
import { document, lifeboat } from "./lifeboat.ts";
import { folderCluster, resticSkip, SHOP, settingsFor } from "./restic.ts";

const SNAPSHOT_API = "/apis/snapshot.storage.k8s.io/v1";
const INFRA = join(import.meta.dirname, "../../infra/kubernetes");

describe("CSI snapshots of a backup that is deleted", { skip: requireOrSkip("rig", CONTROL_PLANE) }, () => {
  let storage: string;
  let dir: string;
  let cluster: Cluster;
  let driver: CsiDriver;
  let keeper: string;
  const at = (folder: string) => ["--location", `file://${join(dir, folder)}`];
  const create = (name: string) =>
    document(["backup", "create", name, ...at("made"), "--include-namespaces", "shop"], env());
  const env = () => ({ KUBECONFIG: cluster.kubeconfigPath });

  before(async () => {
    storage = makeDir("storage");
    dir = await mkdtemp(join(tmpdir(), "lifeboat-deletion-"));
    cluster = await startCluster();
    await installSnapshots(cluster.api);
    driver = await startCsiDriver(cluster, storage);
    for (const file of ["backup", "csi"]) await cluster.kubectl(["apply", "-f", join(INFRA, `${file}.yaml`)]);
    keeper = join(dir, "keeper");
    await writeFile(keeper, await cluster.user("keeper", ["lifeboat:backup"]));
    await cluster.api.request("POST", "/api/v1/namespaces", { metadata: { name: "shop" } });
    await cluster.api.request("POST", "/api/v1/namespaces/shop/persistentvolumeclaims", {
      metadata: { name: "db" },
      spec: { storageClassName: DISK, accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "100Mi" } } },
    });
    await driver.folder("shop", "db");
  });
  after(async () => {
    await driver?.[Symbol.asyncDispose]();
    await cluster?.stop();
    await removeDir(storage);
    await rm(dir, { recursive: true });
  });

  async function standing(): Promise<string[]> {
    const lists = ["volumesnapshots", "volumesnapshotcontents"].map((kind) =>
      cluster.api.request<{ items: KubeObject[] }>("GET", `${SNAPSHOT_API}/${kind}`),
    );
    return (await Promise.all(lists)).flatMap(({ items }) => items.map(({ metadata }) => metadata.name));
  }

  it("stay with its copies elsewhere, and go with it, by the cluster that made them", async () => {
    await create("nightly");
    assert.equal((await driver.stored()).length, 1);
    await document(["backup", "copy", "nightly", ...at("made"), "--to", `file://${join(dir, "vault")}`]);

    const copy = await lifeboat(["backup", "delete", "nightly", ...at("vault"), "--confirm"]);
    assert.deepEqual([copy.code, copy.stdout], [0, "Deleted backup nightly\n"]);
    assert.match(copy.stderr, /backup nightly leaves 1 volume copy in the storage, of the original, in file:/);
    assert.equal((await driver.stored()).length, 1);

    const lost = await lifeboat(["backup", "delete", "nightly", ...at("made"), "--confirm"]);
    assert.notEqual(lost.code, 0);
    assert.match(lost.stderr, /1 volume copy of backup "nightly" can't be removed: [\s\S]*--keep-volume-data/);
    assert.equal((await lifeboat(["backup", "verify", "nightly", ...at("made"), "--read-data"])).code, 0);

    const { code, stderr } = await lifeboat(["backup", "delete", "nightly", ...at("made"), "--confirm"], env());
    assert.equal(code, 0, stderr);
    assert.deepEqual(await driver.stored(), []);
    assert.deepEqual(await standing(), []);
    assert.equal((await lifeboat(["backup", "delete", "nightly", ...at("made"), "--confirm"], env())).code, 5);
  });

  it("that somebody has deleted are no failure", async () => {
    await create("gone");
    const [handle] = await driver.stored();
    await removeDir(join(storage, "snapshots", handle!));
    assert.equal((await lifeboat(["backup", "delete", "gone", ...at("made"), "--confirm"], env())).code, 0);
    assert.deepEqual(await standing(), []);
  });

  it("can be left in the storage, where their cluster is gone", async () => {
    await create("lost");
    const { code, stderr } = await lifeboat([
      ...["backup", "delete", "lost", ...at("made"), "--confirm", "--keep-volume-data"],
    ]);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /backup lost leaves 1 volume copy in the storage\n/);
    assert.equal((await driver.stored()).length, 1);
  });

  it("left by runs that died are found by a check, which tells what rights they take", async () => {
    const labels = { "velero.io/backup-name": "dead", "lifeboat/volume-copy": "csi" };
    for (const name of ["left", "left-too"])
      await cluster.api.request("POST", `${SNAPSHOT_API}/namespaces/shop/volumesnapshots`, {
        ...{ apiVersion: "snapshot.storage.k8s.io/v1", kind: "VolumeSnapshot", metadata: { name, labels } },
        spec: { source: { persistentVolumeClaimName: "db" }, volumeSnapshotClassName: "disk-snapshots" },
      });
    const found = async (kubeconfig: string) => {
      const { checks } = await document<CheckDocument>([
        "location",
        "check",
        ...at("made"),
        "--kubeconfig",
        kubeconfig,
      ]);
      return Object.fromEntries(
        checks.filter(({ subject }) => subject === "cluster").map((one) => [one.question, one]),
      );
    };
    const limited = await found(keeper);
    assert.equal(limited.volumes?.state, "warning");
    assert.match(limited.volumes?.message ?? "", /^no snapshots by CSI: may not get persistentvolumes, /);
    assert.match(
      limited.volumes?.todo ?? "",
      /^kubectl apply -f infra\/kubernetes\/csi\.yaml && kubectl create clusterrolebinding/,
    );

    await writeFile(keeper, await cluster.user("keeper", ["lifeboat:backup", "lifeboat:csi"]));
    const able = await found(keeper);
    assert.deepEqual([able.volumes?.state, able.surplus?.message], ["ok", "may write nothing"]);
    assert.deepEqual(
      [able.leftovers?.state, able.leftovers?.message, able.leftovers?.todo],
      [
        "warning",
        "runs that died have left VolumeSnapshot shop/left, VolumeSnapshot shop/left-too",
        "kubectl delete -n shop volumesnapshot left\nkubectl delete -n shop volumesnapshot left-too",
      ],
    );
    const { stdout } = await lifeboat(["location", "check", ...at("made"), "--kubeconfig", keeper]);
    assert.match(
      stdout,
      /^ +→ kubectl delete -n shop volumesnapshot left\n +kubectl delete -n shop volumesnapshot left-too$/m,
    );
    assert.equal(able.snapshots?.state, "notAsked");
  });
});

describe("copies of files of backups that retention deletes", { skip: resticSkip(["versitygw"]) }, () => {
  it("go by one Job for each repository, in another namespace where theirs is gone", async () => {
    await using stack = new AsyncDisposableStack();
    const s3 = stack.use(await startS3());
    Object.assign(process.env, s3.env);
    const { kube, kubelet, claim, left } = stack.use(await folderCluster());
    const location = s3.location("here");
    const bucket = s3Bucket(new URL(location));
    const credentials = `AWS_ACCESS_KEY_ID=${s3.accessKeyId}\nAWS_SECRET_ACCESS_KEY=${s3.secretAccessKey}`;
    const files = settingsFor(location, "correct-horse", credentials);
    const signal = AbortSignal.timeout(120_000);

    const made = await claim("data");
    await writeFile(join(made.folder, "file"), "x".repeat(100_000));
    const copy = async (backupName: string): Promise<FileCopy> => {
      const repositories = bucketRepositories(bucket);
      const { done } = copyFiles(kube, files, {
        claim: made.claim,
        volume: made.volume,
        backupName,
        repositories,
        signal,
      });
      return (await done).files!;
    };
    const put = (name: string, ...copies: FileCopy[]) =>
      putBackup(bucket, name, [], {
        at: "2026-01-01T00:00:00Z",
        spec: { ttl: name === "stays" ? "900000h" : "24h" },
        volumes: copies.map((files) => {
          const of = { namespace: files.namespace, name: "data", uid: "u" };
          return { volume: "v", claim: of, method: "PodVolumeBackup" as const, files };
        }),
      });
    // Of a run that was killed: no record names it.
    await copy("one");
    const [first, second, third] = [await copy("one"), await copy("two"), await copy("stays")];
    // A repository of a namespace that is there no more.
    for (const key of (await listFolder(bucket, "restic/shop/")).keys()) {
      const body = Buffer.concat(await Array.fromAsync(await bucket.get(key)));
      await bucket.put(key.replace("/shop/", "/gone/"), body);
    }
    await put("one", first);
    await put("two", second, { ...second, namespace: "gone" });
    await put("stays", third);

    const pods = kubelet.pods.length;
    const lines: string[] = [];
    const volumes = async () => ({ files, cluster: async () => kube });
    const scope = { bucket, config: { schedules: {} }, now: new Date(), volumes, signal };
    const document = await runRetention({ ...scope, log: (_, message) => lines.push(message) });
    assert.deepEqual(document.errors, []);
    assert.deepEqual(
      document.rows
        .filter(({ kind }) => kind === "backup")
        .map(({ name, action, volumeCopies }) => `${name} ${action} ${volumeCopies}`),
      ["one delete 1", "stays keep 1", "two delete 2"],
    );
    const namespaces = kubelet.pods.slice(pods).map(({ metadata }) => metadata.namespace);
    assert.deepEqual(namespaces.sort(), ["default", SHOP]);
    assert.ok(lines.includes("namespace gone is gone, so the Job that deletes its copies of files runs in default"));
    const snapshots = async (repository: string) =>
      [...(await listFolder(bucket, `restic/${repository}/snapshots/`)).keys()].map((key) => key.split("/").at(-1));
    assert.deepEqual(await snapshots(SHOP), [third.snapshotId]);
    assert.ok(!(await snapshots("gone")).includes(second.snapshotId));
    assert.deepEqual(
      [...(await listFolder(bucket, "backups/")).keys()].filter((key) => !key.includes("/stays/")),
      [],
    );
    assert.deepEqual([...(await listFolder(bucket, "metadata/lifeboat/removals/")).keys()], []);
    assert.deepEqual(await left(), []);
  });
});

describe("copies of files of a backup that fails", { skip: resticSkip(["versitygw"]) }, () => {
  it("go by one Job for each repository", async () => {
    await using stack = new AsyncDisposableStack();
    const s3 = stack.use(await startS3());
    Object.assign(process.env, s3.env);
    const { cluster, kubelet, claim, left } = stack.use(await folderCluster());
    const kube = connect(readKubeconfig(await readFile(cluster.kubeconfigPath, "utf8")));
    stack.defer(() => kube.close());
    const bucket = s3Bucket(new URL(s3.location("here")));
    const credentials = `AWS_ACCESS_KEY_ID=${s3.accessKeyId}\nAWS_SECRET_ACCESS_KEY=${s3.secretAccessKey}`;
    const files = settingsFor(s3.location("here"), "correct-horse", credentials);
    for (const name of ["a", "b", "c"]) await writeFile(join((await claim(name)).folder, "file"), name);
    const copies = async () => [...(await listFolder(bucket, `restic/${SHOP}/snapshots/`)).keys()];
    let made = 0;
    const full: Bucket = {
      ...bucket,
      async put(key, body, options) {
        if (!key.endsWith(".tar.gz")) return bucket.put(key, body, options);
        if (!Buffer.isBuffer(body)) for await (const _ of body);
        made = (await copies()).length;
        throw new LifeboatError("invalid", "the bucket is full");
      },
    };
    const failing = backup({
      ...{ kube, bucket: full, name: "failed", volumes: { files }, log: startRunLog({}) },
      spec: { includedNamespaces: [SHOP], defaultVolumesToFsBackup: true },
      signal: AbortSignal.timeout(120_000),
    });
    await assert.rejects(failing, /the bucket is full/);
    assert.equal(made, 3);
    assert.deepEqual(await copies(), []);
    assert.equal(kubelet.pods.filter((pod) => JSON.stringify(pod.spec).includes('"forget"')).length, 1);
    assert.deepEqual(await left(), []);
  });
});
