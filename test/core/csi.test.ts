import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { binaryQuantity } from "../../core/objects/quantity.ts";
import { awaitSnapshot } from "../../core/volumes/csi/awaiting.ts";
import { type ClassWish, chooseClass, snapshotClass, snapshotClasses } from "../../core/volumes/csi/classes.ts";
import { copyByCsi } from "../../core/volumes/csi/copy.ts";
import { chooseGroupClass, groupKinds, groupVersion, volumeGroups } from "../../core/volumes/csi/groups.ts";
import { OF_VOLUMES } from "../../core/volumes/csi/kinds.ts";
import { releaseSnapshots } from "../../core/volumes/csi/release.ts";
import { csiRestore, snapshotForClaim } from "../../core/volumes/csi/restore.ts";
import { csiRun } from "../../core/volumes/csi/run.ts";
import { namedBy, standingSnapshots } from "../../core/volumes/csi/standing.ts";
import { asItWas, claimFromSnapshot, withSnapshot } from "../../core/volumes/csi/stored.ts";
import { generatedName } from "../../core/volumes/csi/taking.ts";
import { inCluster } from "./embedded-cluster.ts";
import { type Answer, client, json, serve, status } from "./kube-server.ts";

const never = new AbortController().signal;
const CLASS = "velero.io/csi-volumesnapshot-class";
const DEFAULT = "snapshot.storage.kubernetes.io/is-default-class";
const DRIVER = "ebs.csi.aws.com";

function named(name: string, driver = DRIVER, metadata: object = {}): KubernetesObject {
  const type = { apiVersion: "snapshot.storage.k8s.io/v1", kind: "VolumeSnapshotClass" };
  return { ...type, metadata: { name, ...metadata }, driver, deletionPolicy: "Delete" };
}

function claim(metadata: object = {}, spec: object = {}): KubernetesObject {
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name: "data", namespace: "shop", ...metadata },
    spec,
  };
}

const PLAIN = [named("a"), named("b"), named("foreign", "disk.csi.azure.com")];

const CHOICES: {
  title: string;
  classes?: KubernetesObject[];
  wish?: Partial<ClassWish>;
  want: string | RegExp;
  passedOver?: RegExp;
}[] = [
  { title: "the sole class of the driver", classes: [named("a"), named("foreign", "x")], want: "a" },
  { title: "none of several alike", want: /driver ebs.csi.aws.com has 2 VolumeSnapshotClasses, none with the label/ },
  {
    title: "none where there is none",
    classes: [named("foreign", "x")],
    want: /driver ebs.csi.aws.com has no VolumeSnapshotClass/,
  },
  {
    title: "the default one, whatever the annotation says",
    classes: [...PLAIN, named("d", DRIVER, { annotations: { [DEFAULT]: "false" } })],
    want: "d",
  },
  {
    title: "the labelled one before the default one",
    classes: [
      named("d", DRIVER, { annotations: { [DEFAULT]: "true" } }),
      named("l", DRIVER, { labels: { [CLASS]: "" } }),
    ],
    want: "l",
  },
  {
    title: "no labelled one of another driver",
    classes: [...PLAIN, named("l", "x", { labels: { [CLASS]: "true" } })],
    want: /2 VolumeSnapshotClasses/,
  },
  { title: "the backup's for this driver", wish: { backupAnnotations: { [`${CLASS}_${DRIVER}`]: "b" } }, want: "b" },
  {
    title: "not the backup's for another",
    wish: { backupAnnotations: { [`${CLASS}_x`]: "b" } },
    want: /2 VolumeSnapshotClasses/,
  },
  {
    title: "the policy's before the backup's",
    wish: { policyClass: "a", backupAnnotations: { [`${CLASS}_${DRIVER}`]: "b" } },
    want: "a",
  },
  {
    title: "the claim's before all, in any case",
    wish: { claim: claim({ annotations: { [CLASS]: "B" } }), policyClass: "a" },
    want: "b",
  },
  {
    title: "the next one where the claim's doesn't exist",
    wish: { claim: claim({ annotations: { [CLASS]: "gone" } }), policyClass: "a" },
    want: "a",
    passedOver: /claim's annotation .* names the VolumeSnapshotClass "gone", which the cluster doesn't have/,
  },
  {
    title: "the next one where the policy's is of another driver",
    wish: { policyClass: "foreign", backupAnnotations: { [`${CLASS}_${DRIVER}`]: "b" } },
    want: "b",
    passedOver: /volume policy names .* which is of the driver disk.csi.azure.com, not of ebs.csi.aws.com/,
  },
];

