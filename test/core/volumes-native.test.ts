import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { LifeboatError } from "../../core/errors.ts";
import type { Disks } from "../../core/ports.ts";
import { type DiskCloud, diskOf, withDisk } from "../../core/volumes/disk.ts";
import { cloudName } from "../../core/volumes/names.ts";
import { copyDisk, recordedHandle, restoreDisk, wholeHandle } from "../../core/volumes/native.ts";
import { tagsFor } from "../../core/volumes/tags.ts";
import { regionOfZone, zoneFor } from "../../core/volumes/zone.ts";
import { gceDisks } from "../../functions/gcp/disks.ts";
import { rejects } from "../conformance/bucket.ts";
import { type Gcp, startGcp } from "../rig/gcp.ts";

const AZURE_DISK = "/subscriptions/s/resourceGroups/MC_a/providers/Microsoft.Compute/disks/pvc-1";
const csi = (driver: string, volumeHandle: string) => ({ csi: { driver, volumeHandle } });
const term = (key: string, ...values: string[]) => ({ matchExpressions: [{ key, operator: "In", values }] });
const affinity = (...nodeSelectorTerms: object[]) => ({ nodeAffinity: { required: { nodeSelectorTerms } } });

function volume(spec: object, labels?: Record<string, string>): KubernetesObject {
  return {
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: { name: "pvc-1", ...(labels && { labels }) },
    spec: structuredClone(spec),
  };
}

describe("the disk that a volume is", () => {
  const disks: [what: string, spec: object, cloud: DiskCloud, id: string][] = [
    ["EBS by CSI", csi("ebs.csi.aws.com", "vol-0a1"), "aws", "vol-0a1"],
    ["EBS in-tree", { awsElasticBlockStore: { volumeID: "vol-0a1" } }, "aws", "vol-0a1"],
    ["EBS in-tree with a zone", { awsElasticBlockStore: { volumeID: "aws://eu-west-1a/vol-0a1" } }, "aws", "vol-0a1"],
    ["EBS in-tree without a zone", { awsElasticBlockStore: { volumeID: "aws:///vol-0a1" } }, "aws", "vol-0a1"],
    ["PD by CSI", csi("pd.csi.storage.gke.io", "projects/p/zones/z/disks/d"), "gcp", "projects/p/zones/z/disks/d"],
    ["PD moved over", csi("pd.csi.storage.gke.io", "projects/UNSPECIFIED/zones/UNSPECIFIED/disks/d"), "gcp", "d"],
    ["PD in-tree", { gcePersistentDisk: { pdName: "d", fsType: "ext4" } }, "gcp", "d"],
    ["Azure by CSI", csi("disk.csi.azure.com", AZURE_DISK), "azure", AZURE_DISK],
    ["Azure in-tree", { azureDisk: { diskName: "pvc-1", diskURI: AZURE_DISK } }, "azure", AZURE_DISK],
  ];
  for (const [what, spec, cloud, id] of disks) {
    test(what, () => assert.deepEqual(diskOf(volume(spec)), { cloud, id, zone: "" }));
  }

  const none: [what: string, spec: object][] = [
    ["another CSI driver", csi("efs.csi.aws.com", "fs-1")],
    ["a handle that is none", csi("ebs.csi.aws.com", "../vol-1 x")],
    ["a blob", { azureDisk: { diskName: "d", diskURI: "https://a.blob.core.windows.net/vhds/d.vhd" } }],
    ["a name that is no text", { gcePersistentDisk: { pdName: 1 } }],
    ["NFS", { nfs: { server: "a", path: "/b" } }],
    ["nothing", {}],
  ];
  for (const [what, spec] of none) test(`${what} is none`, () => assert.equal(diskOf(volume(spec)), undefined));

  const GKE = "topology.gke.io/zone";
  const ebs = csi("ebs.csi.aws.com", "vol-0a1");
  const zones: [what: string, spec: object, labels: Record<string, string> | undefined, zone: string][] = [
    ["the label", ebs, { "topology.kubernetes.io/zone": "a", "failure-domain.beta.kubernetes.io/zone": "b" }, "a"],
    ["the old label", ebs, { "failure-domain.beta.kubernetes.io/zone": "b__c" }, "b__c"],
    [
      "the label before the affinity",
      { ...ebs, ...affinity(term(GKE, "x")) },
      { "topology.kubernetes.io/zone": "a" },
      "a",
    ],
    ["EBS's affinity", { ...ebs, ...affinity(term("topology.ebs.csi.aws.com/zone", "a")) }, undefined, "a"],
    [
      "Azure's, the first",
      {
        ...ebs,
        ...affinity(term("topology.disk.csi.azure.com/zone", "w-1"), term("topology.disk.csi.azure.com/zone", "w-2")),
      },
      {},
      "w-1",
    ],
    ["the common one", { ...ebs, ...affinity(term("topology.kubernetes.io/zone", "a")) }, {}, "a"],
    ["GKE's, all", { ...ebs, ...affinity(term(GKE, "b"), term(GKE, "c")) }, {}, "b__c"],
    ["no such key", { ...ebs, ...affinity(term("kubernetes.io/hostname", "n")) }, {}, ""],
    ["another operator", { ...ebs, ...affinity({ matchExpressions: [{ key: GKE, operator: "Exists" }] }) }, {}, ""],
  ];
  for (const [what, spec, labels, zone] of zones) {
    test(`its zone by ${what}`, () => assert.equal(diskOf(volume(spec, labels))?.zone, zone));
  }
});

