import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gunzipSync } from "node:zlib";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { startApiServer } from "../../core/apiserver/server.ts";
import type { KubernetesObject } from "../../core/archive/item.ts";
import type { BackupRun } from "../../core/backup/backup.ts";
import { readResourceList } from "../../core/documents.ts";
import { LifeboatError } from "../../core/errors.ts";
import { connect, type Kube } from "../../core/kube/client.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import { labelsFor } from "../../core/labels.ts";
import { backupKeys } from "../../core/layout.ts";
import { startRunLog } from "../../core/log.ts";
import type { Bucket, Disks } from "../../core/ports.ts";
import { problemLine } from "../../core/report.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { backupOf } from "./integrity-sample.ts";
import { memoryDisks } from "./memory-disks.ts";
import { answer } from "./restore-sample.ts";

/** The same cluster, whichever server holds it. */
const CLUSTER: KubernetesObject[] = ["shop", "kube-system"].map((name) => {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, uid: `uid-${name}` } };
});

/** The claim shop/`name`, of the volume pv-`name`. */
const claim = (name: string, phase = "Bound"): KubernetesObject => ({
  ...{ apiVersion: "v1", kind: "PersistentVolumeClaim" },
  metadata: { namespace: "shop", name, uid: `uid-${name}`, labels: { app: name } },
  ...{ spec: { volumeName: `pv-${name}`, accessModes: ["ReadWriteOnce"] }, status: { phase } },
});

const volume = (name: string, source: object): KubernetesObject => ({
  ...{ apiVersion: "v1", kind: "PersistentVolume", metadata: { name: `pv-${name}` } },
  spec: { ...source, persistentVolumeReclaimPolicy: "Retain", claimRef: { namespace: "shop", name } },
});

/** A claim whose volume is a disk of AWS: "vol-" and a hexadecimal number. */
const onDisk = (name: string, id = "1") => [
  claim(name),
  volume(name, { csi: { driver: "ebs.csi.aws.com", volumeHandle: `vol-${id}` } }),
];

/** A claim whose volume nobody can snapshot from outside. */
const onShare = (name: string) => [claim(name), volume(name, { csi: { driver: "share.example", volumeHandle: "x" } })];

interface Attempt extends Partial<BackupRun> {
  disks?: Disks;
  /** Answers in the place of the cluster. */
  instead?: (request: Parameters<Kube["request"]>[0]) => ReturnType<typeof answer> | undefined;
  /** Called when the run is over. */
  over?: () => void;
}

/** Backs up a cluster of these objects. */
async function attempt(
  objects: KubernetesObject[],
  { disks, instead, over, bucket = memoryBucket(), ...more }: Attempt = {},
) {
  const server = await startApiServer({ objects: [...CLUSTER, ...objects] });
  const real = connect(readKubeconfig(server.kubeconfig));
  const kube: Kube = { ...real, request: async (request) => instead?.(request) ?? real.request(request) };
  const volumes = disks && { disks: { aws: async () => disks } };
  try {
    return await backupOf(server, { bucket, name: "b", kube, volumes, ...more });
  } finally {
    over?.();
    await real.close();
    await server.stop();
  }
}

it("Events of the Jobs that copy files are in no backup", async () => {
  const bucket = memoryBucket();
  const job = "lifeboat-3f2a9c04-8a1e-4a44-9f0e-0c5f4c3b2a1d";
  const names = [`${job}.17c0`, `${job}-x7k2p.17c1`, "lifeboat-web-3f2a.17c2"];
  const events = names.map((name) => ({
    ...{ apiVersion: "v1", kind: "Event", metadata: { namespace: "shop", name }, reason: "Created" },
    involvedObject: { kind: "Pod", namespace: "shop", name: name.split(".")[0] },
  }));
  await attempt(events, { bucket });
  const list = await readResourceList(bucket, backupKeys("b").resourceList);
  assert.deepEqual(list?.["v1/Event"], ["shop/lifeboat-web-3f2a.17c2"]);
});

