import assert from "node:assert/strict";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { gunzipSync } from "node:zlib";
import { backup } from "../../core/backup/backup.ts";
import { connect, type Kube } from "../../core/kube/client.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import { startRunLog } from "../../core/log.ts";
import { problemLine } from "../../core/report.ts";
import { runRestore } from "../../core/restore/run.ts";
import { type RestoreSpec, restoreSpecSchema } from "../../core/specs.ts";
import { memoryBucket } from "../memory-bucket.ts";
import type { KubeObject } from "../rig/api.ts";
import { type Cluster, startCluster, WITH_CONTROLLERS } from "../rig/cluster.ts";
import { until } from "../rig/process.ts";
import { requireOrSkip } from "../rig/require.ts";
import { startS3 } from "../rig/s3.ts";
import { startVelero, VELERO } from "../rig/velero.ts";
import { document } from "./lifeboat.ts";

const PODS = "/api/v1/namespaces/shop/pods";
const POST = "post.hook.restore.velero.io";
const INIT = "init.hook.restore.velero.io";
const sh = (script: string) => ["sh", "-c", script];
const annotated = (script: string, more: Record<string, string> = {}) => ({
  [`${POST}/command`]: JSON.stringify(sh(script)),
  ...Object.fromEntries(Object.entries(more).map(([key, value]) => [`${POST}/${key}`, value])),
});
const NOWHERE = { nodeSelector: { nowhere: "true" } };

/** The Pods of the backup; each says in its annotations, or by its label to the spec, what is to be run in it. */
const SHOP: { name: string; annotations?: Record<string, string>; spec?: object }[] = [
  { name: "plain" },
  { name: "ordered" },
  { name: "stops" },
  { name: "goes-on" },
  {
    name: "annotated",
    annotations: {
      ...annotated("echo annotated; echo oops >&2", { container: "sidecar" }),
      [`${INIT}/container-image`]: "busybox",
      [`${INIT}/command`]: "/prepare",
    },
  },
  { name: "slow", annotations: annotated("sleep 60", { "exec-timeout": "1s" }) },
  { name: "stuck", annotations: annotated("touch stuck", { "wait-timeout": "3s" }), spec: NOWHERE },
  { name: "gone", annotations: annotated("touch gone"), spec: NOWHERE },
];

/** Those whose hooks succeed: with Velero, a failed one calls off those of all other Pods. */
const BESIDE_VELERO = {
  matchExpressions: [{ key: "pod", operator: "In" as const, values: ["plain", "ordered", "annotated"] }],
};

const exec = (script: string, more: object = {}) => ({ exec: { command: sh(script), ...more } });
const HOOKS = [
  {
    name: "in-order",
    includedNamespaces: ["shop"],
    labelSelector: { matchLabels: { pod: "ordered" } },
    postHooks: [
      { init: { initContainers: [{ name: "prepare", image: "busybox", command: ["/prepare"] }] } },
      exec("sleep 0.3; echo 1 >> order"),
      exec("echo 2 >> order", { waitForReady: true }),
      exec("echo 3 >> order", { container: "sidecar" }),
      exec("echo 4 >> order", { container: "none" }),
    ],
  },
  {
    name: "stopping",
    labelSelector: { matchLabels: { pod: "stops" } },
    postHooks: [
      exec("exit 1", { onError: "Fail" }),
      exec("touch stops"),
      exec("touch stops", { container: "sidecar" }),
    ],
  },
  {
    name: "going-on",
    labelSelector: { matchLabels: { pod: "goes-on" } },
    postHooks: [exec("exit 1"), exec("touch goes-on")],
  },
];

