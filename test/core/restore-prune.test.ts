import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parse } from "yaml";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { keptReason, neverPruned, type PruneFacts } from "../../core/restore/prune/prune.ts";

const facts: PruneFacts = {
  skips: { nodes: new Set(), selectingServices: new Set() },
  named: new Set(["kube-public"]),
  excluded: new Set(["private"]),
  definitions: new Set(["widgets.example.com"]),
};

/** What becomes of a live object that the backup doesn't hold, in YAML without apiVersion and kind. */
function fate(resource: string, at: string, rest: string): string {
  const [namespace, name] = at.includes("/") ? (at.split("/") as [string, string]) : ["", at];
  const { metadata, ...fields } = (parse(rest) ?? {}) as Partial<KubernetesObject>;
  const object = { apiVersion: "v1", kind: "K", ...fields, metadata: { name, ...metadata } };
  const kept = keptReason(object, { resource, namespace, name }, facts);
  return kept ? `${kept.tell ? "told: " : ""}${kept.why}` : "pruned";
}

const rbac = (name: string) => `${name}.rbac.authorization.k8s.io`;

describe("prune: what is deleted of what the backup doesn't hold", () => {
  const cases: [resource: string, at: string, rest: string, fate: RegExp][] = [
    ["configmaps", "shop/extra", "", /^pruned$/],
    ["secrets", "shop/extra", "type: Opaque", /^pruned$/],
    ["deployments.apps", "shop/extra", "", /^pruned$/],
    ["pods", "shop/extra", "status: { phase: Running }", /^pruned$/],
    ["ingresses.networking.k8s.io", "shop/extra", "", /^pruned$/],
    ["services", "shop/extra", "metadata: { finalizers: [service.kubernetes.io/load-balancer-cleanup] }", /^pruned$/],
    [rbac("clusterroles"), "extra", "", /^pruned$/],
    ["priorityclasses.scheduling.k8s.io", "extra", "", /^pruned$/],
    ["validatingwebhookconfigurations.admissionregistration.k8s.io", "extra", "", /^pruned$/],
    ["widgets.example.com", "shop/extra", "", /^pruned$/],

    ["namespaces", "extra", "", /all that lives in it/],
    ["customresourcedefinitions.apiextensions.k8s.io", "extras.example.com", "", /all custom resources/],
    ["persistentvolumes", "extra", "", /data/],
    ["persistentvolumeclaims", "shop/extra", "", /data/],
    ["volumesnapshots.snapshot.storage.k8s.io", "shop/extra", "", /snapshots themselves/],
    ["volumesnapshotcontents.snapshot.storage.k8s.io", "extra", "", /snapshots themselves/],
    ["storageclasses.storage.k8s.io", "extra", "", /name their class/],
    ["csidrivers.storage.k8s.io", "extra", "", /need their driver/],
    ["apiservices.apiregistration.k8s.io", "v1.extra.example.com", "", /gone from the API/],
    ["leases.coordination.k8s.io", "shop/extra", "", /renews it/],
    ["endpoints", "shop/extra", "", /with its Service/],
    ["servicecidrs.networking.k8s.io", "extra", "", /ranges of addresses/],
    ["backupstoragelocations.velero.io", "velero/default", "", /Velero's own/],
    ["schedules.velero.io", "velero/daily", "", /Velero's own/],
    ["nodes", "extra", "", /every cluster makes its own/],
    ["events", "shop/extra", "", /every cluster makes its own/],
    ["projects.project.openshift.io", "extra", "", /definition isn't in the backup/],
    ["gadgets.example.com", "shop/extra", "", /definition isn't in the backup/],

    ["configmaps", "shop/going", "metadata: { deletionTimestamp: 2026-01-01T00:00:00Z }", /being deleted/],
    ["secrets", "shop/owned", "metadata: { ownerReferences: [{ kind: Widget, name: w, uid: u }] }", /owner decides/],
    ["configmaps", "shop/labelled", 'metadata: { labels: { velero.io/exclude-from-backup: "true" } }', /no backup/],
    ["configmaps", "private/extra", "", /no backup/],
    ["configmaps", "kube-system/extra", "", /cluster's own parts/],
    ["configmaps", "kube-node-lease/extra", "", /cluster's own parts/],
    ["configmaps", "kube-public/extra", "", /^pruned$/],
    ["configmaps", "kube-public/cluster-info", "", /own settings/],
    ["serviceaccounts", "shop/default", "", /every namespace has it/],
    ["serviceaccounts", "shop/extra", "", /^pruned$/],
    ["configmaps", "shop/kube-root-ca.crt", "", /certificate authority/],
    [
      "configmaps",
      "shop/lock",
      "metadata: { annotations: { control-plane.alpha.kubernetes.io/leader: x } }",
      /leaders/,
    ],
    ["services", "default/kubernetes", "", /publishes itself/],
    [rbac("clusterroles"), "system:extra", "", /names with a colon/],
    [rbac("clusterrolebindings"), "kubeadm:node-admins", "", /names with a colon/],
    [rbac("rolebindings"), "shop/eks:addon", "", /names with a colon/],
    [rbac("clusterroles"), "admin", "metadata: { labels: { kubernetes.io/bootstrapping: rbac-defaults } }", /default/],
    [
      rbac("clusterrolebindings"),
      "us",
      "roleRef: { kind: ClusterRole, name: cluster-admin }",
      /^told: .*lets its admin/,
    ],
    [rbac("clusterrolebindings"), "them", "roleRef: { kind: ClusterRole, name: view }", /^pruned$/],
    ["widgets.example.com", "shop/held", "metadata: { finalizers: [example.com/bucket] }", /^told: .*clean up/],
    ["pods", "shop/done", "status: { phase: Succeeded }", /finished/],
    ["priorityclasses.scheduling.k8s.io", "system-node-critical", "", /every cluster/],
  ];
  for (const [resource, at, rest, expected] of cases)
    it(`${resource} ${at} ${rest}`, () => assert.match(fate(resource, at, rest), expected));

  it("does not even list what it never prunes", () => {
    assert.equal(neverPruned("configmaps", facts.definitions), undefined);
    assert.equal(neverPruned("widgets.example.com", facts.definitions), undefined);
    for (const resource of ["nodes", "namespaces", "leases.coordination.k8s.io", "gadgets.example.com"])
      assert.notEqual(neverPruned(resource, facts.definitions), undefined);
  });
});