describe("a volume of another disk", () => {
  const OTHER = AZURE_DISK.replace("pvc-1", "other");
  const names: [what: string, spec: object, id: string, expected: object][] = [
    ["EBS by CSI", csi("ebs.csi.aws.com", "vol-0a1"), "vol-0b2", csi("ebs.csi.aws.com", "vol-0b2")],
    [
      "EBS in-tree",
      { awsElasticBlockStore: { volumeID: "vol-0a1" } },
      "vol-0b2",
      { awsElasticBlockStore: { volumeID: "vol-0b2" } },
    ],
    [
      "EBS in-tree with a zone",
      { awsElasticBlockStore: { volumeID: "aws://z/vol-0a1" } },
      "vol-0b2",
      { awsElasticBlockStore: { volumeID: "aws://new/vol-0b2" } },
    ],
    [
      "PD by CSI",
      csi("pd.csi.storage.gke.io", "projects/p/zones/z/disks/d"),
      "projects/q/zones/new/disks/e",
      csi("pd.csi.storage.gke.io", "projects/q/zones/new/disks/e"),
    ],
    [
      "PD in-tree",
      { gcePersistentDisk: { pdName: "d", fsType: "ext4" } },
      "projects/q/zones/new/disks/e",
      { gcePersistentDisk: { pdName: "e", fsType: "ext4" } },
    ],
    [
      "Azure in-tree",
      { azureDisk: { diskName: "pvc-1", diskURI: AZURE_DISK, kind: "Managed" } },
      OTHER,
      { azureDisk: { diskName: "other", diskURI: OTHER, kind: "Managed" } },
    ],
    ["none", { nfs: { server: "a", path: "/b" } }, "vol-0b2", { nfs: { server: "a", path: "/b" } }],
  ];
  for (const [what, spec, id, expected] of names) {
    test(what, () => {
      const changed = volume({ ...spec, capacity: { storage: "1Gi" } });
      withDisk(changed, id, "new");
      assert.deepEqual(changed, volume({ ...expected, capacity: { storage: "1Gi" } }));
    });
  }

  test("its zone labels are changed where it has them, its region's stay", () => {
    const labels = { "topology.kubernetes.io/zone": "old", "topology.kubernetes.io/region": "r", a: "b" };
    const changed = volume(csi("ebs.csi.aws.com", "vol-0a1"), labels);
    withDisk(changed, "vol-0b2", "new");
    assert.deepEqual(changed.metadata.labels, { ...labels, "topology.kubernetes.io/zone": "new" });
  });

  const KEY = "topology.ebs.csi.aws.com/zone";
  const GKE = "topology.gke.io/zone";
  const AZURE = "topology.disk.csi.azure.com/zone";
  const both = (zone: string) => ({
    matchExpressions: [
      { key: "topology.kubernetes.io/zone", operator: "In", values: [zone] },
      { key: "topology.kubernetes.io/region", operator: "In", values: ["r"] },
      { key: KEY, operator: "In", values: [zone] },
    ],
  });
  const moved: [what: string, terms: object[], zone: string, expected: object[]][] = [
    ["one zone", [term(KEY, "a")], "b", [term(KEY, "b")]],
    ["the same zone", [term(KEY, "a")], "a", [term(KEY, "a")]],
    ["all keys of a term, and no other", [both("a")], "b", [both("b")]],
    ["several terms", [term(GKE, "a"), term(GKE, "b")], "c__d", [term(GKE, "c"), term(GKE, "d")]],
    ["several zones of one term", [term(GKE, "a", "b")], "c__d", [term(GKE, "c", "d")]],
    [
      "a disk of every zone",
      [term(AZURE, "w-1"), term(AZURE, "w-2"), term(AZURE, "")],
      "w-2",
      [term(AZURE, "w-1"), term(AZURE, "w-2"), term(AZURE, "")],
    ],
    ["another key", [term("kubernetes.io/os", "linux")], "b", [term("kubernetes.io/os", "linux")]],
    [
      "terms beside",
      [term(KEY, "a"), term("kubernetes.io/os", "linux")],
      "b",
      [term(KEY, "b"), term("kubernetes.io/os", "linux")],
    ],
  ];
  for (const [what, terms, zone, expected] of moved) {
    test(`the affinity of ${what}`, () => {
      const changed = volume({ ...csi("ebs.csi.aws.com", "vol-0a1"), ...affinity(...terms) });
      withDisk(changed, "vol-0b2", zone);
      assert.deepEqual(changed.spec, { ...csi("ebs.csi.aws.com", "vol-0b2"), ...affinity(...expected) });
    });
  }
});

