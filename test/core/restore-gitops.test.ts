import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gitOwner } from "../../core/restore/plan/gitops.ts";

const CASES: { labels?: Record<string, string>; annotations?: Record<string, string>; owner: string | undefined }[] = [
  { owner: undefined },
  { labels: { "app.kubernetes.io/instance": "shop" }, owner: undefined },
  {
    annotations: { "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/web" },
    owner: "Argo CD application shop",
  },
  { labels: { "argocd.argoproj.io/instance": "shop" }, owner: "Argo CD application shop" },
  {
    labels: { "kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system" },
    owner: "Flux Kustomization flux-system/apps",
  },
  {
    labels: { "helm.toolkit.fluxcd.io/name": "web", "helm.toolkit.fluxcd.io/namespace": "shop" },
    owner: "Flux HelmRelease shop/web",
  },
];

describe("who keeps an object as it is in Git", () => {
  for (const { labels, annotations, owner } of CASES) {
    it(`${JSON.stringify({ labels, annotations })}: ${owner}`, () =>
      assert.equal(
        gitOwner({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a", labels, annotations } }),
        owner,
      ));
  }
});
