import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { startRunLog } from "../../core/log.ts";
import type { Bucket } from "../../core/ports.ts";
import { activateRestore } from "../../core/restore/clone/activate.ts";
import { runDryRun } from "../../core/restore/plan/dryrun.ts";
import type { RestoreSpec } from "../../core/restore/restore.ts";
import { runRestore } from "../../core/restore/run.ts";
import { archiveOf, backedUp, ownedBy, owner, restored, said, sample, uid } from "./restore-sample.ts";
import { restoreTarget } from "./restore-target.ts";

const { change, create, intercept, kube, live } = restoreTarget();

const template = { spec: { containers: [{ name: "a", image: "nginx" }] } };
const workloads = [
  sample("v1", "Namespace", "shop"),
  sample("apps/v1", "Deployment", "shop/web", { spec: { replicas: 3, template }, ...owner(1) }),
  sample("apps/v1", "ReplicaSet", "shop/web-1", {
    spec: { replicas: 3, template },
    ...ownedBy("Deployment", "web", 1, { uid: uid(2) }),
  }),
  sample("v1", "Pod", "shop/web-1-a", { ...template, ...ownedBy("ReplicaSet", "web-1", 2) }),
  sample("apps/v1", "StatefulSet", "shop/db", {
    spec: { replicas: 2, template, persistentVolumeClaimRetentionPolicy: { whenScaled: "Delete" } },
    ...owner(3),
  }),
  sample("v1", "Pod", "shop/db-0", { ...template, ...ownedBy("StatefulSet", "db", 3) }),
  sample("apps/v1", "DaemonSet", "shop/agent", { spec: { template }, ...owner(4) }),
  sample("v1", "Pod", "shop/agent-a", { ...template, ...ownedBy("DaemonSet", "agent", 4) }),
  sample("batch/v1", "CronJob", "shop/report", { spec: { schedule: "1 1 1 1 *", suspend: false } }),
  sample("batch/v1", "Job", "shop/now", { spec: { suspend: false, template } }),
  sample("v1", "Pod", "shop/tool", template),
];

const signal = new AbortController().signal;
const run = (bucket: Bucket, name: string, spec: Partial<RestoreSpec> = {}) => {
  const log = startRunLog({ restore: name });
  return { kube, bucket, name, spec: { backupName: "b", ...spec }, log, signal };
};
const activate = (bucket: Bucket, by = signal) => activateRestore({ kube, bucket, name: "r", signal: by });

describe("scaleTo", () => {
  it("brings workloads up standing still; restored again, everything is equal", async () => {
    const bucket = await backedUp(workloads);
    const { result } = await runRestore(run(bucket, "r", { scaleTo: 0 }));
    assert.deepEqual(
      [result.phase, result.counts.created, result.counts.skipped, result.problems.warnings],
      ["Completed", workloads.length - 3, 3, []],
    );
    const web = await live("/apis/apps/v1/namespaces/shop/deployments/web");
    assert.deepEqual(
      [(web.spec as { replicas: number }).replicas, web.metadata.annotations],
      [0, { "lifeboat/replicas": "3" }],
    );
    for (const existingResourcePolicy of ["none", "update"] as const) {
      kube.writes.length = 0;
      const plan = await runDryRun(
        run(bucket, `plan-${existingResourcePolicy}`, { scaleTo: 0, existingResourcePolicy }),
      );
      assert.deepEqual([plan.counts.skip, plan.warnings, kube.writes], [workloads.length, [], []]);
    }
  });

  it("of zero is carried out on what an autoscaler scales too", async () => {
    const web = (replicas: number) => sample("apps/v1", "Deployment", "shop/web", { spec: { replicas, template } });
    const scaler = sample("autoscaling/v2", "HorizontalPodAutoscaler", "shop/web", {
      spec: { scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "web" }, maxReplicas: 9 },
    });
    const archive = await archiveOf([sample("v1", "Namespace", "shop"), web(3), scaler]);
    await restored(kube, archive);
    const policy = { existingResourcePolicy: "update" } as const;
    const { result } = await restored(kube, archive, { ...policy, scaleTo: 0 });
    assert.equal(result.counts.updated, 1);
    const { spec } = await live("/apis/apps/v1/namespaces/shop/deployments/web");
    assert.equal((spec as { replicas: number }).replicas, 0);
  });

  it("of one scales to one, and leaves what can't be scaled", async () => {
    const { lines } = await restored(kube, await archiveOf(workloads), { scaleTo: 1 });
    assert.deepEqual(
      lines.filter((line) => line.startsWith("skipped")).map((line) => line.split(":")[0]),
      ["skipped pods shop/db-0", "skipped pods shop/web-1-a"],
    );
    const spec = async (path: string) => (await live(`/apis/${path}`)).spec as Record<string, unknown>;
    assert.equal((await spec("apps/v1/namespaces/shop/deployments/web")).replicas, 1);
    assert.deepEqual(await spec("apps/v1/namespaces/shop/daemonsets/agent"), { template });
    assert.equal((await spec("batch/v1/namespaces/shop/cronjobs/report")).suspend, true);
  });
});