describe("a claim whose data are not copied", () => {
  const rows: { what: string; objects: KubernetesObject[]; spec?: BackupRun["spec"]; told: string[] }[] = [
    {
      what: "since nothing can copy them is a warning and a finding",
      objects: onShare("db"),
      told: ["warning db: the cluster has no Vol", "finding db: the cluster has no Vol"],
    },
    {
      what: "since its volume is gone is a warning and a finding",
      objects: [claim("db", "Lost")],
      told: ["warning db: its volume pv-db is go", "finding db: its volume pv-db is go"],
    },
    {
      what: "since the user wants no snapshots is neither",
      objects: onShare("db"),
      spec: { snapshotVolumes: false },
      told: [],
    },
    {
      what: "since a policy for what is lost skips it is neither",
      objects: [claim("db", "Lost")],
      spec: {
        resourcePolicyRules:
          "version: v1\nvolumePolicies: [{ conditions: { pvcPhase: [Lost] }, action: { type: skip } }]",
      },
      told: [],
    },
    {
      what: "since it waits for its volume is neither",
      objects: [claim("db", "Pending")],
      told: [],
    },
    {
      what: "since nothing can copy the files that were asked for is an error",
      objects: onShare("db"),
      spec: { defaultVolumesToFsBackup: true },
      told: ["error db: its files should be co", "finding db: its files should be co"],
    },
    {
      what: "since it can't be snapshotted, which was asked for, is an error",
      objects: onShare("db"),
      spec: { snapshotVolumes: true },
      told: ["error db: the cluster has no Vol", "finding db: the cluster has no Vol"],
    },
    {
      what: "since Velero copies no files of a folder of the node either is a warning, though they were asked for",
      objects: [claim("db"), volume("db", { hostPath: { path: "/data" } })],
      spec: { defaultVolumesToFsBackup: true },
      told: ["warning db: files of a hostPath vo", "finding db: files of a hostPath vo"],
    },
    {
      what: "since they stay on a node is a finding",
      objects: [claim("db"), volume("db", { hostPath: { path: "/data" } })],
      told: ["finding db: its data stay where th"],
    },
    {
      what: "since a server has them is neither",
      objects: [claim("db"), volume("db", { nfs: { server: "nas", path: "/" } })],
      told: [],
    },
  ];
  for (const { what, objects, spec = {}, told } of rows)
    it(what, async () => {
      const { record, outcome } = await attempt(objects, { spec });
      const findings = outcome.findings!.filter(({ rule }) => rule === "claim-without-data");
      const said = (kind: string, problems: { name?: string; message: string }[]) =>
        problems.map(({ name, message }) => `${kind} ${name}: ${message.replace(/^its data .*?: /, "").slice(0, 22)}`);
      const { errors, warnings } = outcome;
      assert.deepEqual([...said("error", errors), ...said("warning", warnings), ...said("finding", findings)], told);
      assert.equal(record.status?.phase, errors.length > 0 ? "PartiallyFailed" : "Completed");
      assert.equal(outcome.volumes?.length, 1);
    });
});

/** restic, which nothing waits for. */
const files = {
  ...{ image: "restic:1", location: "s3://b/p?region=eu-west-1", env: {} },
  secrets: async () => ({ variables: { RESTIC_PASSWORD: "x" } }),
  timing: { start: 1, refused: 1, lock: 1, stall: 1, node: 1, total: 1, end: 1, poll: 1 },
};

describe("what many claims lack", () => {
  const NAMES = ["a", "b", "c", "d", "e", "f", "g"];

  it("is one problem, which counts them", async () => {
    const log = startRunLog({});
    const { outcome } = await attempt(NAMES.flatMap(onShare), { spec: { snapshotVolumes: true }, log });
    assert.equal(outcome.errors.length, 1);
    const [{ namespace, name, message } = { message: "" }] = outcome.errors;
    assert.deepEqual([namespace, name], ["shop", undefined]);
    assert.match(
      message,
      /^7 claims \(shop\/a, .*shop\/e and 2 more\): its data are not in the backup: the cluster has no/,
    );
    assert.equal(outcome.volumes?.filter(({ lacking }) => lacking).length, 7);
    assert.equal(
      gunzipSync(log.gzipped())
        .toString()
        .match(/ level=error /g)?.length,
      1,
    );
  });

  it("of rights is one, with what gives them", async () => {
    const bucket = memoryBucket();
    await bucket.put("restic/shop/config", Buffer.from("x"));
    const said = (resource: string) => {
      const message = `${resource} is forbidden: User "x" cannot create resource "${resource}" in API group "batch"`;
      return answer(403, { kind: "Status", status: "Failure", reason: "Forbidden", code: 403, message });
    };
    const { record, outcome } = await attempt(NAMES.flatMap(onShare), {
      ...{ bucket, spec: { defaultVolumesToFsBackup: true }, volumes: { files } },
      instead: ({ method = "GET", path }) => (method === "GET" ? undefined : said(path.split("/")[6] ?? "")),
    });
    assert.deepEqual(outcome.warnings, []);
    assert.equal(record.status?.phase, "PartiallyFailed");
    assert.deepEqual(
      outcome.errors.map(({ message }) => message.replace(/^.*backup: /, "")),
      [
        "no right to create jobs: kubectl apply -f infra/kubernetes/restic.yaml, and belong to its group lifeboat:restic",
      ],
    );
  });
});