describe("the class of a claim's snapshot is", () => {
  for (const { title, classes = PLAIN, wish, want, passedOver } of CHOICES)
    test(title, () => {
      const choice = chooseClass({ driver: DRIVER, claim: claim(), ...wish }, classes.map(snapshotClass));
      if (want instanceof RegExp) return assert.match("reason" in choice ? choice.reason : "", want);
      assert("chosen" in choice);
      assert.equal(choice.chosen.name, want);
      assert.match(choice.passedOver.join(), passedOver ?? /^$/);
    });
});

const GROUP_CLASS = "velero.io/csi-volumegroupsnapshot-class";
const LABELLED = { labels: { [GROUP_CLASS]: "true" } };
const GROUP_CLASSES = [named("g"), named("h", DRIVER, LABELLED), named("x", "foreign", LABELLED)];
const GROUP_CHOICES = [
  { title: "the driver's labelled one", want: "h" },
  {
    title: "none of two labelled ones",
    classes: [...GROUP_CLASSES, named("i", DRIVER, LABELLED)],
    want: /has 2 VolumeGroupSnapshotClasses with/,
  },
  {
    title: "none without a label of this value",
    classes: [named("g", DRIVER, { labels: { [GROUP_CLASS]: "" } })],
    want: /has no VolumeGroupSnapshotClass with/,
  },
  { title: "the backup's", wish: { backupAnnotations: { [`${GROUP_CLASS}_${DRIVER}`]: "g" } }, want: "g" },
  {
    title: "the claim's before the backup's",
    wish: {
      claim: claim({ annotations: { "velero.io/csi-volume-group-snapshot-class": "g" } }),
      backupAnnotations: { [`${GROUP_CLASS}_${DRIVER}`]: "h" },
    },
    want: "g",
  },
  {
    title: "none of another driver",
    wish: { backupAnnotations: { [`${GROUP_CLASS}_${DRIVER}`]: "x" } },
    want: /has no VolumeGroupSnapshotClass "x"/,
  },
];

describe("the class of a group's snapshot is", () => {
  for (const { title, classes = GROUP_CLASSES, wish, want } of GROUP_CHOICES)
    test(title, () => {
      const choice = chooseGroupClass({ driver: DRIVER, claim: claim(), ...wish }, classes);
      if (want instanceof RegExp) assert.match("reason" in choice ? choice.reason : "", want);
      else assert.deepEqual(choice, { name: want });
    });
});

test("groups are claims of a namespace that share the label's value, of one driver", () => {
  const volume = (name: string, namespace: string, value: string | undefined, driver = DRIVER) => ({
    claim: claim({ name, namespace, labels: value === undefined ? {} : { group: value } }),
    volume: { apiVersion: "v1", kind: "PersistentVolume", metadata: { name }, spec: { csi: { driver } } },
    mounts: [],
  });
  const all = [
    volume("a", "shop", "db"),
    volume("b", "shop", "db"),
    volume("c", "other", "db"),
    volume("d", "shop", undefined),
    volume("e", "shop", ""),
    volume("f", "shop", "mixed"),
    volume("g", "shop", "mixed", "disk.csi.azure.com"),
  ];
  const groups = volumeGroups(all, "group").map(({ label, driver, volumes }) => [
    ...[
      volumes[0]!.claim.metadata.namespace,
      label.value,
      volumes.map((one) => one.claim.metadata.name).join(),
      driver,
    ],
  ]);
  assert.deepEqual(groups, [
    ["shop", "db", "a,b", DRIVER],
    ["other", "db", "c", DRIVER],
    [
      ...["shop", "mixed", "f,g"],
      { reason: `the claims with group=mixed have several CSI drivers: ${DRIVER}, disk.csi.azure.com` },
    ],
  ]);
});

const versions = (...names: string[]) =>
  json(200, {
    kind: "APIGroup",
    name: "groupsnapshot.storage.k8s.io",
    versions: names.map((version) => ({ version })),
  });
