import assert from "node:assert/strict";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";
import { gunzipSync } from "node:zlib";
import { openArchive } from "../../core/archive/reader.ts";
import { backup } from "../../core/backup/backup.ts";
import type { BackupProgress } from "../../core/backup/collect.ts";
import { backupDocument } from "../../core/documents.ts";
import { connect, type Kube } from "../../core/kube/client.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import { backupKeys } from "../../core/layout.ts";
import { startRunLog } from "../../core/log.ts";
import type { Bucket } from "../../core/ports.ts";
import { problemLine } from "../../core/report.ts";
import { type BackupSpec, backupSpecSchema } from "../../core/specs.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { binary } from "../rig/binaries.ts";
import { type Cluster, startCluster, WITH_CONTROLLERS } from "../rig/cluster.ts";
import { until } from "../rig/process.ts";
import { requireOrSkip } from "../rig/require.ts";
import { startS3 } from "../rig/s3.ts";
import { startVelero, VELERO, type Velero } from "../rig/velero.ts";

const PODS = "/api/v1/namespaces/shop/pods";
const STATE = "/api/v1/namespaces/shop/configmaps/state";
const sh = (script: string) => ["sh", "-c", script];
const exec = (script: string, more: object = {}) => ({ exec: { command: sh(script), ...more } });
const note = (line: string) => `echo ${line} >> order`;

/** Pods and what is to be run in them, by their annotations. kwok runs it in the cluster's folder. */
const annotated = (phase: "pre" | "post", script: string, more: Record<string, string> = {}) =>
  Object.fromEntries(
    Object.entries({ command: JSON.stringify(sh(script)), ...more }).map(([key, value]) => [
      `${phase}.hook.backup.velero.io/${key}`,
      value,
    ]),
  );

const only = (...pods: string[]): Pick<BackupSpec, "includedNamespaces" | "labelSelector"> => ({
  includedNamespaces: ["shop"],
  labelSelector: { matchExpressions: [{ key: "pod", operator: "In", values: pods }] },
});

