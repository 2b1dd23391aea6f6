import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { readPolicies } from "../../core/backup/policies.ts";
import { type Choice, type Claim, choose, type Means } from "../../core/volumes/choose.ts";
import { mountsOf, podVolumes } from "../../core/volumes/mounts.ts";
import type { Mount } from "../../core/volumes/volume.ts";

const policiesOf = (...policies: string[]) =>
  readPolicies(`version: v1\nvolumePolicies: [${policies.join()}]`).volumePolicies ?? [];

const claim = (
  phase = "Bound",
  volumeName: string | undefined = "pv-1",
  accessModes = ["ReadWriteOnce"],
): KubernetesObject => ({
  apiVersion: "v1",
  kind: "PersistentVolumeClaim",
  metadata: { name: "data", namespace: "shop", labels: { app: "db" } },
  spec: { volumeName, accessModes, storageClassName: "fast" },
  status: { phase },
});

const pv = (spec: object): KubernetesObject => ({
  apiVersion: "v1",
  kind: "PersistentVolume",
  metadata: { name: "pv-1" },
  spec: { capacity: { storage: "1Gi" }, persistentVolumeReclaimPolicy: "Delete", ...spec },
});

const VOLUMES = {
  /** What CSI snapshots here. */
  snap: pv({ storageClassName: "fast", csi: { driver: "snap.example" } }),
  /** What the cloud does. */
  disk: pv({ storageClassName: "gp3", csi: { driver: "disk.example" } }),
  inTree: pv({ awsElasticBlockStore: { volumeID: "vol-1" } }),
  /** What nobody does. */
  share: pv({ storageClassName: "slow", csi: { driver: "share.example" } }),
  rbd: pv({ rbd: { image: "a" } }),
  block: pv({ storageClassName: "slow", volumeMode: "Block", csi: { driver: "share.example" } }),
  snapBlock: pv({ volumeMode: "Block", csi: { driver: "snap.example" } }),
  nfs: pv({ nfs: { server: "nas" }, persistentVolumeReclaimPolicy: "Retain" }),
  provisionedNfs: pv({ nfs: { server: "nas" } }),
  hostPath: pv({ hostPath: { path: "/data" }, persistentVolumeReclaimPolicy: "Retain" }),
  local: pv({ local: { path: "/data" }, persistentVolumeReclaimPolicy: "Retain" }),
};

const mount = (name: string, more: Partial<Mount> = {}): Mount => ({
  pod: { name, uid: `uid-${name}` },
  running: true,
  nodeName: "n1",
  volumeName: "data",
  ...more,
});

const MEANS: Means = {
  spec: {},
  policies: [],
  csi: (driver) => driver === "snap.example",
  disks: ({ spec }) => JSON.stringify(spec).match(/disk\.example|vol-1/) !== null,
  files: undefined,
};
const NO_RESTIC = "no repository password is set: set volumes.password";

/** "CSISnapshot", "PodVolumeBackup of web-0", or "warning: why", "error: why", "left: why". */
function said(choice: Choice): string {
  if (choice.method === undefined)
    return `${choice.level ?? "left"}: ${choice.reason}${choice.stays ? " (stays)" : ""}`;
  const { method, moved, asked, mount, snapshotClass, instead } = choice;
  return [
    method,
    moved && "moved",
    method !== "PodVolumeBackup" && asked && "as asked",
    mount && `of ${mount.pod.name}`,
    snapshotClass && `class ${snapshotClass}`,
    instead && `${instead.level}, instead: ${instead.reason}`,
  ]
    .filter(Boolean)
    .join(" ");
}

interface Case {
  name: string;
  volume?: keyof typeof VOLUMES;
  claim?: KubernetesObject;
  mounts?: Mount[];
  spec?: Means["spec"];
  policies?: string[];
  files?: string;
  noClasses?: string;
  is: string | RegExp;
}