describe("zones", () => {
  const regions: [zone: string, region: string | undefined][] = [
    ["eu-west-1a", "eu-west-1"],
    ["us-gov-west-1b", "us-gov-west-1"],
    ["us-west-2-lax-1a", "us-west-2"],
    ["us-east-1-wl1-bos-wlz-1", "us-east-1"],
    ["ap-northeast-10c", "ap-northeast-10"],
    ["europe-west1-b", "europe-west1"],
    ["europe-west1-b__europe-west1-c", "europe-west1"],
    ["northamerica-northeast1-a", "northamerica-northeast1"],
    ["us-central1-ai1a", "us-central1"],
    ["me-central2-c", "me-central2"],
    ["westeurope-1", "westeurope"],
    ["eastus2-3", "eastus2"],
    ["0", undefined],
    ["", undefined],
    ["eu-west-1", undefined],
    ["rack-a", undefined],
  ];
  for (const [zone, region] of regions) {
    test(`${zone || "nothing"} is in ${region ?? "no region"}`, () => assert.equal(regionOfZone(zone), region));
  }

  const chosen: [what: string, wanted: string, zones: string[], expected: string][] = [
    ["the same", "eu-west-1a", ["eu-west-1b", "eu-west-1a"], "eu-west-1a"],
    ["the only one of the region", "eu-west-1a", ["eu-west-1b", "eu-west-2a"], "eu-west-1b"],
    ["both, where one has nodes", "r-e1-a__r-e1-b", ["r-e1-b"], "r-e1-a__r-e1-b"],
    ["one with nodes and one that it had", "r-e1-a__r-e1-b", ["r-e1-c"], "r-e1-c__r-e1-a"],
    ["none, where the nodes have none", "westeurope-1", ["0", "1"], ""],
    ["none, as it had", "", ["0"], ""],
    ["none, as it had, by its nodes' label", "0", ["0", "1"], "0"],
    ["the only one, where it had none", "", ["westeurope-2"], "westeurope-2"],
    ["the same, where no nodes are known", "eu-west-1a", [], "eu-west-1a"],
  ];
  for (const [what, wanted, zones, expected] of chosen) {
    test(`a disk's zone is ${what}`, () => assert.deepEqual(zoneFor(wanted, zones, "pvc-1"), { zone: expected }));
  }

  test("another region's nodes get none, and it is said why", () => {
    const found = zoneFor("eu-west-1a", ["eu-west-2a", "eu-west-2b", "us-east-1a"], "pvc-1");
    assert("reason" in found);
    assert.match(found.reason, /snapshot is in eu-west-1, .* in eu-west-2, us-east-1/);
  });

  test("many disks spread, and each comes to the same zone again, in whatever order the nodes come", () => {
    const zones = ["eu-west-1b", "eu-west-1c"];
    const zoneOf = (seed: string, order: string[]) => JSON.stringify(zoneFor("eu-west-1a", order, seed));
    const counts = Map.groupBy(
      Array.from({ length: 100 }, (_, n) => zoneOf(`pvc-${n}`, zones)),
      (zone) => zone,
    );
    assert.deepEqual(
      [...counts.keys()].sort(),
      zones.map((zone) => JSON.stringify({ zone })),
    );
    for (const found of counts.values()) assert(found.length > 25, `${found.length} of 100`);
    for (let n = 0; n < 20; n++) assert.equal(zoneOf(`pvc-${n}`, zones.toReversed()), zoneOf(`pvc-${n}`, zones));
  });
});

