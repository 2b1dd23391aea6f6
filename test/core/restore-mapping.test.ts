import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { archiveOf, namespace, references, restored, sample, shop } from "./restore-sample.ts";
import { restoreTarget } from "./restore-target.ts";

const { change, create, kube, live } = restoreTarget();

describe("namespaceMapping", () => {
  it("restores into the other namespace, references and all", async () => {
    const { result } = await restored(kube, await archiveOf(shop), { namespaceMapping: { shop: "copy" } });
    assert.equal(result.phase, "Completed");
    const widget = await live("/apis/example.com/v1/namespaces/copy/widgets/w");
    assert.equal(references(await live("/api/v1/namespaces/copy/secrets/made"))?.[0]?.uid, widget.metadata.uid);
    assert.equal((await live("/api/v1/namespaces/shop")).kind, "Status");
  });

  it("leaves an existing namespace as it is", async () => {
    const theirs = { metadata: { labels: { team: "theirs" } } as unknown as KubernetesObject["metadata"] };
    await create("/api/v1/namespaces", sample("v1", "Namespace", "copy", theirs));
    const { result } = await restored(kube, await archiveOf(shop), {
      namespaceMapping: { shop: "copy" },
      existingResourcePolicy: "update",
    });
    assert.deepEqual([result.counts.updated, result.problems.warnings], [0, []]);
    assert.equal((await live("/api/v1/namespaces/copy")).metadata.labels?.team, "theirs");
  });

  it("leaves what it doesn't move to the original that is referred to, with a warning", async () => {
    const view = {
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "view" },
      subjects: [{ kind: "ServiceAccount", name: "web", namespace: "shop" }],
    };
    const bindings = [
      sample("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "shop-view", view),
      sample("rbac.authorization.k8s.io/v1", "RoleBinding", "watch/shop-view", view),
      sample("rbac.authorization.k8s.io/v1", "RoleBinding", "shop/own-view", view),
    ];
    const volume = sample("v1", "PersistentVolume", "pv", {
      spec: { persistentVolumeReclaimPolicy: "Retain", claimRef: { namespace: "shop", name: "data" } },
    });
    const archive = await archiveOf([namespace, ...bindings, volume]);
    await restored(kube, archive);
    await change("PATCH", "/api/v1/persistentvolumes/pv", { spec: { mountOptions: ["hard"] } });
    for (const existingResourcePolicy of ["update", "none"] as const) {
      const copy = { namespaceMapping: { shop: "shop-copy" }, existingResourcePolicy };
      const { result } = await restored(kube, archive, copy);
      assert.deepEqual(
        result.problems.warnings.map(({ name, message }) => `${name}: ${message.split(";")[0]}`),
        [
          "shop-view: exists, maybe for the namespaces of the original, and is left",
          "pv: exists, maybe for the namespaces of the original, and is left",
          "shop-view: exists, maybe for the namespaces of the original, and is left",
        ],
      );
      assert.deepEqual(
        kube.writes.filter((write) => write.startsWith("PATCH")),
        [],
      );
    }
    await change("DELETE", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/shop-view");
    const { result } = await restored(kube, archive, { namespaceMapping: { shop: "shop-copy" } });
    assert.equal(result.counts.created, 1);
  });

  it("that makes two objects one restores the first and warns", async () => {
    const items = ["a/c", "b/c"].map((name) => sample("v1", "ConfigMap", name, { data: { name } }));
    const { lines, result } = await restored(kube, await archiveOf(items), { namespaceMapping: { b: "a" } });
    assert.equal(result.problems.warnings.length, 1);
    assert.match(lines.join("\n"), /skipped configmaps a\/c: left out: the backup's a\/c becomes the same object/);
    assert.deepEqual((await live("/api/v1/namespaces/a/configmaps/c")).data, { name: "a/c" });
  });
});
