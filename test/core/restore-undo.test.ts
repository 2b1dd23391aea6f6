import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { startApiServer } from "../../core/apiserver/server.ts";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { openArchive } from "../../core/archive/reader.ts";
import { backup } from "../../core/backup/backup.ts";
import { listBackups, readBackup, readRestore } from "../../core/catalog.ts";
import { deleteBackup } from "../../core/delete.ts";
import { sealOf, sealRecord } from "../../core/integrity/seal.ts";
import { METADATA_ONLY } from "../../core/kube/list.ts";
import { backupKeys } from "../../core/layout.ts";
import { startRunLog } from "../../core/log.ts";
import type { Bucket } from "../../core/ports.ts";
import { runDryRun } from "../../core/restore/plan/dryrun.ts";
import { readPlan } from "../../core/restore/plan/plandocument.ts";
import { type RestoreRun, runRestore } from "../../core/restore/run.ts";
import { readNotes } from "../../core/restore/undo/notes.ts";
import { changedBy, uncollected } from "../../core/restore/undo/remains.ts";
import { findUndo, runUndo } from "../../core/restore/undo/undo.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { said, watchedKube } from "./restore-sample.ts";
import { restoreTarget } from "./restore-target.ts";

const { kube } = restoreTarget();
let bucket: Bucket;
const signal = new AbortController().signal;