describe("restore hooks", { skip: requireOrSkip("rig", WITH_CONTROLLERS) }, () => {
  let cluster: Cluster;
  let kube: Kube;
  const bucket = memoryBucket();

  before(async () => {
    cluster = await startCluster({ controllers: true, exec: true, nodes: 1, audit: true });
    kube = connect(readKubeconfig(cluster.kubeconfig));
    await fill(SHOP);
    const log = startRunLog({ backup: "b" });
    const { signal } = new AbortController();
    await backup({ kube, bucket, name: "b", spec: { includedNamespaces: ["shop"] }, log, signal });
  });
  after(async () => {
    await kube?.close();
    await cluster?.stop();
  });

  /** Restores, and gives what became of it with the lines of its log. */
  async function restore(name: string, spec: Partial<RestoreSpec> = {}, signal = new AbortController().signal) {
    const log = startRunLog({ restore: name });
    const hooks = restoreSpecSchema.parse({ backupName: "b", hooks: { resources: HOOKS } }).hooks;
    const { record, result } = await runRestore({
      kube,
      bucket,
      name,
      spec: { backupName: "b", hooks, ...spec },
      log,
      signal,
    });
    const { warnings, errors } = result.problems;
    return {
      phase: record.status?.phase,
      counts: result.counts,
      warnings: warnings.map(problemLine),
      errors: errors.map(problemLine),
      log: gunzipSync(log.gzipped()).toString(),
    };
  }
  async function fill(pods: typeof SHOP): Promise<void> {
    await cluster.api.request("POST", "/api/v1/namespaces", namespace());
    await until("the ServiceAccount", () =>
      cluster.api.request("GET", "/api/v1/namespaces/shop/serviceaccounts/default"),
    );
    for (const pod of pods) await cluster.api.request("POST", PODS, podOf(pod));
  }
  const emptied = async () => {
    await cluster.kubectl(["delete", "namespace", "shop", "--wait=true", "--timeout=60s"]);
  };
  const file = (name: string) => readFile(join(cluster.dir, name), "utf8").catch(() => undefined);
  const initContainers = async (name: string) => {
    const { spec } = await cluster.api.request<
      KubeObject & { spec: { initContainers?: { name: string; image: string }[] } }
    >("GET", `${PODS}/${name}`);
    return spec.initContainers?.map(({ name, image }) => `${name} ${image}`);
  };

  it("run in each created Pod once its containers are up; what fails is told", async () => {
    await emptied();
    const restoring = restore("first");
    await until("the Pod gone", () => cluster.api.request("GET", `${PODS}/gone`));
    await cluster.api.request("DELETE", `${PODS}/gone`);
    const { phase, warnings, errors, log } = await restoring;
    assert.equal(phase, "PartiallyFailed");
    assert.deepEqual(warnings, ['pods shop/ordered: it has no container "none": the hooks for it are not run']);
    const of = (pod: string) =>
      errors
        .filter((error) => error.startsWith(`pods shop/${pod}: `))
        .map((error) => error.split(": ").slice(1).join(": "));
    assert.deepEqual(of("gone"), ["hook <from-annotation> in container main: not run: the Pod was deleted"]);
    assert.deepEqual(of("stuck"), [
      "hook <from-annotation> in container main: not run: the container was not up within 3 s",
    ]);
    assert.deepEqual(of("slow"), [
      "hook <from-annotation> in container main: the command in container main of pod shop/slow did not end within 1 s",
    ]);
    const stopped = "not run: hook stopping failed, whose on-error is Fail";
    assert.match(of("stops")[0]!, /^hook stopping in container main: .*exit status 1/);
    assert.deepEqual(of("stops").slice(1), [
      `hook stopping in container main: ${stopped}`,
      `hook stopping in container sidecar: ${stopped}`,
    ]);
    assert.equal(of("goes-on").length, 1);
    assert.equal(errors.length, 7);
    assert.equal(await file("order"), "1\n2\n3\n");
    for (const [name, ran] of Object.entries({ "goes-on": true, stops: false, stuck: false, gone: false }))
      assert.equal((await file(name)) !== undefined, ran, name);
    assert.match(log, /msg="A hook ended".* container=sidecar .*exitCode=0 stdout="annotated\\n" stderr="oops\\n"/);
    assert.match(log, /level=error msg="hook going-on in container main: /);
  });

  it("put their init containers before the Pod's own", async () => {
    assert.deepEqual(await initContainers("plain"), ["own busybox"]);
    assert.deepEqual(await initContainers("ordered"), ["prepare busybox", "own busybox"]);
    const [added, own] = (await initContainers("annotated")) ?? [];
    assert.match(added!, /^velero-restore-init-[0-9a-f]{8} busybox$/);
    assert.equal(own, "own busybox");
  });

  it("change nothing when it is restored again: all is equal, and none is run", async () => {
    const labelSelector = { matchExpressions: [{ key: "pod", operator: "NotIn" as const, values: ["gone"] }] };
    for (const existingResourcePolicy of ["update", "recreate"] as const) {
      const { phase, counts, log } = await restore(`again-${existingResourcePolicy}`, {
        existingResourcePolicy,
        labelSelector,
      });
      assert.deepEqual(
        { ...counts, skipped: 0 },
        { created: 0, updated: 0, recreated: 0, pruned: 0, skipped: 0, blocked: 0, failed: 0 },
      );
      assert.equal(phase, "Completed");
      assert.ok(counts.skipped >= SHOP.length - 1);
      assert.doesNotMatch(log, /Running a hook/);
    }
    assert.equal(await file("order"), "1\n2\n3\n");
  });

  it("are run by the run that ends a restore which was interrupted", async () => {
    await emptied();
    const hooks: RestoreSpec["hooks"] = {
      resources: [
        {
          name: "long",
          labelSelector: { matchLabels: { pod: "plain" } },
          postHooks: [{ exec: { command: sh("echo ran >> long; test -e go || sleep 60"), execTimeout: "2m" } }],
        },
      ],
    };
    const labelSelector = { matchLabels: { pod: "plain" } };
    const controller = new AbortController();
    const dying = restore("resumed", { hooks, labelSelector }, controller.signal);
    await until("the hook to run", async () => (await file("long")) !== undefined);
    controller.abort(new Error("killed"));
    await assert.rejects(dying, /killed/);
    await writeFile(join(cluster.dir, "go"), "");
    const { phase, counts } = await restore("resumed", { hooks, labelSelector });
    assert.deepEqual([phase, counts.created], ["Completed", 0]);
    assert.equal(await file("long"), "ran\nran\n");
    await restore("another", { hooks, labelSelector });
    assert.equal(await file("long"), "ran\nran\n", "another restore did not create the Pod");
  });

  it("cost one request for all Pods that wait, each second", async () => {
    const lists = (await cluster.audit()).filter(({ requestURI }) =>
      requestURI.includes("labelSelector=velero.io%2Frestore-name%3Dfirst"),
    );
    assert.ok(lists.length > 2 && lists.length < 12, `${lists.length} lists`);
  });

  it("do what they do with real Velero 1.18.3", { skip: requireOrSkip("rig", VELERO) }, async () => {
    const s3 = await startS3();
    try {
      const at = ["--location", s3.location("shared"), "--kubeconfig", cluster.kubeconfigPath];
      await emptied();
      await fill(SHOP.filter(({ name }) => BESIDE_VELERO.matchExpressions[0]!.values.includes(name)));
      await document(["backup", "create", "shared", "--include-namespaces", "shop", ...at], s3.env);
      // For a container that isn't there Velero's finalizer waits until its time is up.
      const { postHooks, ...inOrder } = HOOKS[0]!;
      const hooks = { resources: [{ ...inOrder, postHooks: postHooks.slice(0, -1) }] };
      const seen = async () => {
        const order = (await file("order"))?.split("\n") ?? [];
        const containers = await Promise.all(["plain", "ordered", "annotated"].map(initContainers));
        return {
          containers: containers.map((names) => names?.map((name) => name.replace(/[0-9a-f]{8} /, "# "))),
          main: order.filter((line) => line === "1" || line === "2"),
          sidecar: order.includes("3"),
        };
      };
      await emptied();
      await rm(join(cluster.dir, "order"));
      const velero = await startVelero(cluster, s3, "shared");
      try {
        await velero.waitForSyncedBackup("shared");
        const theirs = await velero.createRestore("theirs", {
          backupName: "shared",
          hooks,
          labelSelector: BESIDE_VELERO,
        });
        assert.equal(theirs.status?.phase, "Completed", velero.log());
      } finally {
        await velero.stop();
      }
      const theirs = await seen();
      await emptied();
      await rm(join(cluster.dir, "order"));
      const ours = await restore("ours", { hooks, labelSelector: BESIDE_VELERO });
      assert.equal(ours.phase, "Completed");
      assert.deepEqual(await seen(), theirs);
      assert.deepEqual(theirs.main, ["1", "2"]);
    } finally {
      await s3.stop();
    }
  });
});

function namespace(): object {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } };
}

function podOf({ name, annotations = {}, spec = {} }: (typeof SHOP)[number]): object {
  const container = (name: string) => ({ name, image: "busybox" });
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "shop", labels: { pod: name }, annotations },
    spec: { containers: [container("main"), container("sidecar")], initContainers: [container("own")], ...spec },
  };
}