it("a Pod's own volumes that were to be copied are told by Pod and volume, and counted apart", async () => {
  const pod = {
    ...{ apiVersion: "v1", kind: "Pod", spec: { volumes: [{ name: "logs", hostPath: { path: "/var/log" } }] } },
    metadata: { namespace: "shop", name: "web-0", annotations: { "backup.velero.io/backup-volumes": "logs" } },
    status: { phase: "Running" },
  };
  const { record, outcome } = await attempt([pod]);
  assert.equal(record.status?.phase, "Completed");
  assert.deepEqual(outcome.warnings.map(problemLine), [
    "pods shop/web-0: its volume logs is not copied: it is a folder of the node, and only a claim's files can be copied from outside: use a claim",
  ]);
  const counts = JSON.parse(record.metadata.annotations!["lifeboat/volumes"]!);
  assert.deepEqual([counts.podVolumes, counts.lacking], [1, 0]);
});

/** A Pod that runs on node-7, of which a volume "d" is the claim. */
const podOf = (claimName: string, annotations: Record<string, string> = {}): KubernetesObject => ({
  ...{ apiVersion: "v1", kind: "Pod" },
  metadata: { namespace: "shop", name: `${claimName}-0`, uid: "uid", annotations },
  spec: {
    nodeName: "node-7",
    containers: [{ name: "a", volumeMounts: [{ name: "d", mountPath: "/d" }] }],
    volumes: [{ name: "d", persistentVolumeClaim: { claimName } }],
  },
  status: { phase: "Running" },
});

describe("a claim whose Pod is not stored", () => {
  const excludes = { "backup.velero.io/backup-volumes-excludes": "d" };
  const rows: { what: string; spec: BackupRun["spec"]; annotations?: Record<string, string>; nodes: string[] }[] = [
    { what: "is read on the Pod's node", spec: { excludedResources: ["pods"] }, nodes: ["node-7"] },
    {
      what: "of another label is read on the Pod's node",
      spec: { labelSelector: { matchLabels: { app: "db" } }, excludedResources: ["pods"] },
      nodes: ["node-7"],
    },
    {
      what: "is left alone where the Pod says so",
      spec: { excludedResources: ["pods"] },
      annotations: excludes,
      nodes: [],
    },
  ];
  for (const { what, spec, annotations, nodes } of rows)
    it(what, async () => {
      const bucket = memoryBucket();
      await bucket.put("restic/shop/config", Buffer.from("x"));
      const seen: string[] = [];
      const { outcome } = await attempt([...onShare("db"), podOf("db", annotations)], {
        ...{ bucket, spec: { defaultVolumesToFsBackup: true, ...spec }, volumes: { files } },
        instead: ({ method, path, body }) => {
          if (method !== "POST" || !path.endsWith("/jobs")) return undefined;
          seen.push(...(String(body).match(/node-\d/g) ?? ["any"]));
          return answer(403, { kind: "Status", status: "Failure", reason: "Forbidden", code: 403, message: "no" });
        },
      });
      assert.deepEqual([...new Set(seen)], nodes);
      assert.equal(outcome.volumes?.[0]?.lacking, true);
    });
});

