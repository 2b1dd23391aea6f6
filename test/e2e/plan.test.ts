import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { PlanDocument, PlanStep } from "../../core/restore/plan/plandocument.ts";
import { writes } from "../rig/audit.ts";
import { type Cluster, startCluster, WITH_CONTROLLERS } from "../rig/cluster.ts";
import { requireOrSkip } from "../rig/require.ts";
import { applyShop, WARNED } from "../rig/shop.ts";
import { document, lifeboat, type RestoreDocument } from "./lifeboat.ts";

const NOTHING = { create: 0, update: 0, recreate: 0, prune: 0, blocked: 0 };
const DEPLOYMENT = "/apis/apps/v1/namespaces/shop/deployments/web";
const SERVICE = "/api/v1/namespaces/shop/services/web";
const CERTIFICATE = "/apis/cert-manager.io/v1/namespaces/shop/certificates/shop-tls";
const ROLE_BINDING = "/apis/rbac.authorization.k8s.io/v1/namespaces/shop/rolebindings";

describe("the plan of a restore", { skip: requireOrSkip("rig", WITH_CONTROLLERS) }, () => {
  let source: Cluster;
  let target: Cluster;
  let dir: string;

  before(async () => {
    [source, target] = await Promise.all([
      startCluster({ controllers: true }),
      startCluster({ controllers: true, audit: true }),
    ]);
    await applyShop(source);
    await source.api.request("POST", ROLE_BINDING, binding("reader"));
    dir = await mkdtemp(join(tmpdir(), "lifeboat-plan-"));
    await document(["backup", "create", "full", ...at(source)]);
  });
  after(async () => {
    await Promise.all([source?.stop(), target?.stop()]);
    if (dir) await rm(dir, { recursive: true });
  });

  const at = ({ kubeconfigPath }: Cluster) => ["--location", `file://${dir}`, "--kubeconfig", kubeconfigPath];
  const restore = (name: string, flags: string[], code = 0) =>
    document<RestoreDocument>(["restore", "create", name, ...flags, ...at(target)], {}, code);
  const plan = async (id: string, ...flags: string[]) => {
    const before = writes(await target.audit(), "admin").filter(({ requestURI }) => !requestURI.includes("dryRun=All"));
    const made = await document<PlanDocument>(
      ["restore", "create", id, "--from-backup", "full", "--dry-run", ...flags, ...at(target)],
      {},
    );
    const after = writes(await target.audit(), "admin").filter(({ requestURI }) => !requestURI.includes("dryRun=All"));
    assert.equal(after.length, before.length, "a dry run wrote something");
    return made;
  };
  const acts = ({ counts: { skip: _, ...counts } }: PlanDocument) => counts;
  const stepOf = ({ steps }: PlanDocument, resource: string, name: string) =>
    steps.find((step) => step.resource === resource && step.name === name) as PlanStep;

  it("tells what the restore into an empty cluster then does, by --plan", async () => {
    const first = await plan("first");
    assert.ok(first.counts.create > 40);
    assert.deepEqual({ ...acts(first), create: 0 }, NOTHING);
    const names = (warnings: unknown[]) => (warnings as { name: string }[]).map(({ name }) => name).sort();
    assert.deepEqual([names(first.warnings), first.errors], [WARNED, []]);
    const { counts, phase, warnings } = await restore("by-plan", ["--plan", "first"]);
    assert.deepEqual([phase, names(warnings)], ["Completed", WARNED]);
    // The ServiceAccount "default" of a new Namespace is made by a controller, perhaps before the restore comes to it.
    const accounts = first.steps.filter((step) => step.action === "create" && step.name === "default").length;
    assert.ok(counts.created <= first.counts.create && counts.created >= first.counts.create - accounts);
    assert.equal(counts.created + counts.skipped, first.counts.create + first.counts.skip);
  });

  it("is empty afterwards, with controllers at work", async () => {
    const again = await plan("again", "--existing-resource-policy", "update");
    assert.deepEqual(acts(again), NOTHING, JSON.stringify(again.steps.filter(({ action }) => action !== "skip")));
  });

  it("shows exactly the fields that were changed, and by whom they are kept", async () => {
    await target.api.request("PATCH", DEPLOYMENT, { spec: { minReadySeconds: 5 } });
    await target.api.request("PATCH", DEPLOYMENT, {
      metadata: { annotations: { "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/web" } },
    });
    await target.api.request("PATCH", SERVICE, { spec: { sessionAffinity: "ClientIP" } });
    await target.api.request("PATCH", CERTIFICATE, { spec: { dnsNames: ["other.example.com"] } });
    const changed = await plan("changed", "--existing-resource-policy", "update");
    assert.deepEqual(acts(changed), { ...NOTHING, update: 3 });
    assert.deepEqual(stepOf(changed, "certificates.cert-manager.io", "shop-tls").diff, [
      { path: "spec.dnsNames[0]", from: "other.example.com", to: "shop.example.com" },
    ]);
    const deployment = stepOf(changed, "deployments.apps", "web");
    assert.match(deployment.reason ?? "", /Argo CD application shop/);
    assert.deepEqual(
      deployment.diff?.map(({ path }) => path),
      ['metadata.annotations["argocd.argoproj.io/tracking-id"]', "spec.minReadySeconds"],
    );
    assert.deepEqual(deployment.diff?.at(-1)?.from, 5);
    assert.deepEqual(
      stepOf(changed, "services", "web").diff?.map(({ path }) => path),
      ["spec.sessionAffinity", "spec.sessionAffinityConfig"],
    );
  });

  it("is refused once the cluster has changed, and nothing is written", async () => {
    await target.api.request("PATCH", SERVICE, { metadata: { labels: { changed: "again" } } });
    const before = writes(await target.audit(), "admin").length;
    const { code, stderr } = await lifeboat(["restore", "create", "--plan", "changed", ...at(target)]);
    assert.equal(code, 1);
    assert.match(stderr, /plan "changed" is out of date: services shop\/web was changed/);
    assert.equal(writes(await target.audit(), "admin").length, before);
  });

  it("is refused for another cluster", async () => {
    const { code, stderr } = await lifeboat(["restore", "create", "--plan", "changed", ...at(source)]);
    assert.equal(code, 1);
    assert.match(stderr, /it was made for another cluster/);
  });

  it("deletes and creates anew what can't be changed, under recreate", async () => {
    await target.api.request("DELETE", `${ROLE_BINDING}/reader`);
    await target.api.request("POST", ROLE_BINDING, binding("other"));
    const update = await plan("no-recreate", "--existing-resource-policy", "update");
    assert.match(stepOf(update, "rolebindings.rbac.authorization.k8s.io", "reader").reason ?? "", /recreate/);
    const recreate = await plan("recreate", "--existing-resource-policy", "recreate");
    assert.deepEqual(acts(recreate), { ...NOTHING, update: 3, recreate: 1 });
    const step = stepOf(recreate, "rolebindings.rbac.authorization.k8s.io", "reader");
    assert.deepEqual(step.diff, [{ path: "roleRef.name", from: "other", to: "reader" }]);
    const { counts } = await restore("recreated", ["--plan", "recreate"]);
    assert.deepEqual([counts.updated, counts.recreated, counts.failed], [3, 1, 0]);
    assert.deepEqual(acts(await plan("settled", "--existing-resource-policy", "recreate")), NOTHING);
  });
});

/** A RoleBinding "reader" of that Role: what it refers to can't be changed. */
function binding(role: string): object {
  return {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "RoleBinding",
    metadata: { name: "reader", namespace: "shop" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: role },
    subjects: [{ kind: "User", name: "somebody", apiGroup: "rbac.authorization.k8s.io" }],
  };
}