describe("backup hooks", { skip: requireOrSkip("rig", WITH_CONTROLLERS) }, () => {
  let cluster: Cluster;
  let kube: Kube;

  before(async () => {
    cluster = await startCluster({ controllers: true, exec: true, nodes: 1, audit: true });
    kube = connect(readKubeconfig(cluster.kubeconfig));
    await cluster.api.request("POST", "/api/v1/namespaces", {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: "shop" },
    });
    await until("the ServiceAccount", () =>
      cluster.api.request("GET", "/api/v1/namespaces/shop/serviceaccounts/default"),
    );
    await cluster.api.request("POST", STATE.replace("/state", ""), {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "state", labels: { pod: "db" } },
      data: { is: "running" },
    });
    const kubectl = await binary("kubectl");
    const put = (state: string) =>
      `${kubectl} --kubeconfig ${cluster.kubeconfigPath} -n shop patch configmap state -p '{"data":{"is":"${state}"}}'`;
    const pods: { name: string; annotations?: Record<string, string>; labels?: Record<string, string> }[] = [
      {
        name: "db",
        annotations: {
          ...annotated("pre", `echo out; echo err >&2; ${put("frozen")}`),
          ...annotated("post", put("thawed")),
        },
      },
      { name: "ordered" },
      { name: "stops" },
      { name: "goes-on" },
      { name: "over" },
      {
        name: "slow",
        annotations: {
          ...annotated("pre", "sleep 60", { timeout: "1s", "on-error": "Continue" }),
          ...annotated("post", note("slow-thawed")),
        },
      },
      {
        name: "begins",
        annotations: {
          ...annotated("pre", `touch begun; while test -e hold; do sleep 0.05; done; ${note("froze")}`),
          ...annotated("post", note("thawed")),
        },
      },
      {
        name: "left-out",
        annotations: annotated("pre", note("left-out")),
        labels: { "velero.io/exclude-from-backup": "true" },
      },
      { name: "odd", annotations: annotated("pre", note("odd"), { container: "none", "on-error": "maybe" }) },
    ];
    for (const { name, annotations, labels } of pods)
      await cluster.api.request("POST", PODS, podOf(name, annotations, labels));
    await until("the Pods to run", async () => (await phases()).every((phase) => phase === "Running"));
    await cluster.api.request("PATCH", `${PODS}/over/status`, { status: { phase: "Succeeded" } });
  });
  after(async () => {
    await kube?.close();
    await cluster?.stop();
  });
  beforeEach(() => rm(join(cluster.dir, "order"), { force: true }));

  const phases = async () => {
    const { items } = await cluster.api.request<{ items: { status?: { phase?: string } }[] }>("GET", PODS);
    return items.map(({ status }) => status?.phase);
  };
  const file = (name: string) => readFile(join(cluster.dir, name), "utf8").catch(() => undefined);
  const lines = async (name: string) => (await file(name))?.trimEnd().split("\n") ?? [];
  const state = async () => (await cluster.api.request<{ data: { is: string } }>("GET", STATE)).data.is;

  /** The Pods and ConfigMaps of a backup. */
  async function stored(bucket: Bucket, name: string) {
    const archive = await openArchive(bucket, backupKeys(name));
    try {
      const bodies: { kind: string; metadata: { name: string }; data?: Record<string, string> }[] = [];
      for await (const { body } of archive.read(
        archive.entries(({ resource }) => ["pods", "configmaps"].includes(resource)),
      ))
        bodies.push(JSON.parse(body.toString()));
      return {
        pods: bodies.filter(({ kind }) => kind === "Pod").map(({ metadata }) => metadata.name),
        state: bodies.find(({ metadata }) => metadata.name === "state")?.data?.is,
      };
    } finally {
      await archive.close();
    }
  }

  interface Options {
    bucket?: Bucket;
    signal?: AbortSignal;
    as?: Kube;
    progress?: (progress: BackupProgress) => void;
    log?: ReturnType<typeof startRunLog>;
  }
  async function run(name: string, spec: object, options: Options = {}) {
    const { bucket = memoryBucket(), signal = new AbortController().signal, as = kube, progress } = options;
    const log = options.log ?? startRunLog({ backup: name });
    const parsed = backupSpecSchema.parse(spec);
    const { record, outcome, adopted } = await backup({ kube: as, bucket, name, spec: parsed, log, signal, progress });
    return {
      ...{ record, adopted, warnings: outcome.warnings.map(problemLine), errors: outcome.errors.map(problemLine) },
      ...{ ...(await stored(bucket, name)), log: gunzipSync(log.gzipped()).toString() },
      document: backupDocument(record, "", outcome),
    };
  }

  it("run before the revision is fixed and after all is read at it", async () => {
    const made = await run("db", only("db"));
    assert.deepEqual([made.record.status?.phase, made.errors, made.warnings], ["Completed", [], []]);
    assert.equal(made.state, "frozen", "the photograph shows what the pre-hook did, and not the post-hook");
    assert.equal(await state(), "thawed");
    assert.deepEqual(made.record.status?.hookStatus, { hooksAttempted: 2, hooksFailed: 0 });
    assert.deepEqual(made.document.hooks, { attempted: 2, failed: 0 });
    assert.equal(made.document.consistency?.grade, "exact");
    assert.match(
      made.log,
      /msg="A hook ended" .*container=main .*exitCode=0 stdout="out\\n.*" stderr="err\\n" phase=pre/,
    );
  });

  it("of a Pod run one after the other; what fails stops the rest of its Pod where it says so", async () => {
    const select = (pod: string) => ({ name: pod, labelSelector: { matchLabels: { pod } } });
    const hooks = {
      resources: [
        {
          ...select("ordered"),
          pre: [
            exec(`sleep 0.3; ${note("o1")}`),
            exec(note("o2"), { container: "sidecar" }),
            exec(note("o3"), { container: "native" }),
          ],
          post: [exec(note("o4")), exec(note("o5"))],
        },
        {
          ...select("stops"),
          pre: [exec("exit 3"), exec(note("s-never"))],
          post: [exec("exit 4"), exec(note("s-thawed"))],
        },
        { ...select("goes-on"), pre: [exec("exit 5", { onError: "Continue" }), exec(note("g1"))] },
        { ...select("over"), pre: [exec(note("over"))], post: [exec(note("over"))] },
        { name: "services", includedResources: ["services"], pre: [exec(note("services"))] },
      ],
    };
    const pods = ["goes-on", "left-out", "odd", "ordered", "over", "slow", "stops"];
    const { record, pods: kept, errors, warnings, log } = await run("many", { ...only(...pods), hooks });
    assert.equal(record.status?.phase, "PartiallyFailed");
    assert.deepEqual(
      (await lines("order")).filter((line) => line.startsWith("o")),
      ["o1", "o2", "o3", "o4", "o5"],
    );
    assert.deepEqual((await lines("order")).filter((line) => !line.startsWith("o")).sort(), [
      "g1",
      "s-thawed",
      "slow-thawed",
    ]);
    assert.deepEqual(kept, ["goes-on", "ordered", "over", "slow"]);
    const of = (pod: string) =>
      errors
        .filter((line) => line.startsWith(`pods shop/${pod}: `))
        .map((line) => line.split(": ").slice(1).join(": "));
    assert.match(of("stops")[0]!, /^pre hook stops in container main: .*exit status 3/);
    assert.match(of("stops")[1]!, /^post hook stops in container main: .*exit status 4/);
    assert.match(of("goes-on")[0]!, /^pre hook goes-on in container main: .*exit status 5/);
    assert.deepEqual(of("slow"), [
      "pre hook <from-annotation> in container main: the command in container main of pod shop/slow did not end within 1 s",
    ]);
    assert.deepEqual(of("odd"), ["pre hook <from-annotation> in container none: the Pod has no such container"]);
    assert.equal(errors.length, 5);
    assert.deepEqual(warnings, [
      "pods shop/odd: its annotation pre.hook.backup.velero.io/on-error is not understood, and disregarded",
    ]);
    assert.deepEqual(record.status?.hookStatus, { hooksAttempted: 13, hooksFailed: 5 });
    assert.deepEqual((record.spec as { hooks: unknown }).hooks, hooks, "the record says what was asked for");
    assert.match(log, /level=error msg="pods shop\/stops: pre hook stops/);
  });

  it("that began are undone when the run is cancelled, not before they have ended", async () => {
    const cancelled = new AbortController();
    const log = startRunLog({ backup: "cancelled" });
    await writeFile(join(cluster.dir, "hold"), "");
    const dying = run("cancelled", only("begins", "db"), { signal: cancelled.signal, log });
    await until("the hook to run", async () => (await file("begun")) !== undefined);
    cancelled.abort(new Error("cancelled by SIGINT"));
    await rm(join(cluster.dir, "hold"));
    await assert.rejects(dying, /cancelled by SIGINT/);
    assert.deepEqual(await lines("order"), ["froze", "thawed"]);
    assert.notEqual(await state(), "frozen");
    assert.match(gunzipSync(log.gzipped()).toString(), /msg="A hook ended" .*phase=post/);
  });

  it("are undone when the cluster can't be read or the bucket takes nothing", async () => {
    const cancelled = new AbortController();
    const progress = ({ items }: BackupProgress) => items > 0 && cancelled.abort(new Error("in the middle"));
    await assert.rejects(run("middle", only("begins"), { signal: cancelled.signal, progress }), /in the middle/);
    assert.deepEqual(await lines("order"), ["froze", "thawed"]);
    const full: Bucket = { ...memoryBucket(), put: async () => Promise.reject(new Error("the bucket is full")) };
    await assert.rejects(run("full", only("begins"), { bucket: full }), /the bucket is full/);
    assert.deepEqual(await lines("order"), ["froze", "thawed", "froze", "thawed"]);
  });

  it("are not run again by the run that finishes an interrupted one, and are in its record", async () => {
    const bucket = memoryBucket();
    const dying: Bucket = {
      ...bucket,
      put: (key, ...rest) =>
        key === backupKeys("twice").metadata ? Promise.reject(new Error("killed")) : bucket.put(key, ...rest),
    };
    await assert.rejects(run("twice", only("begins"), { bucket: dying }), /killed/);
    const { adopted, record } = await run("twice", only("begins"), { bucket });
    assert.equal(adopted, true);
    assert.deepEqual(record.status?.hookStatus, { hooksAttempted: 2, hooksFailed: 0 });
    assert.deepEqual(await lines("order"), ["froze", "thawed"]);
  });

  /** A client of a user who may read these resources and nothing else. */
  async function reader(name: string, resources: string[]): Promise<Kube> {
    const rbac = "rbac.authorization.k8s.io";
    const object = (kind: string, more: object) =>
      cluster.api.request("POST", `/apis/${rbac}/v1/${kind.toLowerCase()}s`, {
        ...{ apiVersion: `${rbac}/v1`, kind, metadata: { name } },
        ...more,
      });
    await object("ClusterRole", { rules: [{ apiGroups: [""], resources, verbs: ["list", "get"] }] });
    const subjects = [{ kind: "User", name, apiGroup: rbac }];
    await object("ClusterRoleBinding", { roleRef: { apiGroup: rbac, kind: "ClusterRole", name }, subjects });
    return connect(readKubeconfig(await cluster.user(name)));
  }

  it("fail with the server's word where RBAC doesn't let them run or be found; the rest is stored", async () => {
    const spec = { ...only("db"), includedResources: ["pods", "configmaps"], includeClusterResources: false };
    const told = {
      reader: [
        /^pods shop\/db: pre hook .*User "reader" cannot \w+ resource "pods\/exec"/,
        /^pods shop\/db: post hook /,
      ],
      blind: [/^pods: which Pods have hooks can't be told: .*User "blind" cannot list resource "pods"/, /^pods: /],
    };
    const seeing = { reader: ["namespaces", "configmaps", "pods"], blind: ["namespaces", "configmaps"] };
    for (const name of ["reader", "blind"] as const) {
      const as = await reader(name, seeing[name]);
      try {
        const { errors, pods, state: kept } = await run(name, spec, { as });
        assert.equal(errors.length, 2, errors.join("\n"));
        for (const [at, line] of told[name].entries()) assert.match(errors[at]!, line);
        assert.deepEqual([pods, kept], [[], await state()]);
      } finally {
        await as.close();
      }
    }
  });

  it("cost a backup without hooks one LIST of Pods, and none where no Pods take part", async () => {
    const lists = async () =>
      (await cluster.audit()).filter(({ user }) => user.username === "admin").map(({ requestURI }) => requestURI);
    const during = async (name: string, spec: BackupSpec) => {
      const before = (await lists()).length;
      const { document } = await run(name, spec);
      assert.equal(document.hooks, undefined);
      const made = (await lists()).slice(before);
      const count = (path: RegExp) => made.filter((uri) => path.test(uri)).length;
      return { pods: count(/\/pods\?/), namespaces: count(/^\/api\/v1\/namespaces\?/), single: count(/\/pods\/|exec/) };
    };
    const other = { includedNamespaces: ["default"] };
    assert.deepEqual(await during("plain", other), { pods: 2, namespaces: 1, single: 0 });
    assert.deepEqual(await during("podless", { ...other, excludedResources: ["pods"] }), {
      pods: 0,
      namespaces: 1,
      single: 0,
    });
  });

  it("do what they do with real Velero 1.18.3", { skip: requireOrSkip("rig", VELERO) }, async () => {
    const s3 = await startS3();
    try {
      const select = (pod: string) => ({ name: pod, labelSelector: { matchLabels: { pod } } });
      const failing = (onError: string) => [exec("exit 3", { onError }), exec(note("next"))];
      const hooks = {
        resources: [
          {
            ...select("ordered"),
            pre: [exec(note("o1")), exec(note("o2"), { container: "sidecar" })],
            post: [exec(note("o3"))],
          },
          { ...select("stops"), pre: failing("Fail") },
          { ...select("goes-on"), pre: failing("Continue") },
          { ...select("over"), pre: [exec(note("over"))] },
          { name: "services", includedResources: ["services"], pre: [exec(note("services"))] },
        ],
      };
      const spec = { ...only("db", "ordered", "stops", "goes-on", "over"), hooks };
      const bucket = memoryBucket();
      let made: Awaited<ReturnType<Velero["createBackup"]>>;
      const velero = await startVelero(cluster, s3, "shared");
      try {
        made = await velero.createBackup("theirs", { ...spec, snapshotVolumes: false });
      } finally {
        await velero.stop();
      }
      const key = backupKeys("theirs").tar;
      await bucket.put(key, await readFile(join(s3.dir, "data", s3.bucket, "shared", key)));
      const told = async (name: string, status: Record<string, unknown> | undefined) => ({
        phase: status?.phase,
        failed: (status?.hookStatus as { hooksFailed?: number } | undefined)?.hooksFailed,
        pods: (await stored(bucket, name)).pods,
        order: (await lines("order")).sort(),
      });
      const theirs = await told("theirs", made.status);
      await rm(join(cluster.dir, "order"));
      const { record } = await run("ours", spec, { bucket });
      assert.deepEqual(await told("ours", record.status), theirs);
      assert.deepEqual(theirs.order, ["next", "o1", "o2", "o3"]);
      // Velero reads everything before its first hook runs.
      const states = await Promise.all(["theirs", "ours"].map(async (name) => (await stored(bucket, name)).state));
      assert.equal(states[1], "frozen");
      assert.notEqual(states[0], "frozen");
    } finally {
      await s3.stop();
    }
  });
});

function podOf(name: string, annotations = {}, labels = {}): object {
  const container = (name: string) => ({ name, image: "busybox" });
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "shop", labels: { pod: name, ...labels }, annotations },
    spec: {
      containers: [container("main"), container("sidecar")],
      initContainers: [{ ...container("native"), restartPolicy: "Always" }, container("setup")],
    },
  };
}
