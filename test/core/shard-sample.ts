import fc from "fast-check";
import type { KubernetesObject } from "../../core/archive/item.ts";

/** Some cluster's objects: in namespaces whose order is not that of their names in etcd, "a-b" before "a". */
export const someCluster = fc
  .record({
    spaces: fc.uniqueArray(fc.constantFrom("a", "a-b", "a-b-c", "a1", "b", "z-9"), { minLength: 2 }),
    settings: fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 6, maxLength: 6 }),
    kinds: fc.array(fc.constantFrom("Secret", "Pod", "PersistentVolumeClaim", "ServiceAccount", "Widget"), {
      maxLength: 30,
    }),
    salt: fc.nat(1000),
  })
  .map(objectsOf);

function objectsOf({
  spaces,
  settings,
  kinds,
  salt,
}: {
  spaces: string[];
  settings: number[];
  kinds: string[];
  salt: number;
}): KubernetesObject[] {
  const object = (apiVersion: string, kind: string, name: string, namespace?: string, rest = {}): KubernetesObject => {
    const labels = { app: `app-${(name.length + salt) % 3}` };
    return { apiVersion, kind, metadata: { name, namespace, labels }, ...rest };
  };
  const definition = object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets.example.com", undefined, {
    spec: {
      ...{ group: "example.com", scope: "Namespaced", names: { kind: "Widget", plural: "widgets" } },
      versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object" } } }],
    },
  });
  const made = spaces.flatMap((space, place) => [
    object("v1", "Namespace", space),
    ...Array.from({ length: settings[place]! }, (_, i) =>
      object("v1", "ConfigMap", `settings-${(i * 7919) % 1009}`, space, {
        data: { text: "x".repeat((i * salt) % 999) },
      }),
    ),
  ]);
  const others = kinds.flatMap((kind, i) => {
    const space = spaces[(i * salt) % spaces.length]!;
    const name = `one-${i}`;
    if (kind === "Widget") return [object("example.com/v1", kind, name, space)];
    if (kind === "Pod") {
      const volumes = [{ name: "data", persistentVolumeClaim: { claimName: `one-${i - 1}` } }];
      const containers = [{ name: "web", image: "web:1", envFrom: [{ secretRef: { name: `one-${i - 2}` } }] }];
      return [object("v1", kind, name, space, { spec: { containers, volumes }, status: { phase: "Running" } })];
    }
    if (kind === "PersistentVolumeClaim")
      return [
        object("v1", "PersistentVolume", `volume-${i}`, undefined, {
          spec: { capacity: { storage: "1Gi" }, nfs: { server: "10.0.0.1", path: "/" } },
        }),
        object("v1", kind, name, space, { spec: { volumeName: `volume-${i}` }, status: { phase: "Bound" } }),
      ];
    if (kind !== "ServiceAccount") return [object("v1", kind, name, space)];
    const subjects = [{ kind, name, namespace: space }];
    const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name };
    return [
      object("v1", kind, name, space),
      object("rbac.authorization.k8s.io/v1", "ClusterRole", name),
      object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", name, undefined, { subjects, roleRef }),
    ];
  });
  return [definition, ...made, ...others];
}