const SERVED = [
  { title: "the best of those that are known", answer: versions("v1alpha1", "v1beta1", "v1beta2"), want: "v1beta2" },
  { title: "none of one that isn't known", answer: versions("v1alpha1"), want: undefined },
  { title: "none where there is none", answer: status(404, "NotFound", "no"), want: undefined },
];

describe("the version of group snapshots is", () => {
  for (const { title, answer, want } of SERVED)
    test(title, async () => {
      await using server = await serve(answer);
      await using kube = client(server);
      assert.equal(await groupVersion(kube, never), want);
    });
});

test("a cluster that doesn't know snapshots has no classes, and none is restored there", async () => {
  await using server = await serve(status(404, "NotFound", "no"));
  await using kube = client(server);
  assert.equal(await snapshotClasses(kube, never), undefined);
  assert.deepEqual(await standingSnapshots(kube, undefined, never), []);
  const restoring = csiRestore(kube, { restoreName: "again", signal: never });
  const from = { driver: DRIVER, snapshotHandle: "snap-1", snapshotName: "velero-data-1" };
  await assert.rejects(snapshotForClaim(restoring, { claim: { namespace: "shop", name: "data" }, from }), {
    kind: "invalid",
    message: /target doesn't serve snapshot.storage.k8s.io\/v1/,
  });
});

describe("what stands is named", () => {
  const GROUPS = groupKinds("v1beta2");
  const alone = { driver: DRIVER, snapshotHandle: "snap-1" };
  const member = { ...alone, groupHandle: "group-1" };
  const cases = [
    { title: "where a copy has its handle", copies: [alone], kinds: OF_VOLUMES, handle: "snap-1", want: true },
    { title: "where a copy has its group's handle", copies: [member], kinds: GROUPS, handle: "group-1", want: true },
    { title: "by no copy of another snapshot", copies: [alone], kinds: OF_VOLUMES, handle: "snap-2", want: false },
    { title: "by nothing as long as it has no handle", copies: [alone], kinds: OF_VOLUMES, want: false },
    { title: "by nothing as long as its group has no handle", copies: [alone], kinds: GROUPS, want: false },
  ];
  for (const { title, copies, kinds, handle, want } of cases)
    test(title, () => {
      const metadata = { name: "snapcontent-1" };
      const [apiVersion, kind] = ["snapshot.storage.k8s.io/v1", kinds.content.kind];
      const status = handle === undefined ? {} : { [kinds.handle]: handle };
      const content = { apiVersion, kind, metadata, spec: { driver: DRIVER }, status };
      assert.equal(namedBy(copies.map((csi) => ({ csi })))({ kinds, content }), want);
    });
});

test("a VolumeSnapshot that no controller takes up is told of", async () => {
  const items = [{ metadata: { namespace: "shop", name: "one" } }];
  await using server = await serve(json(200, { kind: "List", metadata: { resourceVersion: "1" }, items }));
  await using kube = client(server);
  const run = csiRun(kube, { backupName: "nightly", location: "file:///b", signal: never });
  const awaited = { place: { namespace: "shop", name: "one" }, stage: "cut", deadline: 0 } as const;
  await assert.rejects(awaitSnapshot(run, awaited, never), {
    kind: "timeout",
    message: "the VolumeSnapshot shop/one is not cut in time: no snapshot controller has taken it up",
  });
});

test("a VolumeSnapshot that is only made after the run has ended is taken back", async () => {
  const over = new AbortController();
  const { promise: made, resolve } = Promise.withResolvers<void>();
  let live: KubernetesObject | undefined;
  const missing = status(404, "NotFound", "no");
  await using server = await serve((request, response, body) => {
    const { method, url = "" } = request;
    const give = (answer: Answer) => answer(request, response, body);
    if (method === "POST") {
      over.abort(new Error("the run has ended"));
      setTimeout(() => {
        const wanted: KubernetesObject = JSON.parse(body);
        live = { ...wanted, metadata: { ...wanted.metadata, uid: "1" } };
        give(json(201, live));
        resolve();
      }, 100);
    } else if (url.includes("labelSelector=")) give(json(200, { kind: "List", metadata: {}, items: [] }));
    else if (!live || !url.includes("/volumesnapshots/")) give(missing);
    else {
      give(json(200, live));
      if (method === "DELETE") live = undefined;
    }
  });
  await using kube = client(server);
  const run = csiRun(kube, { backupName: "nightly", location: "file:///b", signal: over.signal, pollMs: 10 });
  await assert.rejects(copyByCsi(run, claim(), snapshotClass(named("a"))).done, /^Error: the run has ended$/);
  await made;
  assert.equal(live, undefined);
});