it("Jobs that copy files and that a dead run of the backup left are ended first, and nobody else's", async () => {
  const settings = {
    ...{ image: "restic:1", location: "s3://b/p?region=eu-west-1", env: {} },
    secrets: async () => ({ variables: { RESTIC_PASSWORD: "x" } }),
    timing: { start: 1, refused: 1, lock: 1, stall: 1, node: 1, total: 1, end: 1, poll: 1 },
  };
  const job = (name: string, backupName: string, location: string): KubernetesObject => ({
    ...{ apiVersion: "batch/v1", kind: "Job" },
    metadata: {
      ...{ namespace: "shop", name },
      labels: { ...labelsFor({ backupName, location }), "app.kubernetes.io/managed-by": "lifeboat" },
    },
  });
  const jobs = [job("left", "b", "s3://b/p/"), job("other", "c", "s3://b/p"), job("elsewhere", "b", "s3://b/q")];
  const ended: string[] = [];
  await attempt([...onShare("db"), ...jobs], {
    volumes: { files: settings },
    instead: ({ method, path }) => {
      if (method === "DELETE" && path.includes("/jobs/")) ended.push(path.split("/").at(-1)!);
      return undefined;
    },
  });
  assert.deepEqual(ended, ["left"]);
});

it("a claim of a Pod whose pre-hook failed is not copied", async () => {
  const snapshots = new Map();
  const hook = { "pre.hook.backup.velero.io/command": "freeze" };
  const { outcome } = await attempt([...onDisk("db"), ...onDisk("media", "2"), podOf("db", hook)], {
    disks: memoryDisks(snapshots),
  });
  const said = outcome.volumes?.map(({ claim, method, reason, lacking }) => [claim.name, method, reason, lacking]);
  assert.deepEqual(said, [
    ["db", undefined, "a pre-hook of Pod db-0, which uses it, failed, so they may not be at rest", true],
    ["media", "NativeSnapshot", undefined, undefined],
  ]);
  assert.equal(snapshots.size, 1);
});

/** A bucket whose put of what ends so fails; "before" it is carried out, or "after". */
function failing(bucket: Bucket, ending: string, when: "before" | "after"): Bucket {
  return {
    ...bucket,
    async put(key, body, options) {
      const fails = key.includes(ending);
      if (fails && when === "before" && !Buffer.isBuffer(body)) for await (const _ of body);
      if (!fails || when === "after") await bucket.put(key, body, options);
      if (fails) throw new LifeboatError("unreachable", "the answer is lost");
    },
  };
}