const SKIP = "{ conditions: { csi: {} }, action: { type: skip } }";
const SNAPSHOT = "{ action: { type: snapshot, parameters: { snapshotClass: gold } } }";
const FILES = "{ action: { type: fs-backup } }";
const web = mount("web-0");
const ASKS = mount("web-0", { optedIn: true });
const DECLINES = mount("web-0", { optedOut: true });
const ALL_FILES = { defaultVolumesToFsBackup: true };
const NO_SNAPSHOTS = { snapshotVolumes: false };
const ALL_SNAPSHOTS = { snapshotVolumes: true };
const MOVES = { snapshotMoveData: true };
const UNMOVED = "snapshotMoveData moves CSI snapshots alone, and the cluster has no VolumeSnapshotClass for it";
const UNSNAPSHOTTED =
  "the cluster has no VolumeSnapshotClass for its driver share.example (storage class slow), and no cloud to snapshot its disk by is at hand; ";
const BLOCK = "it is a block device, which has no files (volumeMode: Block)";
const ADVICE = "have its files copied: defaultVolumesToFsBackup, or a volume policy fs-backup";

const CASES: Record<string, Case[]> = {
  "without policies and wishes": [
    { name: "CSI goes first", volume: "snap", mounts: [web], is: "CSISnapshot" },
    { name: "then the cloud's disks", volume: "disk", is: "NativeSnapshot" },
    { name: "in-tree volumes too", volume: "inTree", is: "NativeSnapshot" },
    { name: "block devices are snapshotted", volume: "snapBlock", is: "CSISnapshot" },
    {
      name: "snapshotVolumes true is as unset, but asked for",
      volume: "snap",
      spec: ALL_SNAPSHOTS,
      is: "CSISnapshot as asked",
    },
    { name: "who lacks a snapshot is told what to do", volume: "share", is: `warning: ${UNSNAPSHOTTED}${ADVICE}` },
    { name: "or what files lack", volume: "share", files: NO_RESTIC, is: `warning: ${UNSNAPSHOTTED}${NO_RESTIC}` },
    {
      name: "who asked for it has an error",
      volume: "share",
      spec: ALL_SNAPSHOTS,
      is: `error: ${UNSNAPSHOTTED}${ADVICE}`,
    },
    {
      name: "of what no driver has, a warning, as with Velero",
      volume: "rbd",
      spec: ALL_SNAPSHOTS,
      is: /^warning: volumes of type rbd/,
    },
    {
      name: "who lacks the right to see classes is told that",
      volume: "share",
      noClasses: "no volume is snapshotted by CSI: no right",
      is: /^warning: no volume is snapshotted by CSI: no right, and no cloud/,
    },
    {
      name: "a block device has no files to copy",
      volume: "block",
      is: `warning: ${UNSNAPSHOTTED}${BLOCK}`,
    },
    { name: "an in-tree volume", volume: "rbd", is: /^warning: volumes of type rbd can't be snapshotted from here; / },
    { name: "snapshotVolumes false", volume: "snap", spec: NO_SNAPSHOTS, is: /^left: snapshotVolumes is false/ },
  ],
  "what stays where it is": [
    { name: "NFS", volume: "nfs", is: "left: its data stay where they are, on the NFS server (stays)" },
    { name: "hostPath", volume: "hostPath", is: "left: its data stay where they are, on the node (stays)" },
    { name: "local, without snapshots", volume: "local", spec: NO_SNAPSHOTS, is: /^left: .* on the node \(stays\)$/ },
    { name: "NFS that goes with its claim", volume: "provisionedNfs", is: /^warning: volumes of type nfs can't/ },
    { name: "NFS whose files are wanted", volume: "nfs", mounts: [ASKS], is: "PodVolumeBackup of web-0" },
    {
      name: "NFS whose files are wanted in vain",
      volume: "nfs",
      mounts: [ASKS],
      files: NO_RESTIC,
      is: `error: its files should be copied: ${NO_RESTIC}`,
    },
    {
      name: "hostPath whose files are wanted is a warning, as with Velero",
      volume: "hostPath",
      mounts: [ASKS],
      is: "warning: files of a hostPath volume are not copied: its data stay where they are, on the node (stays)",
    },
  ],
  "claims without a volume": [
    {
      name: "pending",
      claim: claim("Pending", undefined),
      is: "left: it is bound to no volume, so it has no data yet",
    },
    { name: "pending, of a volume to come", claim: claim("Pending"), is: /^left: it is bound to no volume/ },
    { name: "lost", claim: claim("Lost"), is: "warning: its volume pv-1 is gone" },
    {
      name: "lost, and skipped",
      claim: claim("Lost"),
      policies: ["{ conditions: { pvcPhase: [Lost] }, action: { type: skip } }"],
      is: "left: volumePolicies.0 skips it",
    },
  ],
  "policies go before all": [
    { name: "skip", volume: "snap", policies: [SKIP], mounts: [ASKS], is: "left: volumePolicies.0 skips it" },
    { name: "one that doesn't match", volume: "nfs", policies: [SKIP], is: /\(stays\)$/ },
    {
      name: "custom",
      volume: "snap",
      policies: ["{ action: { type: custom } }"],
      is: 'left: volumePolicies.0 leaves it to something else ("custom")',
    },
    {
      name: "snapshot, whatever else is said",
      volume: "snap",
      policies: [SNAPSHOT],
      mounts: [ASKS],
      spec: { ...NO_SNAPSHOTS, ...ALL_FILES },
      is: "CSISnapshot as asked class gold",
    },
    {
      name: "snapshot by the cloud, which has no classes",
      volume: "disk",
      policies: [SNAPSHOT],
      is: "NativeSnapshot as asked",
    },
    {
      name: "snapshot and nothing else",
      volume: "share",
      policies: [SNAPSHOT],
      mounts: [ASKS],
      is: /^error: volumePolicies\.0 wants a snapshot: the cluster has no VolumeSnapshotClass for its driver share/,
    },
    {
      name: "snapshot of NFS",
      volume: "nfs",
      policies: [SNAPSHOT],
      is: /^warning: volumePolicies\.0 wants a snapshot/,
    },
    {
      name: "fs-backup of the Pod that runs, though it declines",
      volume: "snap",
      policies: [SKIP.replace("csi", "nfs"), FILES],
      mounts: [mount("old", { running: false }), DECLINES],
      is: "PodVolumeBackup of web-0",
    },
    {
      name: "fs-backup where no Pod runs",
      volume: "snap",
      policies: [FILES],
      mounts: [mount("old", { running: false })],
      is: "PodVolumeBackup",
    },
    {
      name: "fs-backup and nothing else",
      volume: "snap",
      policies: [FILES],
      files: NO_RESTIC,
      is: `error: volumePolicies.0 wants a copy of its files: ${NO_RESTIC}`,
    },
    {
      name: "fs-backup of a block device",
      volume: "snapBlock",
      policies: [FILES],
      is: /^warning: volumePolicies\.0 wants a copy of its files: it is a block device/,
    },
    {
      name: "fs-backup of hostPath",
      volume: "hostPath",
      policies: [FILES],
      is: /^warning: .* files of a hostPath volume are not copied$/,
    },
  ],
  "Pods that opt in": [
    { name: "go before snapshots", volume: "snap", mounts: [ASKS], is: "PodVolumeBackup of web-0" },
    { name: "without snapshots", volume: "share", mounts: [ASKS], spec: NO_SNAPSHOTS, is: "PodVolumeBackup of web-0" },
    { name: "one of several", volume: "snap", mounts: [mount("web-1"), ASKS], is: "PodVolumeBackup of web-0" },
    {
      name: "several: the claim is copied once, from one that runs",
      volume: "snap",
      mounts: [mount("a", { optedIn: true, running: false }), ASKS, mount("b", { optedIn: true })],
      is: "PodVolumeBackup of web-0",
    },
    { name: "opting out means nothing here", volume: "snap", mounts: [DECLINES], is: "CSISnapshot" },
    {
      name: "a block device has none",
      volume: "snapBlock",
      mounts: [ASKS],
      is: `CSISnapshot warning, instead: ${BLOCK}`,
    },
    {
      name: "a block device, without snapshots",
      volume: "snapBlock",
      mounts: [ASKS],
      spec: NO_SNAPSHOTS,
      is: `warning: its files should be copied: ${BLOCK}`,
    },
    {
      name: "a claim for one Pod alone",
      volume: "snap",
      claim: claim("Bound", "pv-1", ["ReadWriteOncePod"]),
      mounts: [ASKS],
      is: /^CSISnapshot error, instead: no second Pod may mount it beside web-0/,
    },
    {
      name: "a claim for one Pod alone, which doesn't run",
      volume: "share",
      claim: claim("Bound", "pv-1", ["ReadWriteOncePod"]),
      mounts: [mount("old", { optedIn: true, running: false })],
      is: "PodVolumeBackup",
    },
    {
      name: "a Pod that doesn't run, beside one that does and holds the claim",
      volume: "share",
      mounts: [web, mount("old", { optedIn: true, running: false })],
      is: "PodVolumeBackup of web-0",
    },
    {
      name: "a Pod that doesn't run: the files all the same",
      volume: "snap",
      mounts: [mount("old", { optedIn: true, running: false })],
      is: "PodVolumeBackup",
    },
    {
      name: "files that can't be: a snapshot rather than nothing",
      volume: "snap",
      mounts: [ASKS],
      files: NO_RESTIC,
      is: `CSISnapshot error, instead: ${NO_RESTIC}`,
    },
    {
      name: "files that can't be, without snapshots",
      volume: "snap",
      mounts: [ASKS],
      files: NO_RESTIC,
      spec: NO_SNAPSHOTS,
      is: `error: its files should be copied: ${NO_RESTIC}`,
    },
  ],
  defaultVolumesToFsBackup: [
    { name: "takes what Pods mount", volume: "snap", mounts: [web], spec: ALL_FILES, is: "PodVolumeBackup of web-0" },
    { name: "but not what they exclude", volume: "snap", mounts: [DECLINES], spec: ALL_FILES, is: "CSISnapshot" },
    {
      name: "nor what they exclude, without snapshots",
      volume: "snap",
      mounts: [DECLINES],
      spec: { ...ALL_FILES, ...NO_SNAPSHOTS },
      is: /^left: snapshotVolumes is false/,
    },
    {
      name: "what one excludes and another doesn't",
      volume: "snap",
      mounts: [DECLINES, mount("web-1")],
      spec: ALL_FILES,
      is: "PodVolumeBackup of web-1",
    },
    {
      name: "opting in means nothing here",
      volume: "snap",
      mounts: [{ ...DECLINES, optedIn: true }],
      spec: ALL_FILES,
      is: "CSISnapshot",
    },
    { name: "the files of what nobody mounts are copied too", volume: "snap", spec: ALL_FILES, is: "PodVolumeBackup" },
    { name: "or else its files are copied", volume: "share", spec: ALL_FILES, is: "PodVolumeBackup" },
    { name: "also without snapshots", volume: "snap", spec: { ...ALL_FILES, ...NO_SNAPSHOTS }, is: "PodVolumeBackup" },
    {
      name: "also what nobody mounts lacks them",
      volume: "share",
      files: NO_RESTIC,
      spec: ALL_FILES,
      is: `error: its files should be copied: ${NO_RESTIC}`,
    },
    {
      name: "a local volume's files are copied",
      volume: "local",
      mounts: [web],
      spec: ALL_FILES,
      is: "PodVolumeBackup of web-0",
    },
    {
      name: "those of hostPath are not",
      volume: "hostPath",
      mounts: [web],
      spec: ALL_FILES,
      is: /^warning: .*\(stays\)$/,
    },
    {
      name: "a block device",
      volume: "block",
      mounts: [web],
      spec: ALL_FILES,
      is: `warning: ${UNSNAPSHOTTED}${BLOCK}`,
    },
  ],
  snapshotMoveData: [
    { name: "moves what CSI would snapshot", volume: "snap", spec: MOVES, is: "PodVolumeBackup moved" },
    {
      name: "and tells the Pod that uses it",
      volume: "snap",
      mounts: [mount("old", { running: false }), web],
      spec: MOVES,
      is: "PodVolumeBackup moved of web-0",
    },
    { name: "not what is to be copied by files", volume: "snap", mounts: [ASKS], spec: MOVES, is: /Backup of web-0$/ },
    {
      name: "what all files exclude",
      volume: "snap",
      mounts: [DECLINES],
      spec: { ...MOVES, ...ALL_FILES },
      is: "PodVolumeBackup moved of web-0",
    },
    {
      name: "what a policy wants to be snapshotted, by its class",
      volume: "snap",
      policies: [SNAPSHOT],
      spec: MOVES,
      is: "PodVolumeBackup moved class gold",
    },
    {
      name: "what only one Pod may mount: nobody mounts its snapshot",
      volume: "snap",
      claim: claim("Bound", "pv-1", ["ReadWriteOncePod"]),
      mounts: [ASKS],
      spec: MOVES,
      is: "PodVolumeBackup moved of web-0",
    },
    {
      name: "no disks of clouds",
      volume: "disk",
      spec: MOVES,
      is: `NativeSnapshot as asked warning, instead: ${UNMOVED}`,
    },
    { name: "nothing without snapshots", volume: "snap", spec: { ...MOVES, ...NO_SNAPSHOTS }, is: /^left: snapshotV/ },
    {
      name: "no block device",
      volume: "snapBlock",
      spec: MOVES,
      is: `error: snapshotMoveData wants the files of its snapshot: ${BLOCK}`,
    },
    {
      name: "nothing without a class to make a claim by",
      volume: "snap",
      claim: { ...claim(), spec: { volumeName: "pv-1" } },
      spec: MOVES,
      is: /^error: snapshotMoveData wants the files of its snapshot: it has no storage class/,
    },
  ],
};

describe("how a volume's data are copied", () => {
  for (const [group, cases] of Object.entries(CASES)) {
    describe(group, () => {
      for (const { name, volume, mounts = [], spec = {}, policies = [], files, noClasses, is, ...more } of cases) {
        it(name, () => {
          const one: Claim = { claim: more.claim ?? claim(), mounts, ...(volume && { volume: VOLUMES[volume] }) };
          const told = said(choose(one, { ...MEANS, spec, files, noClasses, policies: policiesOf(...policies) }));
          if (typeof is === "string") assert.equal(told, is);
          else assert.match(told, is);
        });
      }
    });
  }
});

const pod = (
  volumes: object[],
  {
    annotations,
    phase = "Running",
    ...spec
  }: { annotations?: Record<string, string>; phase?: string; [field: string]: unknown } = {},
): KubernetesObject => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "web-0", namespace: "shop", uid: "u1", labels: { app: "web" }, annotations },
  spec: {
    nodeName: "n1",
    volumes,
    containers: [{ name: "c", volumeMounts: volumes.map((volume) => ({ name: (volume as { name: string }).name })) }],
    ...spec,
  },
  status: { phase },
});
const claimed = (name: string, claimName = name) => ({ name, persistentVolumeClaim: { claimName } });
const IDENTITY = { name: "web-0", uid: "u1" };

