import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import { gunzipSync } from "node:zlib";
import { ApiError, type KubeObject } from "../rig/api.ts";
import { until } from "../rig/process.ts";
import { FOLDERS, LATE_FOLDERS } from "../rig/provisioner.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { makeTree, readTree } from "../rig/tree.ts";
import { type BackupDocument, lifeboat, type RestoreDocument, type Running, start } from "./lifeboat.ts";
import { objectsIn } from "./objects.ts";
import { claimOf, type FolderCluster, folderCluster, resticSkip, SHOP, SLEEP } from "./restic.ts";

const PASSWORD = "correct-horse-battery";
const FILLING = "lifeboat/filling";

interface Problem {
  resource?: string;
  name?: string;
  message: string;
}
interface Plan {
  steps: { resource: string; name: string; action: string; reason?: string }[];
}
interface PodVolumeBackup {
  metadata: KubeObject["metadata"] & { labels: object; annotations: object };
  spec: { node: string; pod: object; volume: string; uploaderType: string; tags: object };
  status: { phase: string; snapshotID: string; progress: { totalBytes: number; bytesDone: number } };
}

describe("files of volumes, copied by restic", { skip: resticSkip(["versitygw"]) }, () => {
  const stack = new AsyncDisposableStack();
  const said: string[] = [];
  let dir: string;
  let s3: S3;
  let source: FolderCluster;
  let target: FolderCluster;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "lifeboat-files-"));
    stack.defer(() => rm(dir, { recursive: true }));
    [s3, source, target] = await Promise.all([startS3(), folderCluster(), folderCluster()]);
    for (const server of [s3, source, target]) stack.use(server as AsyncDisposable);
    await writeFile(join(dir, "password.txt"), `${PASSWORD}\n`);
    const keys = [`AWS_ACCESS_KEY_ID=${s3.accessKeyId}`, `AWS_SECRET_ACCESS_KEY=${s3.secretAccessKey}`];
    await writeFile(join(dir, "credentials.txt"), keys.join("\n"));
    await configure("lifeboat", "90s");
    await configure("hasty", "4s");
    await writeFile(join(dir, "bare.yaml"), JSON.stringify({ location: s3.location("here") }));
    await workload();
  });
  after(() => stack.disposeAsync());
  afterEach(() => {
    for (const { kubelet } of [source, target]) kubelet.trouble = undefined;
  });

  function configure(name: string, timeout: string): Promise<void> {
    const restic = { password: "file:password.txt", credentials: "file:credentials.txt", timeout };
    const config = { location: s3.location("here"), volumes: { restic } };
    return writeFile(join(dir, `${name}.yaml`), JSON.stringify(config));
  }

  const podSpec = (volumes: object[]) => ({
    automountServiceAccountToken: false,
    containers: [
      { name: "main", image: `${SLEEP}:1`, args: ["3600"], volumeMounts: [{ name: "data", mountPath: "/data" }] },
    ],
    terminationGracePeriodSeconds: 0,
    volumes,
  });

  /** A StatefulSet whose Pod wants its volume to be copied, a Pod that doesn't, and a claim that no Pod mounts. */
  async function workload(): Promise<void> {
    const { api } = source.cluster;
    const claim = { accessModes: ["ReadWriteOnce"], storageClassName: FOLDERS };
    await api.request("POST", `/apis/apps/v1/namespaces/${SHOP}/statefulsets`, {
      metadata: { name: "db" },
      spec: {
        serviceName: "db",
        selector: { matchLabels: { app: "db" } },
        template: {
          metadata: { labels: { app: "db" }, annotations: { "backup.velero.io/backup-volumes": "data" } },
          spec: podSpec([]),
        },
        volumeClaimTemplates: [
          { metadata: { name: "data" }, spec: { ...claim, resources: { requests: { storage: "1Gi" } } } },
        ],
      },
    });
    await source.claim("cache");
    await api.request("POST", `/api/v1/namespaces/${SHOP}/pods`, {
      metadata: { name: "cache", annotations: { "backup.velero.io/backup-volumes-excludes": "data" } },
      spec: podSpec([{ name: "data", persistentVolumeClaim: { claimName: "cache" } }]),
    });
    await writeFile(join((await source.claim("idle")).folder, "file"), "of nobody");
    await Promise.all(["db-0", "cache"].map((pod) => running(source, SHOP, pod)));
    makeTree(await source.folder(SHOP, "data-db-0"), { files: 100, largeMiB: 2 });
  }

  function running({ cluster }: FolderCluster, namespace: string, pod: string): Promise<KubeObject> {
    return until(`${namespace}/${pod} runs`, async () => {
      const found = await cluster.api.request("GET", `/api/v1/namespaces/${namespace}/pods/${pod}`);
      return (found.status as { phase: string }).phase === "Running" && found;
    });
  }

  async function claimIn(namespace: string, name = "data-db-0"): Promise<KubeObject | undefined> {
    try {
      return await target.cluster.api.request("GET", `/api/v1/namespaces/${namespace}/persistentvolumeclaims/${name}`);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return undefined;
      throw error;
    }
  }

  /** What of our Jobs, their Pods and Secrets stands in a namespace. */
  const ours = async (cluster: FolderCluster, namespace = SHOP, kind = "") =>
    (await cluster.left("", namespace)).filter((path) => path.includes(`${kind}?`) && path.includes("/lifeboat-"));

  async function assertBack(namespace: string): Promise<void> {
    const [made, back] = [await source.folder(SHOP, "data-db-0"), await target.folder(namespace, "data-db-0")];
    assert.deepEqual(readTree(back), readTree(made));
    assert.equal(await readFile(join(await target.folder(namespace, "idle"), "file"), "utf8"), "of nobody");
  }

  const fillingIn = async (namespace: string) =>
    ((await claimIn(namespace))?.metadata as { annotations?: Record<string, string> })?.annotations?.[FILLING];

  const at = ({ cluster }: FolderCluster, config = "lifeboat") => [
    ...["--config", join(dir, `${config}.yaml`), "--kubeconfig", cluster.kubeconfigPath],
  ];
  const backup = (name: string, ...flags: string[]) => [
    ...["backup", "create", name, ...at(source), "--include-namespaces", SHOP, ...flags],
  ];
  /** Into a namespace of its own. */
  const restore = (name: string, { from = "full", config = "lifeboat", into = name } = {}) => [
    ...["restore", "create", name, "--from-backup", from, ...at(target, config)],
    ...["--namespace-mappings", `${SHOP}:${into}`],
  ];

  function begin(args: string[]): Running {
    const running = start(args, s3.env as Record<string, string>);
    const ended = running.ended.then((end) => {
      said.push(end.stdout, end.stderr);
      return end;
    });
    return { ...running, ended };
  }

  async function told<T>(args: string[], code = 0): Promise<T> {
    const ended = await begin([...args, "-o", "json"]).ended;
    assert.equal(ended.code, code, ended.stderr);
    return JSON.parse(ended.stdout) as T;
  }

  const stored = (...path: string[]) => join(s3.dir, "data", s3.bucket, "here", ...path);

  it("come back in another cluster before any Pod is there", async () => {
    const made = await told<BackupDocument & { volumes: object }>(backup("full", "--default-volumes-to-fs-backup"));
    assert.equal(made.phase, "Completed", JSON.stringify(made.errors));
    const { fileBytes, ...counts } = made.volumes as Record<string, number>;
    const none = { csiSnapshots: 0, nativeSnapshots: 0, leftOut: 0, stays: 0, podVolumes: 0 };
    assert.deepEqual(counts, { ...none, fileCopies: 2, lacking: 1 });
    assert.ok(fileBytes! > 2 << 20);
    assert.deepEqual(await ours(source), []);

    const described = await lifeboat(
      ["backup", "describe", "full", "--details", ...at(source)],
      s3.env as Record<string, string>,
    );
    said.push(described.stdout);
    assert.match(described.stdout, /Volumes:\s+2 by restic \(.* MiB\), 1 WITHOUT THEIR DATA/);

    const plan = await told<Plan>([...restore("planned"), "--dry-run"]);
    const step = plan.steps.find(({ resource, name }) => resource === "persistentvolumeclaims" && name === "data-db-0");
    assert.match(step?.reason ?? "", /^its data come from the restic snapshot [0-9a-f]{8}$/);
    assert.equal(target.kubelet.pods.length, 0);

    const restored = await told<RestoreDocument>(restore("back"));
    assert.equal(restored.phase, "Completed", JSON.stringify(restored.errors));
    await assertBack("back");
    await running(target, "back", "db-0");
    const claim = await claimIn("back");
    const pod = target.kubelet.pods.find(({ metadata }) => metadata.name === "db-0")!;
    const version = ({ metadata }: KubeObject) => BigInt(String(metadata.resourceVersion));
    assert.ok(version(claim!) < version(pod), "its Pod came before the claim was whole");
    assert.equal(await fillingIn("back"), undefined);
    assert.deepEqual(await ours(target, "back"), []);
  });

  it("are recorded as Velero records them", async () => {
    const file = async (ending: string) =>
      JSON.parse(gunzipSync(await readFile(stored("backups/full", `full-${ending}.json.gz`))).toString());
    const copies = (await file("podvolumebackups")) as PodVolumeBackup[];
    assert.equal(copies.length, 1, "Velero knows copies of Pods' volumes alone");
    const { metadata, spec, status } = copies[0]!;
    const pod = await source.cluster.api.request("GET", `/api/v1/namespaces/${SHOP}/pods/db-0`);
    const claim = await source.cluster.api.request(
      "GET",
      `/api/v1/namespaces/${SHOP}/persistentvolumeclaims/data-db-0`,
    );
    assert.deepEqual(metadata.labels, {
      "velero.io/backup-name": "full",
      "velero.io/backup-uid": "",
      "velero.io/pvc-uid": claim.metadata.uid,
    });
    assert.deepEqual(metadata.annotations, { "velero.io/pvc-name": "data-db-0" });
    assert.deepEqual(spec.pod, { kind: "Pod", namespace: SHOP, name: "db-0", uid: pod.metadata.uid });
    assert.deepEqual([spec.node, spec.volume, spec.uploaderType], [source.kubelet.node, "data", "restic"]);
    assert.equal(status.phase, "Completed");
    assert.equal(status.progress.bytesDone, status.progress.totalBytes);
    assert.deepEqual(
      await readdir(stored("restic", SHOP, "snapshots")).then((ids) => ids.includes(status.snapshotID)),
      true,
    );
    const infos = (await file("volumeinfo")) as {
      pvcName: string;
      backupMethod: string;
      pvbInfo: { snapshotHandle: string };
    }[];
    const info = infos.find(({ pvcName }) => pvcName === "data-db-0")!;
    assert.equal(info.backupMethod, "PodVolumeBackup");
    assert.equal(info.pvbInfo.snapshotHandle, status.snapshotID);
  });

  it("are not left behind by a configuration without volumes.restic: the restore is refused, and its plan", async () => {
    for (const flags of [[], ["--dry-run"]]) {
      const { code, stderr } = await begin([...restore("unread", { config: "bare" }), ...flags]).ended;
      assert.equal(code, 2, stderr);
      assert.match(
        stderr,
        /data of 2 claims that can't be brought back here: the configuration has no volumes\.restic/,
      );
      assert.match(stderr, /^hint: set up volumes\.restic, .*--restore-volumes=false/m);
    }
    await assert.rejects(target.cluster.api.request("GET", "/api/v1/namespaces/unread"), { status: 404 });
  });

  it("come back where their Pod may run, into a volume that is made for its first Pod", async () => {
    await Promise.all([source, target].map((cluster) => cluster.addNode("guarded")));
    const { api } = source.cluster;
    const namespace = `/api/v1/namespaces/${SHOP}`;
    const labels = { app: "guarded" };
    await api.request("POST", `${namespace}/persistentvolumeclaims`, {
      ...claimOf("guarded", LATE_FOLDERS),
      metadata: { name: "guarded", labels },
    });
    await api.request("POST", `${namespace}/pods`, {
      metadata: { name: "guarded", labels },
      spec: {
        ...podSpec([{ name: "data", persistentVolumeClaim: { claimName: "guarded" } }]),
        nodeSelector: { "kubernetes.io/hostname": "guarded" },
        tolerations: [{ key: "rig.example.com/tainted", operator: "Exists" }],
      },
    });
    await running(source, SHOP, "guarded");
    await writeFile(join(await source.folder(SHOP, "guarded"), "file"), "of one node");
    await told(backup("guarded", "--selector", "app=guarded", "--default-volumes-to-fs-backup"));
    const restored = await told<RestoreDocument>(restore("guarded", { from: "guarded" }));
    assert.equal(restored.phase, "Completed", JSON.stringify(restored.errors));
    assert.equal(await readFile(join(await target.folder("guarded", "guarded"), "file"), "utf8"), "of one node");
    await running(target, "guarded", "guarded");
    for (const path of [`${namespace}/pods/guarded`, `${namespace}/persistentvolumeclaims/guarded`])
      await api.request("DELETE", path);
  });

  it("of which a Pod names them are copied, by Jobs and Secrets that are in no other backup", async () => {
    source.kubelet.trouble = "idle";
    const copying = begin([...backup("named"), "-o", "json"]);
    await until("its Secret", async () => (await ours(source, SHOP, "secrets")).length > 0);
    await told(backup("beside", "--exclude-resources", "persistentvolumeclaims"));
    source.kubelet.trouble = undefined;
    const made = JSON.parse((await copying.ended).stdout) as BackupDocument & { volumes: Record<string, number> };
    assert.deepEqual([made.volumes.fileCopies, made.volumes.lacking], [1, 2]);
    const names = [...(await objectsIn(stored("backups/beside/beside.tar.gz"))).keys()];
    assert.ok(names.some((name) => name.startsWith("pods ")));
    assert.deepEqual(
      names.filter((name) => /^(pods|secrets|jobs)\S* .*lifeboat-/.test(name)),
      [],
    );
  });

  it("that can't be had are an error; Pods wait, and the next restore brings them", async () => {
    const [copy] = JSON.parse(
      gunzipSync(await readFile(stored("backups/full/full-podvolumebackups.json.gz"))).toString(),
    ) as PodVolumeBackup[];
    const snapshot = stored("restic", SHOP, "snapshots", copy!.status.snapshotID);
    await rename(snapshot, join(dir, "snapshot"));
    const failed = await told<RestoreDocument>(restore("broken"), 3);
    await rename(join(dir, "snapshot"), snapshot);
    const errors = (failed.errors as Problem[]).map(({ resource, name, message }) => `${resource} ${name}: ${message}`);
    assert.match(
      errors[0]!,
      /^persistentvolumeclaims data-db-0: .*its data could not be brought back, so it was taken away again: /,
    );
    assert.equal(errors[1], "statefulsets.apps db: it would make the claim data-db-0 anew, which has not its data");
    assert.equal(await claimIn("broken"), undefined);
    assert.deepEqual(await ours(target, "broken"), []);

    const mended = await told<RestoreDocument>(restore("mended", { into: "broken" }));
    assert.equal(mended.phase, "Completed", JSON.stringify(mended.errors));
    await assertBack("broken");
    await running(target, "broken", "db-0");
  });

  it("are copied within --item-operation-timeout, or are an error that says what they waited for", async () => {
    source.kubelet.trouble = "pull";
    const flags = ["--default-volumes-to-fs-backup", "--item-operation-timeout", "8s"];
    const { errors } = await told<BackupDocument>(backup("limited", ...flags), 3);
    const messages = (errors as Problem[]).map(({ message }) => message);
    const late = /can't copy its files: the time for it, 8 s, is over: its image can't be pulled: Back-off pulling/;
    assert.ok(messages.length > 0 && messages.every((message) => late.test(message)), messages.join("\n"));
  });

  it("whose Job doesn't begin are an error in time, and nothing is left", async () => {
    target.kubelet.trouble = "idle";
    const failed = await told<RestoreDocument>(restore("late", { config: "hasty" }), 3);
    target.kubelet.trouble = undefined;
    const errors = (failed.errors as Problem[]).map(({ name, message }) => `${name}: ${message}`);
    assert.ok(errors.some((error) => /^data-db-0: .*the time for it, 4 s, is over: its Pod is still /.test(error)));
    assert.equal(await claimIn("late"), undefined);
    assert.deepEqual(await ours(target, "late"), []);
  });

  it("come back whole when the restore is killed meanwhile, and run again", async () => {
    target.kubelet.trouble = "idle";
    const killed = begin(restore("killed"));
    await until("its Job's Pod", async () => (await ours(target, "killed", "pods")).length > 0);
    assert.equal(await fillingIn("killed"), "killed");
    killed.kill();
    await killed.ended;
    const jobs = await ours(target, "killed", "jobs");
    const again = begin([...restore("killed"), "-o", "json"]);
    await until("the Jobs of the killed run are gone", async () => {
      const left = await ours(target, "killed", "jobs");
      return jobs.every((path) => !left.includes(path));
    });
    target.kubelet.trouble = undefined;
    const { code, stdout, stderr } = await again.ended;
    assert.equal(code, 0, stderr + stdout);
    assert.equal(await fillingIn("killed"), undefined);
    await assertBack("killed");
  });

  it("that are half there when the restore is called off are named, and by location check", async () => {
    target.kubelet.trouble = "idle";
    const ending = begin(restore("called-off"));
    await until("its Job's Pod", async () => (await ours(target, "called-off", "pods")).length > 0);
    process.kill(ending.pid, "SIGINT");
    const { code, stderr } = await ending.ended;
    target.kubelet.trouble = undefined;
    assert.equal(code, 130);
    assert.match(
      stderr,
      /^hint: half-filled claims are left: called-off\/\S+.*: run the restore again under its name/m,
    );
    assert.equal(await fillingIn("called-off"), "called-off");
    assert.deepEqual(await ours(target, "called-off"), []);
    const checked = async () => {
      const { checks } = await told<{ checks: { question: string; message: string; todo?: string }[] }>([
        ...["location", "check", ...at(target)],
      ]);
      return checks.find(({ question }) => question === "restores")!;
    };
    const { message, todo } = await checked();
    assert.match(message, /half-filled PersistentVolumeClaim called-off\/data-db-0/);
    assert.match(todo ?? "", /^run "lifeboat restore create called-off" again/);
    const restored = await told<RestoreDocument>(restore("called-off"));
    assert.equal(restored.phase, "Completed", JSON.stringify(restored.errors));
    await assertBack("called-off");
    assert.equal((await checked()).message, "no restore has left anything of volumes' data");
  });

  it("of a backup that is ended leave neither Job nor Secret", async () => {
    source.kubelet.trouble = "idle";
    const ending = begin(backup("ended", "--default-volumes-to-fs-backup"));
    await until("its Secret", async () => (await ours(source, SHOP, "secrets")).length > 0);
    process.kill(ending.pid, "SIGINT");
    assert.equal((await ending.ended).code, 130);
    source.kubelet.trouble = undefined;
    assert.deepEqual(await ours(source), []);
  });

  it("name no secret in what is said, logged or stored", async () => {
    const texts = [...said, await source.kubelet.logs(), await target.kubelet.logs()];
    for (const folder of ["backups", "restores"])
      for (const file of await readdir(stored(folder), { recursive: true, withFileTypes: true })) {
        if (!file.isFile()) continue;
        const body = await readFile(join(file.parentPath, file.name));
        texts.push((file.name.endsWith(".gz") ? gunzipSync(body) : body).toString("latin1"));
      }
    texts.push(JSON.stringify([source, target].flatMap(({ kubelet }) => kubelet.pods)));
    assert.ok(texts.length > 50, `${texts.length} texts`);
    for (const secret of [PASSWORD, s3.secretAccessKey, s3.accessKeyId])
      for (const form of [secret, Buffer.from(secret).toString("base64"), encodeURIComponent(secret)])
        assert.ok(texts.every((text) => !text.includes(form)));
  });
});
