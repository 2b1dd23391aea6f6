import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import type { IncomingMessage } from "node:http";
import { dirname } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import type { CheckDocument } from "../../core/check/document.ts";
import { csiLabels } from "../../core/volumes/csi/run.ts";
import { s3Bucket } from "../../functions/aws/bucket.ts";
import type { KubeObject } from "../rig/api.ts";
import { binary } from "../rig/binaries.ts";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { type CsiDriver, DISK, DISK_SNAPSHOTS, startCsiDriver } from "../rig/csidriver.ts";
import { makeDir, removeDir, until } from "../rig/process.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { type S3Proxy, startS3Proxy, type Verdict } from "../rig/s3proxy.ts";
import { installSnapshots } from "../rig/snapshotcrds.ts";
import { type BackupDocument, document, lifeboat, start } from "./lifeboat.ts";

const SNAPSHOT_API = "/apis/snapshot.storage.k8s.io/v1";

describe("CSI snapshots of a backup that is killed", {
  skip: requireOrSkip("rig", [...CONTROL_PLANE, "versitygw"]),
}, () => {
  let storage: string;
  let s3: S3;
  let proxy: S3Proxy;
  let cluster: Cluster;
  let driver: CsiDriver;
  let judge: (request: IncomingMessage) => Verdict = () => "pass";

  before(async () => {
    storage = makeDir("storage");
    [cluster, s3] = await Promise.all([startCluster(), startS3()]);
    proxy = await startS3Proxy(s3, (request) => judge(request));
    await installSnapshots(cluster.api);
    driver = await startCsiDriver(cluster, storage);
    await cluster.api.request("POST", "/api/v1/namespaces", { metadata: { name: "shop" } });
    for (const name of ["db", "media"]) {
      await cluster.api.request("POST", "/api/v1/namespaces/shop/persistentvolumeclaims", {
        metadata: { name },
        spec: { storageClassName: DISK, accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
      });
      await driver.folder("shop", name);
    }
  });
  after(async () => {
    await driver?.[Symbol.asyncDispose]();
    await proxy?.stop();
    await Promise.all([cluster?.stop(), s3?.stop()]);
    await removeDir(storage);
  });

  const at = () => ["--location", proxy.location("here"), "--kubeconfig", cluster.kubeconfigPath];
  const create = (name: string) => ["backup", "create", name, ...at(), "--include-namespaces", "shop"];

  /** Runs a backup and kills it at the first request to the bucket that `isMoment`, which the bucket doesn't get. */
  async function killed(name: string, isMoment: (request: IncomingMessage) => boolean): Promise<void> {
    const victim: { run?: ReturnType<typeof start> } = {};
    judge = (request) => {
      if (!isMoment(request)) return "pass";
      victim.run?.kill();
      return "deny";
    };
    victim.run = start(create(name), s3.env);
    const { code, stderr } = await victim.run.ended;
    judge = () => "pass";
    assert.equal(code, null, `it ended by itself:\n${stderr}`);
  }

  /** The names of the VolumeSnapshots that stand, and of the contents. */
  async function standing(): Promise<string[]> {
    const kinds = ["volumesnapshots", "volumesnapshotcontents"];
    const lists = kinds.map((kind) => cluster.api.request<{ items: KubeObject[] }>("GET", `${SNAPSHOT_API}/${kind}`));
    return (await Promise.all(lists)).flatMap(({ items }) => items.map(({ metadata }) => metadata.name));
  }

  async function snapshot(name: string, labels: Record<string, string>): Promise<void> {
    await cluster.api.request("POST", `${SNAPSHOT_API}/namespaces/shop/volumesnapshots`, {
      ...{ apiVersion: "snapshot.storage.k8s.io/v1", kind: "VolumeSnapshot", metadata: { name, labels } },
      spec: { source: { persistentVolumeClaimName: "db" }, volumeSnapshotClassName: DISK_SNAPSHOTS },
    });
  }

  async function leftovers() {
    const { checks } = await document<CheckDocument>(["location", "check", ...at()], s3.env);
    return checks.find(({ question }) => question === "leftovers")!;
  }

  /** Deletes a backup, which named all snapshots that the storage has. */
  async function gone(name: string): Promise<void> {
    assert.equal((await lifeboat(["backup", "delete", name, ...at(), "--confirm"], s3.env)).code, 0);
    assert.deepEqual(await driver.stored(), []);
  }

  const put = (request: IncomingMessage, ending: string) =>
    request.method === "PUT" && request.url!.split("?")[0]!.endsWith(ending);

  it("before its archive is stored: the next run of its name takes them away, with what they are in the storage", async () => {
    await killed("again", (request) => put(request, "/again.tar.gz"));
    const handles = await driver.stored();
    assert.deepEqual([handles.length, (await standing()).length], [2, 4]);
    const { state, todo } = await leftovers();
    assert.equal(state, "warning");
    assert.match(todo!, /^kubectl delete -n shop volumesnapshot velero-\w+-\w+\nkubectl delete/);
    const { phase, warnings } = await document<BackupDocument>(create("again"), s3.env);
    assert.deepEqual([phase, warnings], ["Completed", []]);
    assert.deepEqual(await standing(), []);
    const now = await driver.stored();
    assert.equal(now.length, 2);
    assert.deepEqual(
      handles.filter((one) => now.includes(one)),
      [],
    );
    await gone("again");
  });

  it("after its archive: the run that adopts it keeps them, and takes all else away that was made for it", async () => {
    await killed("adopted", (request) => put(request, "-resource-list.json.gz"));
    const handles = await driver.stored();
    assert.equal(handles.length, 2);
    assert.equal((await standing()).length, 4, "until the backup is stored");
    const { state, todo } = await leftovers();
    assert.equal(state, "warning");
    assert.match(todo!, /^do the interrupted command again: "lifeboat backup create adopted"/);

    const { location } = s3Bucket(new URL(proxy.location("here")));
    await snapshot("unnamed", csiLabels({ backupName: "adopted", location }));
    await snapshot("elsewhere", csiLabels({ backupName: "adopted", location: s3.location("elsewhere") }));
    await until("their snapshots", async () => (await driver.stored()).length === 4);
    const { phase, warnings } = await document<BackupDocument>(create("adopted"), s3.env);
    assert.deepEqual([phase, warnings], ["Completed", []]);
    const left = await standing();
    assert.equal(left.length, 2);
    assert.equal(left[0], "elsewhere");
    const now = await driver.stored();
    assert.equal(now.length, 3);
    assert.deepEqual(
      handles.filter((one) => !now.includes(one)),
      [],
    );

    await cluster.api.request("DELETE", `${SNAPSHOT_API}/namespaces/shop/volumesnapshots/elsewhere`);
    await until("its end", async () => (await standing()).length === 0);
    await gone("adopted");
  });

  it("after its record: a check tells how its snapshots stay without their objects", async () => {
    let stored = false;
    await killed("stored", (request) => {
      const isNext = stored;
      stored ||= put(request, "/velero-backup.json");
      return isNext;
    });
    const handles = await driver.stored();
    assert.deepEqual([handles.length, (await standing()).length], [2, 4]);
    const { state, todo } = await leftovers();
    assert.equal(state, "warning");
    const PATH = `${dirname(await binary("kubectl"))}:${process.env.PATH}`;
    await promisify(execFile)("sh", ["-ec", todo!], {
      env: { PATH, KUBECONFIG: cluster.kubeconfigPath, HOME: cluster.dir },
    });
    assert.deepEqual(await standing(), []);
    assert.deepEqual(await driver.stored(), handles);
    assert.equal((await leftovers()).state, "ok");
  });
});
