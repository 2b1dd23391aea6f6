import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import { gunzipSync } from "node:zlib";
import type { CheckDocument } from "../../core/check/document.ts";
import type { KubeObject } from "../rig/api.ts";
import { type CsiDriver, DISK, KEPT_DISK, LATE_DISK, startCsiDriver } from "../rig/csidriver.ts";
import { makeDir, removeDir, until } from "../rig/process.ts";
import { FOLDERS } from "../rig/provisioner.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { installSnapshots } from "../rig/snapshotcrds.ts";
import { makeTree, readTree } from "../rig/tree.ts";
import { startVelero, VELERO } from "../rig/velero.ts";
import { type BackupDocument, lifeboat, type RestoreDocument, type Running, start } from "./lifeboat.ts";
import { claimOf, type FolderCluster, folderCluster, resticSkip, SHOP, SLEEP } from "./restic.ts";

const INFRA = join(import.meta.dirname, "../../infra/kubernetes");
const SNAPSHOTS = "/apis/snapshot.storage.k8s.io/v1";
const NAMESPACE = `/api/v1/namespaces/${SHOP}`;
/** By its class: one that is bound at once, one that waits for a Pod, one whose volumes outlive their claims. */
const CLAIMS = { db: DISK, late: LATE_DISK, kept: KEPT_DISK };

interface Problem {
  name?: string;
  message: string;
}
interface Volume {
  claimRef: { name: string };
  persistentVolumeReclaimPolicy: string;
}
interface VolumeInfo {
  pvcName: string;
  backupMethod: string;
  snapshotDataMoved: boolean;
  pvbInfo: { uploaderType: string; cut: string };
}