describe("a Pod's mounts", () => {
  it("say which Pod uses which claim, where, and what its annotations wish", () => {
    const annotations = {
      "backup.velero.io/backup-volumes": "data, logs,,scratch",
      "backup.velero.io/backup-volumes-excludes": "logs",
    };
    const volumes = [claimed("data", "db"), claimed("logs"), claimed("more"), { name: "scratch", emptyDir: {} }];
    const common = { pod: IDENTITY, running: true, nodeName: "n1" };
    assert.deepEqual(mountsOf(pod(volumes, { annotations })), [
      { claim: "db", mount: { ...common, volumeName: "data", optedIn: true } },
      { claim: "logs", mount: { ...common, volumeName: "logs", optedIn: true, optedOut: true } },
      { claim: "more", mount: { ...common, volumeName: "more" } },
    ]);
  });

  const MOUNTED: [what: string, spec: object, claims: string[]][] = [
    ["by an init container", { containers: [], initContainers: [{ volumeMounts: [{ name: "a" }] }] }, ["a"]],
    ["by no container", { containers: [{ name: "c" }] }, []],
    ["as a device", { containers: [{ name: "c", volumeDevices: [{ name: "a" }] }] }, []],
    ["by several containers", { containers: [1, 2].map(() => ({ volumeMounts: [{ name: "a" }] })) }, ["a"]],
  ];
  for (const [what, spec, claims] of MOUNTED) {
    it(`are of what is mounted: ${what}`, () =>
      assert.deepEqual(
        mountsOf(pod([claimed("a")], { ...spec })).map(({ claim }) => claim),
        claims,
      ));
  }

  it("are what the annotation names though no container mounts it: then on no node", () => {
    const unmounted = { containers: [{ name: "c" }], annotations: { "backup.velero.io/backup-volumes": "a" } };
    const [found] = mountsOf(pod([claimed("a")], unmounted));
    assert.deepEqual([found?.claim, found?.mount.optedIn, found?.mount.running], ["a", true, false]);
  });

  it("include the claims of generic ephemeral volumes", () => {
    const [found] = mountsOf(pod([{ name: "tmp", ephemeral: { volumeClaimTemplate: {} } }]));
    assert.equal(found?.claim, "web-0-tmp");
  });

  it("are those of a Pod that doesn't run, or is on no node yet", () => {
    const [found] = mountsOf(pod([claimed("a")], { phase: "Pending", nodeName: undefined }));
    assert.deepEqual(found?.mount, { pod: IDENTITY, running: false, nodeName: "", volumeName: "a" });
  });
});

