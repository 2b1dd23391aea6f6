import { annotation, changeAt, type Place, POD_SPECS } from "../../objects/places.ts";
import type { Fix } from "../fixes.ts";

/** Where classes stand that a clone may have others of. */
interface ClassPlaces {
  id: string;
  resources: string[];
  mapping: "storageClassMapping" | "ingressClassMapping";
  places: Place[];
  why: string;
  source: string;
}

const STORAGE_ANNOTATION = "volume.beta.kubernetes.io/storage-class";

const CLASSES: ClassPlaces[] = [
  {
    id: "storage-class",
    resources: ["persistentvolumeclaims", "persistentvolumes"],
    mapping: "storageClassMapping",
    places: ["spec.storageClassName", annotation(STORAGE_ANNOTATION)],
    why: "a claim and its volume must name the same class; the annotation wins where it stands",
    source: "velero.io/change-storage-class (5.7)",
  },
  {
    id: "storage-class-templates",
    resources: ["statefulsets.apps"],
    mapping: "storageClassMapping",
    places: [
      "spec.volumeClaimTemplates[].spec.storageClassName",
      ["spec", "volumeClaimTemplates[]", "metadata", "annotations", STORAGE_ANNOTATION],
    ],
    why: "claims to come are made from it, and it can't be changed later",
    source: "velero.io/change-storage-class (5.7)",
  },
  ...Object.entries(POD_SPECS).map(
    ([resource, spec]): ClassPlaces => ({
      id: `storage-class-${resource}`,
      resources: [resource],
      mapping: "storageClassMapping",
      places: [`${spec}.volumes[].ephemeral.volumeClaimTemplate.spec.storageClassName`],
      why: "a Pod's own volumes are claimed from it",
      source: "Kubernetes EphemeralVolumeSource",
    }),
  ),
  {
    id: "ingress-class",
    resources: ["ingresses.networking.k8s.io", "ingresses.extensions"],
    mapping: "ingressClassMapping",
    places: ["spec.ingressClassName", annotation("kubernetes.io/ingress.class")],
    why: "only the controller of its class serves an Ingress",
    source: "Kubernetes Ingress v1; the annotation is its older form",
  },
  {
    id: "ingress-class-solver",
    resources: ["issuers.cert-manager.io", "clusterissuers.cert-manager.io"],
    mapping: "ingressClassMapping",
    places: ["spec.acme.solvers[].http01.ingress.class", "spec.acme.solvers[].http01.ingress.ingressClassName"],
    why: "cert-manager answers a challenge through an Ingress of this class",
    source: "cert-manager ACMEChallengeSolverHTTP01Ingress",
  },
];

/** `storageClassMapping` and `ingressClassMapping`, place by place. */
export const CLASS_FIXES: Fix[] = CLASSES.map(({ id, resources, mapping, places, why, source }) => ({
  id,
  resources,
  why,
  source,
  clusterOwned: false,
  idle: ({ [mapping]: classes = {} }) => Object.keys(classes).length === 0,
  apply(object, { [mapping]: classes = {} }) {
    for (const place of places)
      changeAt(object, place, (name) => (Object.hasOwn(classes, name) ? classes[name]! : name));
  },
}));