describe("files of CSI snapshots, moved by restic", { skip: resticSkip(["versitygw"]) }, () => {
  const stack = new AsyncDisposableStack();
  let dir: string;
  let s3: S3;
  let source: FolderCluster;
  let target: FolderCluster;
  let driver: CsiDriver;
  /** Of who backs up, and of who restores, with the rights of infra/kubernetes and no others. */
  let keeper: string;
  let restorer: string;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "lifeboat-moved-"));
    stack.defer(() => rm(dir, { recursive: true }));
    const storage = makeDir("storage");
    stack.defer(() => removeDir(storage));
    [s3, source, target] = await Promise.all([startS3(), folderCluster({ storage }), folderCluster()]);
    for (const server of [s3, source, target]) stack.use(server as AsyncDisposable);
    await installSnapshots(source.cluster.api);
    driver = stack.use(await startCsiDriver(source.cluster, storage));
    keeper = await userWith(source, ["backup", "csi", "restic"]);
    restorer = await userWith(target, ["restore"]);
    await writeFile(join(dir, "password.txt"), "correct-horse-battery\n");
    const keys = [`AWS_ACCESS_KEY_ID=${s3.accessKeyId}`, `AWS_SECRET_ACCESS_KEY=${s3.secretAccessKey}`];
    await writeFile(join(dir, "credentials.txt"), keys.join("\n"));
    await configure("lifeboat", { timeout: "90s" });
    await configure("hasty", { timeout: "4s" });
    await configure("bare");
    for (const [name, className] of Object.entries(CLAIMS)) await claim(name, className);
    makeTree(await driver.folder(SHOP, "db"), { files: 100, largeMiB: 2 });
    for (const name of ["late", "kept"]) await writeFile(join(await driver.folder(SHOP, name), "file"), `of ${name}`);
  });
  after(() => stack.disposeAsync());
  afterEach(() => {
    source.kubelet.trouble = undefined;
    driver.behaviours.clear();
  });

  async function userWith({ cluster }: FolderCluster, rights: string[]): Promise<string> {
    for (const right of rights) await cluster.kubectl(["apply", "-f", join(INFRA, `${right}.yaml`)]);
    const path = join(cluster.dir, "limited.yaml");
    const groups = rights.map((right) => `lifeboat:${right}`);
    await writeFile(path, await cluster.user("limited", groups));
    return path;
  }

  function configure(name: string, restic?: object): Promise<void> {
    const secrets = { password: "file:password.txt", credentials: "file:credentials.txt" };
    const volumes = restic && { restic: { ...secrets, ...restic } };
    return writeFile(join(dir, `${name}.yaml`), JSON.stringify({ location: s3.location("here"), volumes }));
  }

  /** A claim, and a Pod that runs with it. */
  async function claim(name: string, className: string): Promise<void> {
    const { api } = source.cluster;
    await api.request("POST", `${NAMESPACE}/persistentvolumeclaims`, {
      ...claimOf(name, className),
      metadata: { name, labels: { app: name } },
    });
    const container = { name: "main", image: `${SLEEP}:1`, args: ["3600"] };
    await api.request("POST", `${NAMESPACE}/pods`, {
      metadata: { name },
      spec: {
        automountServiceAccountToken: false,
        containers: [{ ...container, volumeMounts: [{ name: "data", mountPath: "/data" }] }],
        terminationGracePeriodSeconds: 0,
        volumes: [{ name: "data", persistentVolumeClaim: { claimName: name } }],
      },
    });
    await until(`${name} runs`, async () => {
      const { status } = await api.request("GET", `${NAMESPACE}/pods/${name}`);
      return (status as { phase: string }).phase === "Running";
    });
  }

  const at = (config: string) => ["--config", join(dir, `${config}.yaml`), "--kubeconfig", keeper, "-o", "json"];
  const backup = (name: string, { config = "lifeboat", flags = [] as string[] } = {}) => [
    ...["backup", "create", name, ...at(config), "--include-namespaces", SHOP, "--snapshot-move-data", ...flags],
  ];

  const begin = (args: string[]): Running => start(args, s3.env as Record<string, string>);

  async function told<T>(running: Running, code = 0): Promise<T> {
    const ended = await running.ended;
    assert.equal(ended.code, code, ended.stderr + ended.stdout);
    return JSON.parse(ended.stdout) as T;
  }

  const named = async (path: string) =>
    (await source.cluster.api.request<{ items: KubeObject[] }>("GET", path)).items.map(({ metadata }) => metadata.name);

  const volumes = () => named("/api/v1/persistentvolumes");
  const cutSnapshots = async () =>
    (await source.cluster.api.request<{ items: KubeObject[] }>("GET", `${SNAPSHOTS}/volumesnapshots`)).items.filter(
      ({ status }) => (status as { creationTime?: string } | undefined)?.creationTime,
    );

  /** Nothing of a copy is in the cluster, and nothing in the storage. */
  async function nothingLeft(): Promise<void> {
    const ours = (await source.left()).filter((path) => path.includes("/lifeboat-"));
    assert.deepEqual(ours, []);
    for (const kind of ["volumesnapshots", "volumesnapshotcontents"])
      assert.deepEqual(await named(`${SNAPSHOTS}/${kind}`), []);
    assert.deepEqual((await named(`${NAMESPACE}/persistentvolumeclaims`)).sort(), Object.keys(CLAIMS).sort());
    assert.equal((await volumes()).length, 3);
    assert.deepEqual(await driver.stored(), []);
    assert.equal((await driver.volumes()).length, 3);
  }

  async function sideFile(name: string, ending: string): Promise<unknown> {
    const path = join(s3.dir, "data", s3.bucket, `here/backups/${name}/${name}-${ending}.json.gz`);
    return JSON.parse(gunzipSync(await readFile(path)).toString());
  }

  it("come back as they were when the snapshots were cut, on another platform", async () => {
    const folder = await driver.folder(SHOP, "db");
    const cut = readTree(folder);
    driver.behaviours.set("db", { slow: Number.POSITIVE_INFINITY });
    const making = begin(backup("full"));
    await until("all snapshots are cut", async () => (await cutSnapshots()).length === 3);
    await writeFile(join(folder, "later"), "written after the cut");
    driver.behaviours.clear();
    const made = await told<BackupDocument & { volumes: Record<string, number> }>(making);
    assert.equal(made.phase, "Completed", JSON.stringify(made.errors));
    const { csiSnapshots, fileCopies, fileBytes, lacking } = made.volumes;
    assert.deepEqual([csiSnapshots, fileCopies, lacking], [0, 3, 0]);
    assert.ok(fileBytes! > 2 << 20);
    assert.deepEqual(made.warnings, []);
    await nothingLeft();

    const infos = (await sideFile("full", "volumeinfo")) as VolumeInfo[];
    const { backupMethod, snapshotDataMoved, pvbInfo } = infos.find(({ pvcName }) => pvcName === "db")!;
    assert.deepEqual([backupMethod, snapshotDataMoved, pvbInfo.uploaderType], ["PodVolumeBackup", false, "restic"]);
    assert.match(pvbInfo.cut, /^\d{4}-\d\d-\d\dT[\d:]+Z$/);
    assert.equal(((await sideFile("full", "podvolumebackups")) as unknown[]).length, 3);
    const described = await lifeboat(
      ["backup", "describe", "full", "--details", "--location", s3.location("here")],
      s3.env as Record<string, string>,
    );
    assert.match(described.stdout, /shop\/db:\s+restic snapshot \w{8} \([\d.]+ MiB\), of a CSI snapshot cut 2/);

    const restored = await told<RestoreDocument>(
      begin([
        ...["restore", "create", "back", "--from-backup", "full", "-o", "json"],
        ...["--config", join(dir, "lifeboat.yaml"), "--kubeconfig", restorer],
        ...[
          "--map-storage-class",
          Object.values(CLAIMS)
            .map((name) => `${name}=${FOLDERS}`)
            .join(),
        ],
        ...["--namespace-mappings", `${SHOP}:back`],
      ]),
    );
    assert.equal(restored.phase, "Completed", JSON.stringify(restored.errors));
    assert.deepEqual(readTree(await target.folder("back", "db")), cut);
    assert.ok((await readdir(folder)).includes("later"));
    for (const name of ["late", "kept"])
      assert.equal(await readFile(join(await target.folder("back", name), "file"), "utf8"), `of ${name}`);
  });

  const FAILS: { what: string; trouble?: "idle" | "evict"; barren?: string; config?: string; says: RegExp }[] = [
    {
      ...{ what: "whose Job is evicted", trouble: "evict" },
      says: /can't copy its files: its Pod was ended by the cluster \(Evicted\)/,
    },
    {
      what: "whose Job never starts",
      trouble: "idle",
      config: "hasty",
      says: /can't copy its files: the time for it, \d+ s, is over: its Pod is still /,
    },
    {
      ...{ what: "whose snapshot can't be made a volume", barren: "the pool is full", config: "hasty" },
      says: /; the claim that was made of its snapshot got no volume: failed to provision .* the pool is full$/,
    },
  ];
  for (const { what, trouble, barren, config, says } of FAILS)
    it(`${what} are an error, and nothing is left`, async () => {
      source.kubelet.trouble = trouble;
      if (barren) for (const name of Object.keys(CLAIMS)) driver.behaviours.set(name, { barren });
      const made = await told<BackupDocument & { volumes: Record<string, number> }>(
        begin(backup(what.toLowerCase().replaceAll(/\W+/g, "-"), { config })),
        3,
      );
      const [error, ...others] = (made.errors as Problem[]).filter(({ name }) => name === "db");
      assert.match(error?.message ?? "", says);
      assert.deepEqual(others, []);
      assert.equal(made.volumes.lacking, 3);
      await nothingLeft();
    });

  it("of a backup that is ended leave nothing, whatever is under way", async () => {
    source.kubelet.trouble = "idle";
    driver.behaviours.set("late", { slow: Number.POSITIVE_INFINITY });
    driver.behaviours.set("kept", { silent: true });
    const ending = begin(backup("ended"));
    await until("a Job's Secret", async () => (await source.left()).some((path) => path.includes("secrets?")));
    await until("another's snapshot", async () => (await cutSnapshots()).length === 2);
    process.kill(ending.pid, "SIGINT");
    driver.behaviours.clear();
    assert.equal((await ending.ended).code, 130);
    source.kubelet.trouble = undefined;
    await nothingLeft();
  });

  it("of a run that is killed are told of by location check, and go with the next run of its name", async () => {
    source.kubelet.trouble = "idle";
    const killed = backup("killed", { flags: ["--selector", "app=kept"] });
    const dying = begin(killed);
    await until("its Job's Pod", async () => (await source.left()).some((path) => /pods\?.*\/lifeboat-/.test(path)));
    const ours = `labelSelector=${encodeURIComponent("lifeboat/volume-copy=csi,velero.io/exclude-from-backup=true")}`;
    const [clone] = await until("its clone's volume is known as such", async () => {
      const path = `/api/v1/persistentvolumes?${ours}`;
      const { items } = await source.cluster.api.request<{ items: KubeObject[] }>("GET", path);
      return items.length > 0 && items;
    });
    const { claimRef, persistentVolumeReclaimPolicy } = clone!.spec as Volume;
    assert.match(claimRef.name, /^lifeboat-kept-/);
    assert.equal(persistentVolumeReclaimPolicy, "Delete");
    dying.kill();
    await dying.ended;
    const { checks } = JSON.parse(
      (await begin(["location", "check", ...at("lifeboat")]).ended).stdout,
    ) as CheckDocument;
    const { resources = [], todo = "" } = checks.find(({ question }) => question === "leftovers")!;
    assert.deepEqual(
      resources.map((one) => one.split(" ")[0]),
      ["Job", "PersistentVolumeClaim", "VolumeSnapshot"],
    );
    const names =
      "job lifeboat-S\\nkubectl delete -n shop persistentvolumeclaim lifeboat-kept-S\\nkubectl delete -n shop volumesnapshot velero-kept-S";
    assert.match(todo, new RegExp(`^kubectl delete -n shop ${names.replaceAll("S", "[-\\w]+")}$`));
    source.kubelet.trouble = undefined;
    assert.equal((await told<BackupDocument>(begin(killed))).phase, "Completed");
    await nothingLeft();
  });

  it("need volumes.restic, and are refused without at once", async () => {
    const { code, stderr } = await begin(backup("bare", { config: "bare" })).ended;
    assert.equal(code, 2);
    assert.match(stderr, /snapshotMoveData copies the files of snapshots: the configuration has no volumes\.restic/);
    assert.equal((await readdir(join(s3.dir, "data", s3.bucket, "here/backups"))).includes("bare"), false);
  });

  const velero = requireOrSkip("rig", VELERO);
  it("are described and restored by real Velero without an error", { skip: velero }, async () => {
    const flags = ["--include-resources", "persistentvolumeclaims,persistentvolumes", "--selector", "app=db"];
    await told(begin(backup("alone", { flags })));
    await using server = await startVelero(source.cluster, s3, "here", { csi: true });
    await server.waitForSyncedBackup("alone");
    assert.match(await server.cli(["backup", "describe", "alone", "--details"]), /Snapshot Move Data:\s+true/);
    const { status } = await server.createRestore("theirs", {
      ...{ backupName: "alone", namespaceMapping: { [SHOP]: "theirs" } },
    });
    assert.deepEqual([status?.phase, status?.errors ?? 0], ["Completed", 0], server.log());
  });
});