describe("copies of a run that fails", () => {
  const signer = async () => ({ sign: async () => Buffer.alloc(64), publicKey: async () => "" }) as never;
  const rows: {
    what: string;
    ending: string;
    when: "before" | "after";
    how: "plain" | "signed" | "encrypted";
    left: number;
  }[] = [
    { what: "go where its archive isn't stored", ending: ".tar.gz", when: "before", how: "plain", left: 0 },
    {
      what: "stay where its archive is, though the answer was lost",
      ending: ".tar.gz",
      when: "after",
      how: "plain",
      left: 1,
    },
    { what: "stay with an archive without its index", ending: "-index", when: "before", how: "plain", left: 1 },
    {
      what: "stay with an archive without its side files",
      ending: "-resource-list",
      when: "before",
      how: "plain",
      left: 1,
    },
    { what: "go where it is encrypted whole", ending: "-index", when: "before", how: "encrypted", left: 0 },
    {
      what: "go where it is encrypted whole, with its side files",
      ending: "-resource-list",
      when: "before",
      how: "encrypted",
      left: 0,
    },
    { what: "go where it is to be signed", ending: "-index", when: "before", how: "signed", left: 0 },
    {
      what: "stay with its record, though the answer was lost",
      ending: "backup.json",
      when: "after",
      how: "encrypted",
      left: 1,
    },
  ];
  for (const { what, ending, when, how, left } of rows)
    it(what, async () => {
      const bucket = memoryBucket();
      const snapshots = new Map();
      const identity = how === "encrypted" ? await generateIdentity() : undefined;
      const options: Attempt = {
        disks: memoryDisks(snapshots),
        ...(identity && { recipients: [await identityToRecipient(identity)] }),
        ...(how === "signed" && { signer }),
      };
      await assert.rejects(attempt(onDisk("db"), { ...options, bucket: failing(bucket, ending, when) }), {
        kind: "unreachable",
      });
      assert.equal(snapshots.size, left);
      if (how !== "plain") return;
      const { adopted, outcome } = await attempt(onDisk("db"), { ...options, bucket });
      assert.equal(adopted, left === 1);
      assert.deepEqual([...snapshots.keys()], [outcome.volumes?.[0]?.native?.snapshotHandle]);
    });

  it("go where somebody deletes its archive before its record is there", async () => {
    const bucket = memoryBucket();
    const snapshots = new Map();
    const deleting: Bucket = {
      ...bucket,
      async put(key, ...rest) {
        await bucket.put(key, ...rest);
        if (key.includes("-results")) await bucket.delete(backupKeys("b").tar);
      },
    };
    await assert.rejects(attempt(onDisk("db"), { disks: memoryDisks(snapshots), bucket: deleting }), {
      kind: "conflict",
      message: /was deleted from memory/,
    });
    assert.equal(snapshots.size, 0);
  });

  it("stay, and are told, where the bucket no longer tells what it holds", async () => {
    const bucket = memoryBucket();
    const snapshots = new Map();
    let gone = false;
    const vanishing: Bucket = {
      ...failing(bucket, ".tar.gz", "after"),
      list: (...given) => {
        gone ||= snapshots.size > 0;
        if (gone) throw new LifeboatError("unreachable", "the bucket is gone");
        return bucket.list(...given);
      },
    };
    const log = startRunLog({});
    await assert.rejects(attempt(onDisk("db"), { disks: memoryDisks(snapshots), bucket: vanishing, log }));
    assert.equal(snapshots.size, 1);
    assert.match(gunzipSync(log.gzipped()).toString(), /names its copies of volumes can't be told.*the bucket is gone/);
  });

  it("that is ended are all gone before it is over, those that waited and those that were whole", async () => {
    const snapshots = new Map<string, Record<string, string>>();
    const disks = memoryDisks(snapshots);
    const run = new AbortController();
    const slow: Disks = {
      ...disks,
      async read(snapshot, signal) {
        const found = await disks.read(snapshot, signal);
        if (snapshots.size === 3) queueMicrotask(() => run.abort(new LifeboatError("timeout", "the deadline")));
        return (
          found && {
            ...found,
            state: Buffer.from(snapshot.id.slice(5), "hex").includes("pv-a") ? "completed" : "pending",
          }
        );
      },
      async removeSnapshot(snapshot, signal) {
        const turns = Buffer.from(snapshot.id.slice(5), "hex").includes("pv-c") ? 5000 : 1;
        for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
        await disks.removeSnapshot(snapshot, signal);
      },
    };
    const objects = [...onDisk("a"), ...onDisk("b", "2"), ...onDisk("c", "3")];
    let left: unknown;
    const over = () => {
      left = [...snapshots.keys()];
    };
    const said: string[] = [];
    const say = (line: string) => void said.push(line);
    await assert.rejects(attempt(objects, { disks: slow, signal: run.signal, over, say }), { kind: "timeout" });
    assert.deepEqual(left, []);
    assert.deepEqual(said, ["taking back 3 snapshots (shop/a, shop/b, shop/c): at most three minutes"]);
  });

  it("that can't be taken back are named when it is over", async () => {
    const snapshots = new Map<string, Record<string, string>>();
    const disks = memoryDisks(snapshots);
    const run = new AbortController();
    const stuck: Disks = {
      ...disks,
      async read(snapshot, signal) {
        if (snapshots.size === 2) queueMicrotask(() => run.abort(new Error("called off")));
        const found = await disks.read(snapshot, signal);
        return found && { ...found, state: "pending" };
      },
      async removeSnapshot(snapshot, signal) {
        if (Buffer.from(snapshot.id.slice(5), "hex").includes("pv-b")) throw new LifeboatError("denied", "no right");
        await disks.removeSnapshot(snapshot, signal);
      },
    };
    const said: string[] = [];
    const log = startRunLog({});
    await assert.rejects(
      attempt([...onDisk("a"), ...onDisk("b", "2")], {
        ...{ disks: stuck, signal: run.signal, log },
        say: (line) => void said.push(line),
      }),
      /called off/,
    );
    assert.equal(said.length, 2);
    assert.match(said[1]!, /^left over, which .* finds: of claim shop\/b the snapshot snap-\w+ may be left: no right$/);
    assert.match(gunzipSync(log.gzipped()).toString(), / level=warning msg="left over/);
  });
});
