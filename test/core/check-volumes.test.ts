import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { parseAllDocuments } from "yaml";
import { startApiServer } from "../../core/apiserver/server.ts";
import { mayCopyVolumes, neededForCopies } from "../../core/check/copying.ts";
import { orphanedSnapshots } from "../../core/check/orphans.ts";
import { LifeboatError } from "../../core/errors.ts";
import { connect } from "../../core/kube/client.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import { tryLock } from "../../core/lock.ts";
import type { Bucket } from "../../core/ports.ts";
import type { BackupSpec } from "../../core/specs.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { signal } from "./integrity-sample.ts";
import { putBackup } from "./location-sample.ts";
import { memoryDisks } from "./memory-disks.ts";

const VOLUME = {
  ...{ apiVersion: "v1", kind: "PersistentVolume", metadata: { name: "pvc-1" } },
  spec: { csi: { driver: "ebs.csi.aws.com", volumeHandle: "vol-0123456789" } },
};

describe("snapshots of disks that no backup has any more", () => {
  const ask = async (volumes: { snapshots?: Map<string, Record<string, string>>; bucket?: () => Promise<Bucket> }) => {
    const { snapshots = new Map(), bucket = async () => memoryBucket() } = volumes;
    const server = await startApiServer({ objects: [VOLUME] });
    const kube = connect(readKubeconfig(server.kubeconfig));
    try {
      const disks = { aws: async () => memoryDisks(snapshots) };
      return await orphanedSnapshots(kube, { restic: false, disks, bucket }, signal);
    } finally {
      await kube.close();
      await server.stop();
    }
  };

  it("are those with this location's tag whose backup is neither there nor being made", async () => {
    const bucket = memoryBucket();
    const native = { snapshotHandle: "snap-01", volumeId: "vol-1", volumeType: "gp3", volumeAZ: "eu-west-1a" };
    const claim = { namespace: "shop", name: "db", uid: "1" };
    await putBackup(bucket, "there", [], { volumes: [{ volume: "pvc-1", claim, method: "NativeSnapshot", native }] });
    const lock = await tryLock({ bucket, kind: "backups", name: "running" }, { signal });
    assert.notEqual(lock, "running");
    const of = (backup: string, location = "memory://") => ({
      "velero.io/backup": backup,
      "lifeboat/location": location,
    });
    const snapshots = new Map<string, Record<string, string>>([
      ["snap-01", of("there")],
      ["snap-02", of("running")],
      ["snap-03", of("gone")],
      ["snap-04", of("gone", "s3://another")],
      ["snap-05", { "velero.io/backup": "velero's" }],
      // Of a run that died, before another made the backup of that name.
      ["snap-06", of("there")],
    ]);
    const found = await ask({ snapshots, bucket: async () => bucket });
    if (lock !== "running") await lock[Symbol.asyncDispose]();
    assert.deepEqual(found, {
      state: "warning",
      message: "2 of 4 are in no backup any more: snap-03, snap-06",
      todo: "aws ec2 delete-snapshot --snapshot-id snap-03; aws ec2 delete-snapshot --snapshot-id snap-06",
      resources: ["snap-03", "snap-06"],
    });
  });

  it("are not asked for where nobody knows which backups there are", async () => {
    const bucket = () => Promise.reject(new LifeboatError("missing", "no such bucket"));
    assert.deepEqual(await ask({ bucket }), { state: "notAsked", message: "the location can't be listed" });
  });
});

const CLASSES = {
  ...{ group: "snapshot.storage.k8s.io", version: "v1", name: "volumesnapshotclasses", kind: "VolumeSnapshotClass" },
  ...{ namespaced: false, verbs: ["list"] },
} as never;

const RIGHTS: {
  when: string;
  served?: boolean;
  restic?: boolean;
  specs?: BackupSpec[];
  may?: (wanted: { resource: string }) => boolean;
  state: string;
  message: RegExp;
  todo?: string;
}[] = [
  { when: "neither snapshots nor restic are there", state: "notAsked", message: /serves no VolumeSnapshots/ },
  {
    ...{ when: "no schedule takes snapshots", served: true, specs: [{ snapshotVolumes: false }], may: () => false },
    ...{ state: "notAsked", message: /^no schedule takes snapshots/ },
  },
  { when: "all is allowed", served: true, restic: true, state: "ok", message: /^snapshots by CSI, copies of files by/ },
  {
    ...{ when: "snapshots are not allowed, and nobody asks for them", served: true, may: () => false },
    ...{ state: "warning", message: /^no snapshots by CSI: may not get persistentvolumes, / },
    todo: "give csi",
  },
  {
    ...{ when: "snapshots are not allowed that a schedule asks for", served: true, may: () => false },
    ...{ specs: [{ snapshotVolumes: true }], state: "failed", message: /^no snapshots by CSI/, todo: "give csi" },
  },
  {
    ...{ when: "restic is configured and may make no Jobs", served: true, restic: true },
    may: ({ resource }) => resource !== "jobs",
    ...{ state: "failed", todo: "give restic" },
    message:
      /^no copies of files by restic: may not get jobs.batch, create jobs.batch, delete jobs.batch; snapshots by CSI: allowed$/,
  },
];

describe("the rights for copies of volumes", () => {
  for (const { when, served = false, restic = false, specs = [], may = () => true, state, message, todo } of RIGHTS)
    it(`are ${state} where ${when}`, async () => {
      const rights = { may: async (wanted: { resource: string }) => may(wanted), rules: () => Promise.reject() };
      const volumes = { restic, bucket: async () => memoryBucket() };
      const granting = (role: string) => `give ${role}`;
      const found = await mayCopyVolumes({ resources: served ? [CLASSES] : [], rights, specs, volumes, granting });
      assert.equal(found.state, state);
      assert.match(found.message, message);
      assert.equal(found.todo, todo);
    });

  for (const role of ["csi", "restic"] as const)
    it(`that are asked for by ${role} are given by infra/kubernetes`, async () => {
      const text = await readFile(join(import.meta.dirname, `../../infra/kubernetes/${role}.yaml`), "utf8");
      const { rules } = parseAllDocuments(text)[0]!.toJS() as { rules: Record<string, string[]>[] };
      for (const { verb, group, resource, subresource } of neededForCopies([role])) {
        const name = subresource ? `${resource}/${subresource}` : resource;
        const given = rules.some(
          ({ apiGroups, resources, verbs }) =>
            apiGroups?.includes(group) && resources?.includes(name) && verbs?.includes(verb),
        );
        assert.ok(given, `${verb} ${name}.${group}`);
      }
    });
});