beforeEach(async () => {
  bucket = memoryBucket();
  await ask("POST", "/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } });
  for (const name of ["same", "changed", "gone"]) await put(name, { value: name });
  await backup({ kube, bucket, name: "b", spec: {}, log: startRunLog({}), signal });
});

const MAPS = "/api/v1/namespaces/shop/configmaps";

async function ask(method: "GET" | "POST" | "PATCH" | "DELETE", path: string, body?: object) {
  const contentType = method === "PATCH" ? "application/merge-patch+json" : undefined;
  const response = await kube.request({ method, path, contentType, body: body && JSON.stringify(body) });
  assert.ok(response.status < 400, `${method} ${path}: ${response.status} ${response.body}`);
  return JSON.parse(response.body.toString());
}

const put = (name: string, data: object, more: object = {}) =>
  ask("POST", MAPS, { apiVersion: "v1", kind: "ConfigMap", metadata: { name, ...more }, data });

/** What there is in the namespace and what it says, without what the server manages. */
async function state(): Promise<Record<string, object>> {
  const { items } = await ask("GET", MAPS);
  return Object.fromEntries(
    (items as KubernetesObject[]).map(({ metadata: { name, labels, annotations, finalizers }, data }) => [
      name,
      { data, labels: Object.keys(labels ?? {}).length ? labels : undefined, annotations, finalizers },
    ]),
  );
}

/** Changes the cluster after the backup, in each way that a restore with update and prune puts right. */
async function change(): Promise<void> {
  await ask("PATCH", `${MAPS}/changed`, {
    data: { value: "new" },
    metadata: { labels: { "velero.io/restore-name": "x" } },
  });
  await ask("DELETE", `${MAPS}/gone`);
  await put("extra", { value: "extra" }, { labels: { app: "extra" } });
}

const run = (name: string, more: Partial<RestoreRun> = {}) =>
  runRestore({
    kube,
    bucket,
    name,
    spec: { backupName: "b", existingResourcePolicy: "update", prune: true },
    log: startRunLog({}),
    signal,
    ...more,
  });
const undo = async (name: string, more: Partial<RestoreRun> = {}) =>
  runUndo({ kube, bucket, log: startRunLog({}), signal, ...more }, await findUndo(bucket, name, signal));

async function held(name: string): Promise<string[]> {
  const archive = await openArchive(bucket, backupKeys(name));
  const found: string[] = [];
  for await (const { resource, namespace, name: object } of archive.entries())
    found.push(`${resource} ${namespace}/${object}`);
  await archive.close();
  return found;
}

/** Ends the run when it has sent so many writes, as a kill does. */
function dyingAfter(writes: number): RestoreRun["kube"] {
  let sent = 0;
  return {
    ...kube,
    request: (request) => {
      const isWrite = (request.method ?? "GET") !== "GET";
      if (isWrite && sent++ >= writes) throw new Error("killed");
      return kube.request(request);
    },
  };
}

/** Finds every patch invalid, as of a field that can't be changed; counts the lists of metadata by what is listed. */
function unpatchable(lists: Record<string, number> = {}): RestoreRun["kube"] {
  return {
    ...kube,
    async request(request) {
      const listed = request.path.split("/").at(-1)!;
      if (request.accept === METADATA_ONLY) lists[listed] = (lists[listed] ?? 0) + 1;
      if (request.method !== "PATCH") return kube.request(request);
      return { ...(await kube.request({ path: "/nowhere" })), status: 422 };
    },
  };
}

describe("prune", () => {
  it("makes the namespace what the backup says, and then has nothing to do", async () => {
    const before = await state();
    await change();
    const { result } = await run("r");
    assert.deepEqual(said([...result.problems.errors, ...result.problems.warnings]), "");
    assert.deepEqual([result.counts.created, result.counts.updated, result.counts.pruned], [1, 1, 1]);
    assert.deepEqual(Object.keys(await state()).sort(), Object.keys(before).sort());
    const again = (await run("again")).result.counts;
    assert.deepEqual([again.created, again.updated, again.recreated, again.pruned], [0, 0, 0, 0]);
  });

  it("leaves what the filters of the restore, or of the backup, leave out", async () => {
    await put("other", {}, { labels: { app: "other" } });
    await change();
    const spec = { backupName: "b", prune: true, labelSelector: { matchLabels: { app: "extra" } } };
    assert.equal((await run("r", { spec })).result.counts.pruned, 1);
    assert.ok("other" in (await state()));
    await backup({
      kube,
      bucket,
      name: "secrets",
      spec: { includedResources: ["secrets"] },
      log: startRunLog({}),
      signal,
    });
    assert.equal((await run("s", { spec: { backupName: "secrets", prune: true } })).result.counts.pruned, 0);
  });

  it("deletes in the namespace that it restores into, and neither beside it nor outside of namespaces", async () => {
    await ask("POST", "/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: "copy" } });
    await change();
    const copies = "/api/v1/namespaces/copy/configmaps";
    await ask("POST", copies, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "extra" } });
    const roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    await ask("POST", roles, {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRole",
      metadata: { name: "extra" },
    });
    kube.writes.length = 0;
    const spec = { backupName: "b", prune: true, namespaceMapping: { shop: "copy" } };
    assert.equal((await run("r", { spec })).result.counts.pruned, 1);
    assert.deepEqual(
      kube.writes.filter((write) => write.startsWith("DELETE")),
      ["DELETE v1/namespaces/copy/configmaps/extra"],
    );
  });

  it("leaves what was changed since it was listed, and takes what only got a new status", async () => {
    await put("extra", { value: "extra" });
    await put("touched", { value: "extra" });
    const meddling: RestoreRun["kube"] = {
      ...kube,
      async request(request) {
        if (request.method === "DELETE" && request.path === `${MAPS}/extra`)
          await ask("PATCH", request.path, { data: { value: "new" } });
        if (request.method === "DELETE" && request.path === `${MAPS}/touched`)
          await ask("PATCH", request.path, { metadata: { finalizers: [] } });
        return kube.request(request);
      },
    };
    const { result } = await run("r", { kube: meddling });
    assert.match(said(result.problems.errors), /shop\/extra: it was changed since it was listed/);
    const left = await state();
    assert.ok("extra" in left && !("touched" in left));
  });

  it("is left out where an object of the backup can't be restored", async () => {
    await change();
    const refusing: RestoreRun["kube"] = {
      ...kube,
      async request(request) {
        const refused = request.method === "POST" && request.path === MAPS;
        const response = await kube.request(refused ? { path: "/nowhere" } : request);
        return refused ? { ...response, status: 403 } : response;
      },
    };
    const { result } = await run("r", { kube: refusing });
    assert.equal(result.counts.pruned, 0);
    assert.match(said(result.problems.errors), /shop\/extra: not pruned, since other objects could not be restored/);
    assert.ok("extra" in (await state()));
  });

  for (const [refuses, told] of [
    [true, ["blocked", /^not pruned, since other objects could not be restored/]],
    [false, ["prune", /^the backup doesn't hold it; only if nothing fails$/]],
  ] as const)
    it(`is planned ${refuses ? "no more where the server would refuse an object of the backup" : "with its reserve"}`, async () => {
      await change();
      const refusing: RestoreRun["kube"] = {
        ...kube,
        async request(request) {
          const response = await kube.request(request);
          return refuses && request.method === "POST" ? { ...response, status: 422 } : response;
        },
      };
      const spec = { backupName: "b", existingResourcePolicy: "update", prune: true } as const;
      const plan = await runDryRun({ kube: refusing, bucket, name: "p", spec, log: startRunLog({}), signal });
      const { action, reason = "" } = plan.steps.find(({ name }) => name === "extra")!;
      assert.equal(action, told[0]);
      assert.match(reason, told[1]);
      const { counts } = (await run("r", { spec, plan: await readPlan(bucket, "p") })).result;
      assert.deepEqual([counts.pruned, counts.blocked], refuses ? [0, 2] : [1, 0]);
    });

  const refused: [what: string, spec: Partial<RestoreRun["spec"]>, message: RegExp][] = [
    ["single objects", { includedItems: ["shop/configmaps/same"] }, /single objects/],
    ["an include that fits nothing", { includedNamespaces: ["shop", "shpo"] }, /"shpo"/],
    ["an exclude that fits nothing", { excludedNamespaces: ["shpo"] }, /"shpo"/],
    [
      "a backup of what was there before a restore",
      { backupName: "r-before" },
      /only what a restore was about to touch/,
    ],
    ["a PartiallyFailed backup", { backupName: "partial" }, /is PartiallyFailed/],
    ["a backup with policies that it doesn't hold", { backupName: "foreign" }, /made with resourcePolicy/],
  ];
  for (const [what, more, message] of refused) {
    it(`is refused for ${what}, and nothing is written`, async () => {
      await change();
      await run("r", { spec: { backupName: "b", existingResourcePolicy: "update" } });
      const record = await readBackup(bucket, "b");
      for (const [name, change] of Object.entries({
        partial: { status: { ...record.status, phase: "PartiallyFailed" } },
        foreign: { spec: { ...record.spec, resourcePolicy: { kind: "configmap", name: "a" } } },
      })) {
        const { body } = await sealRecord({ ...record, ...change, metadata: { name } }, sealOf(record)!);
        await bucket.put(backupKeys(name).metadata, body);
        for (const key of ["tar", "index"] as const) {
          const chunks: Buffer[] = [];
          for await (const chunk of await bucket.get(backupKeys("b")[key])) chunks.push(chunk);
          await bucket.put(backupKeys(name)[key], Buffer.concat(chunks));
        }
      }
      kube.writes.length = 0;
      await assert.rejects(run("p", { spec: { backupName: "b", prune: true, ...more } }), { kind: "invalid", message });
      assert.deepEqual(kube.writes, []);
    });
  }
});

describe("undo", () => {
  it("brings back the images that were there, whatever Velero's ConfigMaps, or the restore, make of images", async () => {
    const deployments = "/apis/apps/v1/namespaces/shop/deployments";
    const spec = (image: string) => ({
      replicas: 3,
      selector: { matchLabels: { app: "web" } },
      template: { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "web", image }] } },
    });
    await ask("POST", deployments, {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "web" },
      spec: spec("nginx:1"),
    });
    await backup({ kube, bucket, name: "web", spec: {}, log: startRunLog({}), signal });
    await ask("PATCH", `${deployments}/web`, { spec: spec("nginx:2") });
    const labels = { "velero.io/plugin-config": "", "velero.io/change-image-name": "RestoreItemAction" };
    await ask("POST", "/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: "velero" } });
    await ask("POST", "/api/v1/namespaces/velero/configmaps", {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "images", labels },
      data: { a: "nginx,mirror.example/nginx" },
    });
    await run("r", { spec: { backupName: "web", existingResourcePolicy: "update", scaleTo: 0 } });
    assert.deepEqual((await ask("GET", `${deployments}/web`)).spec, { ...spec("mirror.example/nginx:1"), replicas: 0 });
    await undo("r");
    assert.deepEqual((await ask("GET", `${deployments}/web`)).spec, spec("nginx:2"));
  });

  it("brings back what was there before, labels and all, and is recorded", async () => {
    await change();
    const before = await state();
    await run("r");
    assert.deepEqual(await held("r-before"), ["configmaps shop/changed", "configmaps shop/extra"]);
    const { labels } = (await readBackup(bucket, "r-before")).metadata;
    assert.equal(labels?.["lifeboat/before-restore"], "r");
    assert.notDeepEqual(await state(), before);
    const { result } = await undo("r");
    assert.deepEqual(said([...result.problems.errors, ...result.problems.warnings]), "");
    assert.deepEqual(await state(), before);
    const record = await readRestore(bucket, "r-undo");
    assert.equal(record.metadata.annotations?.["lifeboat/undoes"], "r");
    assert.equal(record.spec.backupName, "r-before");
    await assert.rejects(undo("r"), { kind: "conflict", message: /undone already, by "r-undo"/ });
    await assert.rejects(undo("r-undo"), { kind: "invalid" });
  });

  it("of a restore that only created deletes that, and such a restore made no backup", async () => {
    await ask("DELETE", `${MAPS}/gone`);
    const before = await state();
    await run("r");
    assert.deepEqual(
      (await listBackups(bucket)).map(({ name }) => name),
      ["b"],
    );
    const { result } = await undo("r");
    assert.equal(result.counts.pruned, 1);
    assert.equal(said(result.problems.warnings), "");
    assert.ok(!("backupName" in (await readRestore(bucket, "r-undo")).spec));
    assert.deepEqual(await state(), before);
  });

  it("leaves what others put in the place of what the restore created, and tells what they changed", async () => {
    await change();
    await run("r");
    await ask("DELETE", `${MAPS}/gone`);
    await put("gone", { value: "theirs" });
    await put("copy", {}, { labels: { "velero.io/restore-name": "r" } });
    await undo("r");
    const after = await state();
    assert.deepEqual(after.gone, {
      data: { value: "theirs" },
      labels: undefined,
      annotations: undefined,
      finalizers: undefined,
    });
    assert.ok("copy" in after);
  });

  it("leaves what the restore left, since others changed it meanwhile", async () => {
    await change();
    const meddling: RestoreRun["kube"] = {
      ...kube,
      async request(request) {
        if (request.method === "PATCH") await ask("PATCH", request.path, { data: { value: "theirs" } });
        return kube.request(request);
      },
    };
    assert.equal((await run("r", { kube: meddling })).result.phase, "PartiallyFailed");
    const { result } = await undo("r");
    assert.match(said(result.problems.warnings), /shop\/changed: it is not as restore r left it/);
    assert.deepEqual((await ask("GET", `${MAPS}/changed`)).data, { value: "theirs" });
  });

  it("leaves what a later restore has changed since, and names it; once that is undone, too, all is as it was", async () => {
    await change();
    const before = await state();
    await run("r");
    for (const name of ["changed", "gone"]) await ask("PATCH", `${MAPS}/${name}`, { data: { value: "drifted" } });
    await run("later", { spec: { backupName: "b", existingResourcePolicy: "update" } });
    const restored = await state();
    const { result } = await undo("r");
    const { changed, gone } = await state();
    assert.deepEqual({ changed, gone }, { changed: restored.changed, gone: restored.gone });
    const told = said(result.problems.warnings).split("\n");
    assert.equal(
      told.filter((line) => /shop\/(changed|gone): .*restore later .*undo later first/.test(line)).length,
      2,
    );
    await undo("later");
    await undo("r");
    assert.deepEqual(await state(), before);
  });

  it("gives statuses back where the restore had restored them", async () => {
    const path = "/apis/apps/v1/namespaces/shop/deployments/web";
    const template = { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "web", image: "nginx" }] } };
    const say = async (replicas: number) => {
      await ask("PATCH", path, { spec: { replicas } });
      await ask("PATCH", `${path}/status`, { status: { replicas } });
    };
    await ask("POST", "/apis/apps/v1/namespaces/shop/deployments", {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "web" },
      spec: { selector: { matchLabels: { app: "web" } }, template },
    });
    await say(1);
    await backup({ kube, bucket, name: "one", spec: {}, log: startRunLog({}), signal });
    for (const [name, includedResources, restored, back] of [
      ["asked", ["deployments"], 1, 2],
      ["unasked", ["pods"], 2, 3],
    ] as [string, string[], number, number][]) {
      await say(2);
      const spec = {
        backupName: "one",
        existingResourcePolicy: "update",
        restoreStatus: { includedResources },
      } as const;
      await run(name, { spec });
      assert.equal((await ask("GET", path)).status.replicas, restored);
      await ask("PATCH", `${path}/status`, { status: { replicas: 3 } });
      await undo(name);
      const live = await ask("GET", path);
      assert.deepEqual([live.spec.replicas, live.status.replicas], [2, back]);
    }
  });

  it("gives finalizers back as they were", async () => {
    await ask("PATCH", `${MAPS}/changed`, { metadata: { finalizers: ["example.com/a"] } });
    await backup({ kube, bucket, name: "held", spec: {}, log: startRunLog({}), signal });
    await ask("PATCH", `${MAPS}/changed`, { data: { value: "new" }, metadata: { finalizers: null } });
    const before = await state();
    const spec = { backupName: "held", existingResourcePolicy: "recreate" } as const;
    assert.equal((await run("r", { kube: unpatchable(), spec })).result.counts.recreated, 1);
    assert.notDeepEqual(await state(), before);
    await undo("r");
    assert.deepEqual(await state(), before);
  });

  it("gives what was deleted and created anew its owner back, for which only owners are looked for", async () => {
    const own = async (kind: string, path: string, name: string) => {
      const { apiVersion, metadata } = await ask("GET", path);
      const reference = { apiVersion, kind, name: metadata.name, uid: metadata.uid };
      await ask("PATCH", `${MAPS}/${name}`, { metadata: { ownerReferences: [reference] } });
      return [reference];
    };
    const spec = {
      selector: { matchLabels: { app: "web" } },
      template: { metadata: { labels: { app: "web" } }, spec: {} },
    };
    const web = { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "web" }, spec };
    await ask("POST", "/apis/apps/v1/namespaces/shop/deployments", web);
    await own("Deployment", "/apis/apps/v1/namespaces/shop/deployments/web", "same");
    const owners = await own("ConfigMap", `${MAPS}/same`, "changed");
    await own("ConfigMap", `${MAPS}/changed`, "gone");
    await backup({ kube, bucket, name: "owned", spec: {}, log: startRunLog({}), signal });
    await ask("PATCH", `${MAPS}/changed`, { data: { value: "new" } });
    const lists = {};
    const recreate = { backupName: "owned", existingResourcePolicy: "recreate" } as const;
    await run("r", { kube: unpatchable(lists), spec: recreate });
    assert.deepEqual(lists, { configmaps: 1, deployments: 1 });
    assert.deepEqual(await held("r-before"), [
      "configmaps shop/changed",
      "configmaps shop/same",
      "deployments.apps shop/web",
    ]);
    await undo("r", { kube: unpatchable() });
    const { data, metadata } = await ask("GET", `${MAPS}/changed`);
    assert.deepEqual([data, metadata.ownerReferences], [{ value: "new" }, owners]);
  });

  it("overwrites nothing that others make where it is about to give something back", async () => {
    await change();
    await run("r");
    const meddling: RestoreRun["kube"] = {
      ...kube,
      async request(request) {
        if (request.method === "POST" && request.path === MAPS) await put("extra", { value: "theirs" });
        return kube.request(request);
      },
    };
    const { result } = await undo("r", { kube: meddling });
    assert.match(said(result.problems.warnings), /shop\/extra: it appeared meanwhile and differs/);
    assert.deepEqual((await state()).extra, {
      data: { value: "theirs" },
      labels: undefined,
      annotations: undefined,
      finalizers: undefined,
    });
  });

  it("deletes a Namespace that the restore made, and says what that takes along", async () => {
    await ask("DELETE", "/api/v1/namespaces/shop");
    await run("r");
    await put("theirs", {});
    const { result } = await undo("r");
    assert.match(
      said(result.problems.warnings),
      /shop: made by restore r; all that is in it goes with it, whoever made it/,
    );
    assert.equal((await kube.request({ path: "/api/v1/namespaces/shop" })).status, 404);
    assert.ok((await held("r-undo-before")).includes("configmaps shop/theirs"));
  });

  it("refuses another cluster, and to go on with a restore into another one", async () => {
    await change();
    await assert.rejects(run("r", { kube: dyingAfter(1) }), /killed/);
    const other = await startApiServer();
    const elsewhere = watchedKube(other.kubeconfig);
    try {
      await assert.rejects(undo("r", { kube: elsewhere }), { kind: "invalid", message: /into another cluster/ });
      await assert.rejects(run("r", { kube: elsewhere }), { kind: "conflict", message: /into another cluster/ });
      assert.deepEqual(elsewhere.writes, []);
    } finally {
      await elsewhere.close();
      await other.stop();
    }
  });

  it("takes over the backup that an interrupted attempt had stored and not committed", async () => {
    await change();
    const before = await state();
    let fails = true;
    const failing: Bucket = {
      ...bucket,
      put: async (key, body, options) => {
        if (fails && key === backupKeys("r-before").metadata) throw new Error("the bucket is gone");
        return await bucket.put(key, body, options);
      },
    };
    kube.writes.length = 0;
    await assert.rejects(run("r", { bucket: failing }), /the bucket is gone/);
    assert.deepEqual(kube.writes, []);
    fails = false;
    await ask("PATCH", `${MAPS}/same`, { data: { value: "meanwhile" } });
    await run("r", { bucket: failing });
    assert.deepEqual(await held("r-before"), ["configmaps shop/changed", "configmaps shop/extra"]);
    assert.deepEqual(await held("r-before-2"), ["configmaps shop/same"]);
    await undo("r");
    assert.deepEqual(await state(), { ...before, same: { ...before.same, data: { value: "meanwhile" } } });
  });

  it("gives back what others made of an object between two attempts, neither of which had touched it before", async () => {
    await change();
    await assert.rejects(run("r", { kube: dyingAfter(0) }), /killed/);
    await ask("PATCH", `${MAPS}/changed`, { data: { value: "theirs" } });
    const before = await state();
    await assert.rejects(run("r", { kube: dyingAfter(2) }), /killed/);
    assert.deepEqual(await held("r-before-2"), ["configmaps shop/changed"]);
    await run("r");
    assert.notDeepEqual(await state(), before);
    await undo("r");
    assert.deepEqual(await state(), before);
  });

  it("needs its backup", async () => {
    await change();
    await run("r");
    await deleteBackup(bucket, "r-before");
    await assert.rejects(undo("r"), { kind: "missing", message: /r-before/ });
  });

  it("takes a backup of that name for what it is", async () => {
    await backup({ kube, bucket, name: "r-before", spec: {}, log: startRunLog({}), signal });
    await change();
    await assert.rejects(run("r"), { kind: "conflict", message: /"r-before" is not what was there before/ });
    assert.ok("extra" in (await state()));
  });

  it("refuses what is unknown, and what wrote nothing", async () => {
    await assert.rejects(undo("nothing"), { kind: "missing" });
    await run("r");
    await assert.rejects(undo("r"), { kind: "invalid", message: /nothing to undo/ });
  });

  for (const writes of [0, 1, 2]) {
    for (const again of [true, false]) {
      it(`of a restore that was killed after ${writes} writes${again ? " and run again" : ""}, itself killed`, async () => {
        await change();
        const before = await state();
        await assert.rejects(run("r", { kube: dyingAfter(writes) }), /killed/);
        await put("late", { value: "late" });
        if (again) await run("r");
        assert.equal((await readNotes(bucket, "r")).length, again ? 2 : 1);
        const touched = writes > 0 || again;
        if (touched) await assert.rejects(undo("r", { kube: dyingAfter(0) }), /killed/);
        if (writes > 1 || again) await assert.rejects(undo("r", { kube: dyingAfter(1) }), /killed/);
        await undo("r");
        const { late, ...after } = await state();
        assert.deepEqual(after, before);
        assert.deepEqual(late, {
          data: { value: "late" },
          labels: undefined,
          annotations: undefined,
          finalizers: undefined,
        });
      });
    }
  }
});