describe("activating a restore", () => {
  it("makes everything what the backup says, once", async () => {
    const bucket = await backedUp(workloads);
    await runRestore(run(bucket, "r", { scaleTo: 0 }));
    const done = await activate(bucket);
    assert.deepEqual(
      done.activated
        .map(({ resource, namespace, name, change }) => `${resource} ${namespace}/${name} ${change}`)
        .sort(),
      [
        "cronjobs.batch shop/report no longer suspended",
        "daemonsets.apps shop/agent given back its nodes",
        "deployments.apps shop/web scaled to 3",
        "jobs.batch shop/now no longer suspended",
        "pods shop/tool may be scheduled",
        // No controller runs here that would make it the Deployment's.
        "replicasets.apps shop/web-1 scaled to 3",
        "statefulsets.apps shop/db deletes claims again when it is scaled down",
        "statefulsets.apps shop/db scaled to 2",
      ],
    );
    assert.deepEqual(
      [done.restore, done.backup, done.counts, done.errors],
      ["r", "b", { activated: 8, failed: 0 }, []],
    );
    const plan = await runDryRun(run(bucket, "after", { existingResourcePolicy: "update" }));
    assert.deepEqual({ ...plan.counts, skip: 0 }, { create: 0, update: 0, recreate: 0, prune: 0, skip: 0, blocked: 0 });
    kube.writes.length = 0;
    assert.deepEqual([(await activate(bucket)).counts, kube.writes], [{ activated: 0, failed: 0 }, []]);
  });

  it("leaves a ReplicaSet to its Deployment, which copies its annotations to it", async () => {
    const bucket = await backedUp(workloads);
    await runRestore(run(bucket, "r", { scaleTo: 0 }));
    const { metadata } = await live("/apis/apps/v1/namespaces/shop/deployments/web");
    const path = "/apis/apps/v1/namespaces/shop/replicasets/web-1";
    const adopted = {
      metadata: {
        ownerReferences: [
          { apiVersion: "apps/v1", kind: "Deployment", name: "web", uid: metadata.uid, controller: true },
        ],
      },
    };
    await change("PATCH", path, adopted);
    const { activated } = await activate(bucket);
    assert.ok(!activated.some(({ resource }) => resource === "replicasets.apps"));
    const replicaSet = await live(path);
    assert.deepEqual(
      [(replicaSet.spec as { replicas: number }).replicas, replicaSet.metadata.annotations ?? {}],
      [0, {}],
    );
  });

  it("goes on where it was stopped", async () => {
    const bucket = await backedUp(workloads);
    await runRestore(run(bucket, "r", { scaleTo: 0 }));
    for (let stops = 0; ; stops++) {
      const stop = new AbortController();
      let patches = 0;
      intercept((request) => {
        if (request.method === "PATCH" && ++patches > 1) stop.abort(new Error("stopped"));
        return undefined;
      });
      const ended = await activate(bucket, stop.signal).catch((error: Error) => error);
      if (ended instanceof Error) assert.equal(ended.message, "stopped");
      else break;
      assert.ok(stops < 10, "it never gets anywhere");
    }
    const plan = await runDryRun(run(bucket, "after", { existingResourcePolicy: "update" }));
    assert.deepEqual([plan.counts.create, plan.counts.update], [0, 0]);
  });

  it("tells of what could not be set going, and sets the rest going", async () => {
    const bucket = await backedUp(workloads);
    await runRestore(run(bucket, "r", { scaleTo: 0 }));
    const refusal = { kind: "Status", status: "Failure", message: "not today", reason: "Forbidden", code: 403 };
    intercept((request, next) =>
      request.method === "PATCH" && request.path.endsWith("/db")
        ? next().then((response) => ({ ...response, status: 403, body: Buffer.from(JSON.stringify(refusal)) }))
        : undefined,
    );
    const { counts, errors } = await activate(bucket);
    assert.deepEqual(counts, { activated: 6, failed: 2 });
    assert.match(said(errors), /^statefulsets\.apps shop\/db: .*not today/);
  });

  it("is refused for a restore that stands nowhere still", async () => {
    const bucket = await backedUp(workloads);
    await runRestore(run(bucket, "r"));
    await assert.rejects(activate(bucket), { kind: "invalid", message: /there is nothing to activate/ });
    await assert.rejects(activateRestore({ kube, bucket, name: "gone", signal }), { kind: "missing" });
  });
});

