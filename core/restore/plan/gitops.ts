import type { KubernetesObject } from "../../archive/item.ts";

const FLUX = [
  { domain: "kustomize.toolkit.fluxcd.io", kind: "Kustomization" },
  { domain: "helm.toolkit.fluxcd.io", kind: "HelmRelease" },
];

/**
 * Who keeps the object as it stands in a Git repository, and would change back what a restore changes: "Argo CD
 * application shop", "Flux Kustomization flux-system/apps". By the annotation or label that Argo CD tracks resources with
 * (docs: user-guide/resource_tracking; its label app.kubernetes.io/instance is Helm's too and says nothing) and the
 * labels that Flux's controllers set (docs: kustomize and helm controller). Undefined where nobody does.
 */
export function gitOwner({ metadata: { labels, annotations } }: KubernetesObject): string | undefined {
  const tracking = annotations?.["argocd.argoproj.io/tracking-id"]?.split(":", 1)[0];
  const application = tracking || labels?.["argocd.argoproj.io/instance"];
  if (application) return `Argo CD application ${application}`;
  for (const { domain, kind } of FLUX) {
    const name = labels?.[`${domain}/name`];
    if (name) return `Flux ${kind} ${labels?.[`${domain}/namespace`]}/${name}`;
  }
  return undefined;
}