describe("a Pod's own volumes", () => {
  const OPT_IN = { annotations: { "backup.velero.io/backup-volumes": "a,b" } };
  const told = (volumes: object[], options = {}, ...policies: string[]) =>
    podVolumes(pod(volumes, options), policiesOf(...policies)).map(
      ({ volumeName, level, reason }) => `${level} ${volumeName}: ${reason}`,
    );
  const DIES = "it lives and dies with its Pod, and only a claim's files can be copied from outside: use a claim";
  const EMPTY = [{ name: "a", emptyDir: {} }, claimed("b")];

  it("are told where the annotation names them", () => {
    assert.deepEqual(podVolumes(pod(EMPTY, OPT_IN), []), [{ volumeName: "a", level: "error", reason: DIES }]);
  });

  const CASES: [what: string, told: string[], is: RegExp[]][] = [
    [
      "where a policy wants their files",
      told(EMPTY, {}, "{ conditions: { volumeTypes: [emptyDir] }, action: { type: fs-backup } }"),
      [/^error a: it lives and dies/],
    ],
    ["but not where a policy skips them", told(EMPTY, OPT_IN, "{ action: { type: skip } }"), []],
    ["nor where nobody wants them", told(EMPTY), []],
    ["nor of a Pod that doesn't run", told(EMPTY, { ...OPT_IN, phase: "Succeeded" }), []],
    [
      "a folder of the node",
      told([{ name: "a", hostPath: { path: "/" } }, claimed("b")], OPT_IN),
      [/^warning a: it is a folder of the node/],
    ],
    [
      "NFS",
      told([{ name: "a", nfs: { server: "n" } }, claimed("b")], OPT_IN),
      [/^warning a: its data stay where they are/],
    ],
    [
      "other sources",
      told(
        [
          { name: "a", image: {} },
          { name: "b", csi: {} },
        ],
        OPT_IN,
      ),
      [/^error a: only a claim's/, /^error b: only a claim's/],
    ],
    [
      "no objects of the API",
      told(
        [
          { name: "a", configMap: {} },
          { name: "b", projected: {} },
        ],
        OPT_IN,
      ),
      [],
    ],
    ["no ephemeral claims", told([{ name: "a", ephemeral: {} }, claimed("b")], OPT_IN), []],
    [
      "names that are no volumes",
      told([claimed("b")], OPT_IN),
      [/^warning a: .* names it, but the Pod has no such volume$/],
    ],
  ];
  for (const [what, found, is] of CASES) {
    it(`are told ${what}`, () => {
      assert.equal(found.length, is.length, String(found));
      for (const [at, pattern] of is.entries()) assert.match(found[at]!, pattern);
    });
  }
});