describe("a clone's report", () => {
  const named = [
    sample("v1", "Namespace", "shop"),
    sample("networking.k8s.io/v1", "Ingress", "shop/web", {
      metadata: { annotations: { alias: "www.a.example" } } as never,
      spec: { rules: [{ host: "shop.a.example" }] },
    }),
    sample("v1", "ConfigMap", "shop/settings", { data: { url: "https://shop.a.example" } }),
    sample("v1", "Secret", "shop/login", {
      data: { url: Buffer.from("https://u:hunter2@a.example").toString("base64") },
    }),
    sample("v1", "ConfigMap", "shop/kube-root-ca.crt", { data: { "ca.crt": "a.example" } }),
  ];
  const warnings = [
    "configmaps shop/settings: a.example still stands in data.url",
    "ingresses.networking.k8s.io shop/web: a.example still stands in metadata.annotations.alias",
    "secrets shop/login: a.example still stands in data.url",
  ];
  const spec = { domainMapping: { "a.example": "b.example" } };

  it("and its plan tell where the old name is left, and so does the same restore again", async () => {
    const bucket = await backedUp(named);
    const plan = await runDryRun(run(bucket, "plan", spec));
    assert.deepEqual(said(plan.warnings).split("\n").sort(), warnings);
    for (const name of ["first", "again"]) {
      const { result } = await runRestore(run(bucket, name, spec));
      assert.deepEqual([result.phase, said(result.problems.warnings).split("\n").sort()], ["Completed", warnings]);
    }
    const { spec: ingress } = await live("/apis/networking.k8s.io/v1/namespaces/shop/ingresses/web");
    assert.deepEqual(ingress, { rules: [{ host: "shop.b.example" }] });
  });

  it("doesn't tell of what is left as it is", async () => {
    const bucket = await backedUp(named);
    await create("/api/v1/namespaces", sample("v1", "Namespace", "shop"));
    await create(
      "/api/v1/namespaces/shop/configmaps",
      sample("v1", "ConfigMap", "shop/settings", { data: { other: "x" } }),
    );
    const { result } = await runRestore(run(bucket, "r", spec));
    assert.match(said(result.problems.warnings), /^configmaps shop\/settings: exists and differs/m);
    assert.doesNotMatch(said(result.problems.warnings), /settings: a\.example/);
  });
});

