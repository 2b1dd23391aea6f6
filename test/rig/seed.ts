import { type Api, connect, type KubeObject } from "./api.ts";
import type { Cluster } from "./cluster.ts";

/** One object to create, and the path of its collection. */
interface Planned {
  path: string;
  object: unknown;
}

const WIDGETS = "/apis/seed.example.com/v1";
const WORDS = "anchor beacon cargo deck engine flare gull harbour island jetty keel lantern mast north oar pier".split(
  " ",
);

/** How many of each an average namespace of 100 holds. */
const MIX: readonly [count: number, make: (namespace: string, index: number, random: () => number) => Planned][] = [
  [40, configMap],
  [15, secret],
  [5, (namespace, index) => core("ServiceAccount", namespace, index)],
  [5, role],
  [5, roleBinding],
  [8, service],
  [10, deployment],
  [12, widget],
];
const PER_NAMESPACE = MIX.reduce((sum, [count]) => sum + count, 0);

/**
 * Creates `objects` objects of a realistic mix, about 2 KB each as JSON and the same ones on every call: namespaces
 * `seed-0` … with ConfigMaps, Secrets, RBAC, Services, Deployments without replicas and custom resources. What
 * controllers add to that comes on top. Gives the seconds it took.
 */
export async function seed(cluster: Cluster, options: { objects: number; concurrency?: number }): Promise<number> {
  const { objects, concurrency = 64 } = options;
  const start = performance.now();
  const api = connect(cluster.url, cluster.credentials, concurrency);
  try {
    const namespaces = Math.ceil((objects - 1) / (PER_NAMESPACE + 1));
    await createWidgetDefinition(cluster);
    await createAll(api, concurrency, namespacesOf(namespaces));
    await createAll(api, concurrency, contents(namespaces, objects - 1 - namespaces));
  } finally {
    await api.close();
  }
  return (performance.now() - start) / 1000;
}

async function createAll(api: Api, concurrency: number, all: Iterator<Planned>): Promise<void> {
  const worker = async () => {
    for (let next = all.next(); !next.done; next = all.next()) {
      await api.request("POST", next.value.path, next.value.object);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}

function* namespacesOf(count: number): Generator<Planned> {
  for (let index = 0; index < count; index++) {
    yield {
      path: "/api/v1/namespaces",
      object: { apiVersion: "v1", kind: "Namespace", metadata: { name: `seed-${index}`, labels: labels(index) } },
    };
  }
}

function* contents(namespaces: number, limit: number): Generator<Planned> {
  const random = randomNumbers(42);
  let made = 0;
  for (let index = 0; index < namespaces; index++) {
    for (const [count, make] of MIX) {
      for (let number = 0; number < count; number++) {
        if (made++ === limit) return;
        yield make(`seed-${index}`, number, random);
      }
    }
  }
}

function metadata(namespace: string, kind: string, index: number): KubeObject["metadata"] {
  return {
    name: `${kind.toLowerCase()}-${index}`,
    namespace,
    labels: labels(index),
    annotations: { "example.com/owner": `team-${index % 7}@example.com`, "example.com/revision": `${index * 37}` },
  };
}

function labels(index: number): Record<string, string> {
  return {
    "app.kubernetes.io/name": WORDS[index % WORDS.length] ?? "",
    "app.kubernetes.io/instance": `instance-${index}`,
    "app.kubernetes.io/managed-by": "seed",
  };
}

function core(kind: string, namespace: string, index: number, fields: object = {}): Planned {
  return {
    path: `/api/v1/namespaces/${namespace}/${kind.toLowerCase()}s`,
    object: { apiVersion: "v1", kind, metadata: metadata(namespace, kind, index), ...fields },
  };
}

function configMap(namespace: string, index: number, random: () => number): Planned {
  const text = words(500 + random() * 2400, random);
  return core("ConfigMap", namespace, index, { data: { "settings.yaml": `text: ${text}\n`, level: "info" } });
}

function secret(namespace: string, index: number, random: () => number): Planned {
  const bytes = Buffer.from(Array.from({ length: 300 + random() * 900 }, () => random() * 256));
  return core("Secret", namespace, index, { type: "Opaque", data: { key: bytes.toString("base64") } });
}

function role(namespace: string, index: number): Planned {
  return {
    path: `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}/roles`,
    object: {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "Role",
      metadata: metadata(namespace, "Role", index),
      rules: [
        { apiGroups: [""], resources: ["configmaps", "secrets", "services"], verbs: ["get", "list", "watch"] },
        {
          apiGroups: ["apps"],
          resources: ["deployments"],
          verbs: ["get", "patch"],
          resourceNames: [`deployment-${index}`],
        },
      ],
    },
  };
}

function roleBinding(namespace: string, index: number): Planned {
  return {
    path: `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}/rolebindings`,
    object: {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "RoleBinding",
      metadata: metadata(namespace, "RoleBinding", index),
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: `role-${index}` },
      subjects: [{ kind: "ServiceAccount", name: `serviceaccount-${index}`, namespace }],
    },
  };
}

function service(namespace: string, index: number): Planned {
  const selector = { "app.kubernetes.io/instance": `instance-${index}` };
  return core("Service", namespace, index, {
    spec: { selector, ports: [{ name: "http", port: 80, targetPort: 8080 }] },
  });
}

function deployment(namespace: string, index: number, random: () => number): Planned {
  const selector = { "app.kubernetes.io/instance": `instance-${index}` };
  const container = {
    name: "main",
    image: `registry.example.com/${namespace}/app:1.${index}.0`,
    ports: [{ containerPort: 8080, name: "http" }],
    env: Array.from({ length: 8 }, (_, number) => ({ name: `SETTING_${number}`, value: words(40, random) })),
    resources: { requests: { cpu: "100m", memory: "128Mi" }, limits: { memory: "256Mi" } },
    readinessProbe: { httpGet: { path: "/ready", port: "http" } },
  };
  return {
    path: `/apis/apps/v1/namespaces/${namespace}/deployments`,
    object: {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: metadata(namespace, "Deployment", index),
      spec: {
        replicas: 0,
        selector: { matchLabels: selector },
        template: { metadata: { labels: labels(index) }, spec: { containers: [container] } },
      },
    },
  };
}

function widget(namespace: string, index: number, random: () => number): Planned {
  const steps = Array.from({ length: 10 }, (_, number) => ({
    name: `step-${number}`,
    run: words(80, random),
    retries: 3,
  }));
  return {
    path: `${WIDGETS}/namespaces/${namespace}/widgets`,
    object: {
      apiVersion: "seed.example.com/v1",
      kind: "Widget",
      metadata: metadata(namespace, "Widget", index),
      spec: { steps, size: index },
    },
  };
}

async function createWidgetDefinition({ api, kubectl }: Cluster): Promise<void> {
  const schema = {
    type: "object",
    properties: { spec: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
  };
  await api.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "widgets.seed.example.com" },
    spec: {
      group: "seed.example.com",
      scope: "Namespaced",
      names: { kind: "Widget", listKind: "WidgetList", plural: "widgets", singular: "widget" },
      versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: schema } }],
    },
  });
  await kubectl(["wait", "--for=condition=Established", "--timeout=30s", "crd/widgets.seed.example.com"]);
}

function words(length: number, random: () => number): string {
  let text = "";
  while (text.length < length) text += `${WORDS[Math.floor(random() * WORDS.length)]} `;
  return text.slice(0, length).trimEnd();
}

/** Numbers in [0, 1) that are the same for the same `start` (mulberry32). */
function randomNumbers(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
