import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LifeboatError } from "../../core/errors.ts";
import type { Disks } from "../../core/ports.ts";
import { RESTIC_TIMING } from "../../core/volumes/restic/settings.ts";
import { answer, archiveOf, restored, sample } from "./restore-sample.ts";
import { restoreTarget } from "./restore-target.ts";

const CLAIM = "/api/v1/namespaces/shop/persistentvolumeclaims/data";

describe("an object that was created with its data, and whose answer was lost", () => {
  const { kube, live, change, intercept } = restoreTarget();

  /** The first create is carried out, and answered as the client's second attempt would be; `meanwhile` comes between the two. */
  const losing = (resource: string, meanwhile: () => Promise<unknown> = async () => {}) =>
    intercept((request, next) => {
      if (request.method !== "POST" || !request.path.endsWith(`/${resource}`)) return undefined;
      const exists = { kind: "Status", status: "Failure", reason: "AlreadyExists", code: 409, message: "exists" };
      return next()
        .then(meanwhile)
        .then(() => answer(409, exists, { attempts: 2 }));
    });

  const PV = "/api/v1/persistentvolumes/pv";
  const relabelled = () => change("PATCH", PV, { metadata: { labels: { zone: "b" } } });
  type Row = {
    what: string;
    meanwhile?: () => Promise<unknown>;
    existingResourcePolicy: "none" | "update";
    told?: string;
  };
  const rows: Row[] = [
    { what: "a volume keeps its disk", existingResourcePolicy: "none", told: ": it is made of the snapshot snap-0a" },
    { what: "so does one that somebody has changed", meanwhile: relabelled, existingResourcePolicy: "none" },
    { what: "also where that is changed back", meanwhile: relabelled, existingResourcePolicy: "update" },
  ];
  for (const { what, meanwhile, existingResourcePolicy, told = "" } of rows)
    test(what, async () => {
      const removed: string[] = [];
      const disks: Partial<Disks> = {
        read: async ({ id }) => ({ id, state: "completed", size: 1, tags: {}, startedAt: new Date() }),
        create: async () => "vol-0b2",
        remove: async ({ id }) => void removed.push(id),
      };
      const volume = sample("v1", "PersistentVolume", "pv", {
        spec: {
          csi: { driver: "ebs.csi.aws.com", volumeHandle: "vol-0a1" },
          persistentVolumeReclaimPolicy: "Delete",
          claimRef: { namespace: "shop", name: "data", uid: "u" },
        },
      });
      losing("persistentvolumes", meanwhile);
      const native = { snapshotHandle: "snap-0a", volumeType: "gp3", volumeAZ: "eu-west-1a" };
      const volumes = { disks: { aws: async () => disks as Disks }, stored: [{ volume: "pv", native }] };
      const { lines, result } = await restored(
        kube,
        await archiveOf([volume]),
        { existingResourcePolicy },
        { volumes },
      );
      assert.deepEqual([result.phase, lines], ["Completed", [`created persistentvolumes pv${told}`]]);
      assert.deepEqual(removed, []);
      const { spec } = await live(PV);
      assert.equal((spec as { csi: { volumeHandle: string } }).csi.volumeHandle, "vol-0b2");
    });

  for (const existingResourcePolicy of ["none", "update"] as const)
    test(`a claim is filled nevertheless, under ${existingResourcePolicy}`, async () => {
      const claim = sample("v1", "PersistentVolumeClaim", "shop/data", {
        spec: { volumeName: "pv", storageClassName: "gp3" },
      });
      let asked = 0;
      const files = {
        ...{ image: "restic:1", location: "s3://a/b", env: {}, timing: RESTIC_TIMING },
        secrets: async () => {
          asked++;
          throw new LifeboatError("missing", "no password");
        },
      };
      const copied = { namespace: "shop", snapshotId: "abcdef01", size: 1 };
      const stored = [{ volume: "pv", claim: { namespace: "shop", name: "data" }, files: copied }];
      losing("persistentvolumeclaims");
      const archive = await archiveOf([claim]);
      const { lines, result } = await restored(
        kube,
        archive,
        { existingResourcePolicy },
        { volumes: { files, stored } },
      );
      assert.equal(asked, 1);
      assert.deepEqual([result.volumes?.fileCopies, result.volumes?.failed], [0, 1]);
      assert.match(lines.at(-1)!, /^failed persistentvolumeclaims shop\/data: .*taken away again: no password/);
      assert.equal((await live(CLAIM)).kind, "Status", "no Pod starts on an empty one");
    });
});