describe("names and tags", () => {
  const names: [name: string, expected: RegExp][] = [
    ["b-1", /^b-1$/],
    ["b-1/pvc-1", /^b-1-pvc-1-[0-9a-f]{12}$/],
    ["B-1", /^b-1-[0-9a-f]{12}$/],
    ["1st", /^l-1st-[0-9a-f]{12}$/],
    ["a".repeat(64), /^a{50}-[0-9a-f]{12}$/],
  ];
  for (const [name, expected] of names) test(`${name} as a cloud's`, () => assert.match(cloudName(name, 63), expected));

  test("any name has a form that clouds take, and no two have the same", () => {
    const name = fc.string({ minLength: 1, maxLength: 100 });
    fc.assert(
      fc.property(name, name, (one, other) => {
        assert.match(cloudName(one, 63), /^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/);
        if (one !== other) assert.notEqual(cloudName(one, 63), cloudName(other, 63));
      }),
    );
  });

  test("tags are one's own, then those handed on, as far as there is room", () => {
    const own = { a: "1", b: "2" };
    const inherited = {
      b: "3",
      c: "4",
      "aws:x": "5",
      "lifeboat/name": "6",
      "kubernetes.io/cluster/x": "owned",
      d: "7",
    };
    const atMost = (most: number) => (tags: object) => Object.keys(tags).length <= most;
    assert.deepEqual(tagsFor(own, inherited, atMost(10)), { a: "1", b: "2", c: "4", d: "7" });
    assert.deepEqual(tagsFor(own, inherited, atMost(3)), { a: "1", b: "2", c: "4" });
  });

  test("there is always room for what a copy is found by", () => {
    const own = { a: "1", b: "2", "velero.io/backup": "3", "lifeboat/name": "4" };
    const found = tagsFor(own, {}, (tags) => Object.keys(tags).length <= 3);
    assert.deepEqual(found, { "velero.io/backup": "3", "lifeboat/name": "4", a: "1" });
  });

  const handles: [whole: string, recorded: string, volumeId: string][] = [
    ["projects/p/global/snapshots/s", "s", "projects/p/zones/z/disks/d"],
    ["snap-1", "snap-1", "vol-1"],
    ["s", "s", "d"],
    [`${AZURE_DISK}`, AZURE_DISK, AZURE_DISK],
  ];
  for (const [whole, recorded, volumeId] of handles) {
    test(`${whole} is recorded as Velero does, and found again`, () => {
      assert.equal(recordedHandle(whole), recorded);
      assert.equal(wholeHandle(recorded, volumeId), whole);
      assert.equal(wholeHandle(whole, volumeId), whole);
    });
  }
});

