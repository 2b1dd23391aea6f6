import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { finalizerWarnings, isForeign } from "../../core/restore/finalizers.ts";

const FINALIZERS: [finalizer: string, foreign: boolean][] = [
  ["kubernetes", false],
  ["orphan", false],
  ["foregroundDeletion", false],
  ["kubernetes.io/pvc-protection", false],
  ["service.kubernetes.io/load-balancer-cleanup", false],
  ["customresourcecleanup.apiextensions.k8s.io", false],
  ["snapshot.storage.kubernetes.io/volumesnapshot-bound-protection", false],
  ["ingress.k8s.aws/resources", true],
  ["finalizer.acme.cert-manager.io", true],
  ["kubernetes.io.example.com/x", true],
];

describe("finalizers", () => {
  for (const [finalizer, foreign] of FINALIZERS) {
    it(`${finalizer} is ${foreign ? "of others" : "Kubernetes' own"}`, () =>
      assert.equal(isForeign(finalizer), foreign));
  }

  it("are told where the target serves no API of their domain, once each", () => {
    const held = new Map([
      ["finalizer.acme.cert-manager.io", ["challenges.acme.cert-manager.io shop/a"]],
      ["ingress.k8s.aws/resources", ["ingresses.networking.k8s.io shop/web"]],
      ["example.com/hold", ["configmaps shop/a", "configmaps shop/b"]],
      ["widgets.restored.dev/x", ["widgets.restored.dev shop/a"]],
    ]);
    const served = ["cert-manager.io", "elbv2.k8s.aws"].map((group) => ({ group }));
    const discovery = { resources: served, warnings: [] } as never;
    assert.deepEqual(finalizerWarnings(held, discovery, ["restored.dev"]), [
      "2 objects hold the finalizer example.com/hold, and the cluster serves no API of example.com: without its controller they can't be deleted later: configmaps shop/a, configmaps shop/b",
    ]);
  });
});