describe("storage classes", () => {
  const claims = [
    sample("v1", "Namespace", "shop"),
    sample("v1", "PersistentVolumeClaim", "shop/data", { spec: { storageClassName: "gp2" } }),
  ];
  const storageClass = (name: string) => sample("storage.k8s.io/v1", "StorageClass", name, { provisioner: "p" });
  const classOf = async () =>
    ((await live("/api/v1/namespaces/shop/persistentvolumeclaims/data")).spec as Record<string, unknown>)
      .storageClassName;
  const velero = async (action: string, data: object, name = action) => {
    await create("/api/v1/namespaces", sample("v1", "Namespace", "velero")).catch(() => undefined);
    const labels = { "velero.io/plugin-config": "", [`velero.io/${action}`]: "RestoreItemAction" };
    const path = "/api/v1/namespaces/velero/configmaps";
    await create(path, sample("v1", "ConfigMap", `velero/${name}`, { data, metadata: { labels } as never }));
  };

  it("are mapped to one that the target has", async () => {
    await create("/apis/storage.k8s.io/v1/storageclasses", storageClass("premium"));
    await restored(kube, await archiveOf(claims), { storageClassMapping: { gp2: "premium" } });
    assert.equal(await classOf(), "premium");
  });

  it("are mapped to one that is restored", async () => {
    await restored(kube, await archiveOf([...claims, storageClass("gp3")]), { storageClassMapping: { gp2: "gp3" } });
    assert.equal(await classOf(), "gp3");
  });

  it("are not mapped to one that is nowhere: nothing is written", async () => {
    await create("/apis/storage.k8s.io/v1/storageclasses", storageClass("slow"));
    await assert.rejects(restored(kube, await archiveOf(claims), { storageClassMapping: { gp2: "premium" } }), {
      kind: "invalid",
      message: 'storageClassMapping maps "gp2" to "premium", but there is no storage class "premium"',
      hint: "there are slow",
    });
    assert.deepEqual(kube.writes, []);
  });

  it("are mapped by Velero's own ConfigMap, unless the spec says otherwise", async () => {
    for (const name of ["premium", "other"]) await create("/apis/storage.k8s.io/v1/storageclasses", storageClass(name));
    await velero("change-storage-class", { gp2: "premium" });
    await restored(kube, await archiveOf(claims));
    assert.equal(await classOf(), "premium");
    const { result } = await restored(kube, await archiveOf(claims), { storageClassMapping: { gp2: "other" } });
    assert.match(said(result.problems.warnings), /exists and differs/);
  });

  it("of Velero's ConfigMap must exist too, and there is one ConfigMap only", async () => {
    await velero("change-storage-class", { gp2: "premium" }, "one");
    await assert.rejects(restored(kube, await archiveOf(claims)), {
      kind: "invalid",
      message: /^ConfigMap velero\/one maps "gp2" to "premium"/,
    });
    await velero("change-storage-class", {}, "two");
    await assert.rejects(restored(kube, await archiveOf(claims)), {
      kind: "invalid",
      message: /two ConfigMaps .*: one and two/,
    });
  });

  it("and images: Velero's rules are honoured; where they can't be read there are none", async () => {
    await velero("change-image-name", { a: "nginx,mirror.example/nginx" });
    const pod = sample("v1", "Pod", "shop/p", template);
    intercept((request, next) =>
      request.path === "/api/v1/namespaces/velero/configmaps"
        ? next().then((response) => ({
            ...response,
            status: 403,
            body: Buffer.from('{"kind":"Status","message":"no"}'),
          }))
        : undefined,
    );
    const image = async (name: string) => {
      const { spec } = await live(`/api/v1/namespaces/shop/pods/${name}`);
      return (spec as typeof template.spec).containers[0]!.image;
    };
    await restored(kube, await archiveOf([sample("v1", "Namespace", "shop"), pod]));
    assert.equal(await image("p"), "nginx");
    intercept(() => undefined);
    await restored(
      kube,
      await archiveOf([sample("v1", "Namespace", "shop"), { ...pod, metadata: { ...pod.metadata, name: "q" } }]),
    );
    assert.equal(await image("q"), "mirror.example/nginx");
  });
});

describe("activating in a cluster", () => {
  const other = restoreTarget();

  it("that isn't the one of the restore is refused, and changes nothing", async () => {
    const bucket = await backedUp(workloads);
    await runRestore(run(bucket, "r", { scaleTo: 0 }));
    const wrong = activateRestore({ kube: other.kube, bucket, name: "r", signal });
    await assert.rejects(wrong, { kind: "invalid", message: 'restore "r" was into another cluster than this one' });
    assert.deepEqual(other.kube.writes, []);
    assert.ok((await activate(bucket)).counts.activated > 0);
  });
});