describe("who changed an object since a restore", () => {
  const since = new Date("2026-01-01T12:00:00Z");
  const cases: [what: string, write: object, by: string | undefined][] = [
    [
      "somebody, later",
      { manager: "kubectl-edit", time: "2026-01-01T12:00:01Z" },
      "kubectl-edit at 2026-01-01T12:00:01Z",
    ],
    ["somebody, before", { manager: "kubectl-edit", time: "2026-01-01T11:00:00Z" }, undefined],
    ["a status", { manager: "operator", time: "2026-01-01T13:00:00Z", subresource: "status" }, undefined],
    ["Lifeboat", { manager: "lifeboat", time: "2026-01-01T13:00:00Z" }, undefined],
    ["a controller of Kubernetes", { manager: "kube-controller-manager", time: "2026-01-01T13:00:00Z" }, undefined],
  ];
  for (const [what, write, by] of cases)
    it(what, () => {
      const metadata = { name: "x", managedFields: [write, { manager: "kubectl", time: "2025-01-01T00:00:00Z" }] };
      assert.equal(changedBy({ apiVersion: "v1", kind: "ConfigMap", metadata }, since), by);
    });
});

describe("what garbage collection is about to take", () => {
  const survey = {
    owners: new Map([
      ["a", 0],
      ["b", 1],
      ["c", 2],
    ]),
  };
  const live = (...uids: string[]) => new Map(uids.map((uid, place) => [place, uid]));
  const cases: [what: string, uids: Map<number, string>, owners: [number, string[]][], doomed: number[]][] = [
    [
      "nothing where the owner lives",
      live("a", "b"),
      [
        [0, []],
        [1, ["a"]],
      ],
      [],
    ],
    ["what a deleted owner had", new Map([[1, "b"]]), [[1, ["a"]]], [1]],
    [
      "what an owner had that was made anew",
      live("new", "b"),
      [
        [0, []],
        [1, ["a"]],
      ],
      [1],
    ],
    [
      "and what that has",
      live("new", "b", "c"),
      [
        [0, []],
        [2, ["b"]],
        [1, ["a"]],
      ],
      [2, 1],
    ],
    [
      "not what another owner keeps",
      live("new", "b", "c"),
      [
        [1, []],
        [2, ["a", "b"]],
      ],
      [],
    ],
    ["not what owners have that the backup doesn't know", live("a", "b"), [[1, ["x"]]], []],
  ];
  for (const [what, uids, owners, doomed] of cases)
    it(what, () => assert.deepEqual(uncollected(survey, uids, new Map(owners)).sort(), doomed.toSorted()));
});