describe("copying a disk by a snapshot", () => {
  const zone = "europe-west1-b";
  const id = `projects/rig-project/zones/${zone}/disks/pvc-1`;
  const type = `projects/rig-project/zones/${zone}/diskTypes/pd-ssd`;
  const snapshotId = (name: string) => `projects/rig-project/global/snapshots/${name}`;
  let gcp: Gcp;
  let disks: Disks;
  before(async () => {
    gcp = await startGcp();
    Object.assign(process.env, gcp.env);
    disks = gceDisks({ pollMs: 5 });
    gcp.compute.disks.set(id, {
      name: "pvc-1",
      status: "READY",
      sizeGb: "1",
      type,
      selfLink: `https://x/compute/v1/${id}`,
    });
  });
  after(() => gcp?.stop());
  const signal = AbortSignal.timeout(300_000);
  const begin = (name: string, given: { signal?: AbortSignal; disks?: Disks } = {}) =>
    copyDisk(given.disks ?? disks, { id, zone }, { name, tags: {}, signal: given.signal ?? signal, pollMs: 5 });
  /** The disks, but for what becomes of reading a snapshot. */
  const reading = (read: Disks["read"]): Disks => ({ ...disks, read });

  test("it is fixed before it is done, and then known by what it takes to restore it", async () => {
    const copy = begin("whole");
    await copy.fixed;
    assert.notEqual(gcp.compute.snapshots.get(snapshotId("whole"))?.status, "CREATING");
    const { native, discard } = await copy.done;
    const facts = { volumeId: id, volumeType: type, volumeAZ: zone };
    assert.deepEqual(native, { snapshotHandle: snapshotId("whole"), ...facts });
    const made = await restoreDisk(disks, native, { name: "again", zone, tags: { a: "b" }, signal });
    assert.equal(made, `projects/rig-project/zones/${zone}/disks/again`);
    await discard!(signal);
    assert.equal(gcp.compute.snapshots.get(snapshotId("whole")), undefined);
    await rejects("missing", restoreDisk(disks, native, { name: "third", zone, tags: {}, signal }));
  });

  test("one that isn't complete in time is recorded, with a warning", async () => {
    const slow = reading(async (snapshot, until) => {
      const found = await disks.read(snapshot, until);
      return found && { ...found, state: "pending", message: "12 %" };
    });
    const copy = copyDisk(slow, { id, zone }, { name: "slow", tags: {}, signal, pollMs: 5, waitMs: 20 });
    const { native, warnings, discard } = await copy.done;
    assert.equal(native?.snapshotHandle, snapshotId("slow"));
    assert.match(warnings!.join(), /snapshots\/slow is not complete yet, 12 %: the cloud goes on with it/);
    await discard!(signal);
  });

  test("one that fails says why, and is removed", async () => {
    const failing = reading(async (snapshot, until) => {
      const found = await disks.read(snapshot, until);
      return found && { ...found, state: "failed", message: "the disk is broken" };
    });
    const copy = begin("failing", { disks: failing });
    await copy.fixed;
    const error = await rejects("corrupt", copy.done);
    assert.match(error.message, /snapshots\/failing has failed: the disk is broken/);
    assert.equal(gcp.compute.snapshots.get(snapshotId("failing")), undefined);
  });

  test("one that somebody deletes is missing, one that isn't told of at once is not", async () => {
    await rejects("missing", begin("deleted", { disks: reading(async () => undefined) }).done);
    let left = 3;
    const late = reading(async (snapshot, until) => (left-- > 0 ? undefined : disks.read(snapshot, until)));
    assert((await begin("late", { disks: late }).done).native);
  });

  test("one that is given up is removed, and both promises tell the reason", async () => {
    const reason = new Error("out of time");
    const controller = new AbortController();
    const pending = reading(async (snapshot, until) => {
      const found = await disks.read(snapshot, until);
      setImmediate(() => controller.abort(reason));
      return found && { ...found, state: "pending" };
    });
    const copy = begin("given-up", { disks: pending, signal: controller.signal });
    await copy.fixed;
    await assert.rejects(copy.done, (thrown) => thrown === reason);
    assert.equal(gcp.compute.snapshots.get(snapshotId("given-up")), undefined);
    const never = begin("never", { signal: AbortSignal.abort(reason) });
    await assert.rejects(never.fixed, (thrown) => thrown === reason);
    await assert.rejects(never.done, (thrown) => thrown === reason);
  });

  test("what can't be removed is said to be left", async () => {
    const stuck: Disks = {
      ...reading(async () => {
        throw new LifeboatError("denied", "no right to read");
      }),
      removeSnapshot: async () => {
        throw new LifeboatError("denied", "no right to delete");
      },
    };
    const error = await rejects("denied", begin("stuck", { disks: stuck }).done);
    assert.match(error.message, /no right to read; the snapshot .*\/stuck may be left: no right to delete/);
  });

  for (const [failures, ends] of [
    [4, true],
    [5, false],
  ] as const) {
    test(`${failures} answers in a row that don't come ${ends ? "are waited for" : "end it"}`, async () => {
      let left: number = failures;
      const shaky = reading(async (snapshot, until) => {
        if (left-- > 0) throw new LifeboatError("unreachable", "no way there");
        return disks.read(snapshot, until);
      });
      const { done } = begin(`shaky-${failures}`, { disks: shaky });
      if (ends) assert((await done).native);
      else await rejects("unreachable", done);
    });
  }

  test("nothing is made of one that isn't complete", async () => {
    const info = { snapshotHandle: "s", volumeType: type, volumeAZ: zone };
    const pending = reading(async () => ({
      id: "s",
      state: "pending",
      size: 1,
      tags: {},
      startedAt: new Date(),
      message: "40 %",
    }));
    const error = await rejects("busy", restoreDisk(pending, info, { name: "r", zone, tags: {}, signal }));
    assert.match(error.message, /not complete yet: 40 %/);
  });
});