describe("a claim that its first Pod is to bind", () => {
  const volumes: { title: string; volume: object; unused: boolean }[] = [
    { title: "is used where one names it", volume: { persistentVolumeClaim: { claimName: "web-tmp" } }, unused: false },
    {
      title: "is used as a generic ephemeral volume",
      volume: { ephemeral: { volumeClaimTemplate: {} } },
      unused: false,
    },
    { title: "is not used by another volume", volume: { emptyDir: {} }, unused: true },
  ];
  for (const { title, volume, unused } of volumes)
    test(title, async () => {
      const objects: KubernetesObject[] = [
        claim({ name: "web-tmp" }, { storageClassName: "late" }),
        {
          ...{ apiVersion: "storage.k8s.io/v1", kind: "StorageClass", metadata: { name: "late" } },
          ...{ provisioner: DRIVER, volumeBindingMode: "WaitForFirstConsumer" },
        },
        {
          ...{ apiVersion: "v1", kind: "Pod", metadata: { namespace: "shop", name: "web" } },
          spec: { containers: [], volumes: [{ name: "tmp", ...volume }] },
        },
      ];
      await inCluster(objects, async (kube) => {
        const restoring = csiRestore(kube, { restoreName: "again", signal: never });
        const sourced = { claim: { namespace: "shop", name: "web-tmp" }, snapshot: "one" };
        const [left] = await releaseSnapshots(restoring, [sourced], { waitMs: 0 });
        assert.equal(left?.unused, unused, left?.reason);
      });
    });
});

const csi = {
  driver: DRIVER,
  snapshotHandle: "snap-1",
  restoreSize: 2 ** 31,
  snapshotName: "velero-data-1",
  contentName: "snapcontent-1",
};
const asking = (storage: string) => ({ volumeName: "pvc-1", resources: { requests: { storage } } });

describe("a claim whose data are in a snapshot", () => {
  for (const [asked, want] of [
    ["1Gi", "2Gi"],
    ["2Gi", "2Gi"],
    ["3G", "3G"],
  ] as const)
    test(`asks for ${want} in place of ${asked}`, () => {
      const stored = withSnapshot(claim({ labels: { app: "shop" } }, asking(asked)), csi, "nightly");
      assert.deepEqual(stored, {
        ...claim({
          labels: {
            app: "shop",
            "velero.io/volume-snapshot-name": "velero-data-1",
            "velero.io/backup-name": "nightly",
          },
          annotations: {
            "velero.io/volume-snapshot-name": "velero-data-1",
            ...(asked !== want && { "lifeboat/storage-request": asked }),
          },
        }),
        spec: asking(want),
      });
      asItWas(stored);
      assert.deepEqual(stored.spec, asking(asked));
      const dataSource = { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name: "n" };
      assert.deepEqual(claimFromSnapshot(stored, { dataSource, restoreSize: csi.restoreSize }), {
        ...claim({ labels: { app: "shop", "velero.io/backup-name": "nightly" } }),
        spec: { resources: { requests: { storage: want } }, dataSource },
      });
    });

  test("keeps what it asks for where the driver doesn't tell", () => {
    const source = claim({}, asking("1Gi"));
    assert.deepEqual(withSnapshot(source, { ...csi, restoreSize: 0 }, "nightly").spec, source.spec);
  });
});

test("names that the API server might have made", () => {
  for (const stem of ["velero-data", `velero-${"a".repeat(46)}.${"b".repeat(200)}`, `velero-${"a-".repeat(30)}`]) {
    const name = generatedName(stem);
    assert.match(name, /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/);
    assert(name.length <= 63);
    assert.notEqual(name, generatedName(stem));
  }
});

test("bytes as Go writes them", () => {
  const cases = [
    [0, "0"],
    [1000, "1000"],
    [1024, "1Ki"],
    [1536 * 2 ** 20, "1536Mi"],
    [2 ** 31, "2Gi"],
  ] as const;
  for (const [bytes, want] of cases) assert.equal(binaryQuantity(bytes), want);
});
