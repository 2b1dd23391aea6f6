import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import type { IndexEntry } from "../../core/archive/index.ts";
import type { KubernetesObject } from "../../core/archive/item.ts";
import type { Archive } from "../../core/archive/reader.ts";
import type { Kube } from "../../core/kube/client.ts";
import {
  answer,
  archiveOf,
  type Intercept,
  ownedBy,
  owner,
  restored,
  said,
  sample,
  uid,
  watchedKube,
} from "./restore-sample.ts";

let server: ApiServer;
let kube: ReturnType<typeof watchedKube>;
beforeEach(async () => {
  server = await startApiServer();
  kube = watchedKube(server.kubeconfig);
});
afterEach(async () => {
  await kube.close();
  await server.stop();
});

/** Uses a client that `intercept` stands in front of. */
async function intercepted(intercept: Intercept): Promise<void> {
  await kube.close();
  kube = watchedKube(server.kubeconfig, intercept);
}

async function live(
  path: string,
  method: "GET" | "PATCH" | "POST" | "DELETE" = "GET",
  body?: object,
): Promise<KubernetesObject> {
  const request = {
    method,
    path,
    ...(body && { body: JSON.stringify(body) }),
    ...(method === "PATCH" && { contentType: "application/merge-patch+json" }),
  };
  const response = await kube.request(request);
  kube.writes.length = 0;
  return JSON.parse(response.body.toString());
}

/** An item of an archive whose JSON isn't what its path says. */
const foreign = (object: KubernetesObject, json: object) => ({ ...object, toJSON: () => ({ ...object, ...json }) });

const references = (object: KubernetesObject) =>
  object.metadata.ownerReferences?.map(({ kind, name, uid }) => ({ kind, name, uid }));

const definition = sample("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets.example.com", {
  spec: {
    group: "example.com",
    scope: "Namespaced",
    names: { plural: "widgets", singular: "widget", kind: "Widget", listKind: "WidgetList" },
    versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object" } } }],
  },
});
const namespace = sample("v1", "Namespace", "shop", {
  metadata: { labels: { team: "web" } } as unknown as KubernetesObject["metadata"],
});

/** A custom resource that owns a Secret, and a Deployment with all below it. */
const shop = [
  definition,
  namespace,
  sample("v1", "ConfigMap", "shop/settings", { data: { a: "b" } }),
  sample("v1", "ConfigMap", "shop/kube-root-ca.crt", { data: { "ca.crt": "the source's" } }),
  sample("v1", "ServiceAccount", "shop/default"),
  sample("example.com/v1", "Widget", "shop/w", owner(1)),
  sample("v1", "Secret", "shop/made", { type: "Opaque", ...ownedBy("Widget", "w", 1) }),
  sample("apps/v1", "Deployment", "shop/web", { spec: { replicas: 1 }, ...owner(2) }),
  sample("apps/v1", "ReplicaSet", "shop/web-1", {
    spec: { replicas: 1 },
    ...ownedBy("Deployment", "web", 2, { uid: uid(3) }),
  }),
  sample("v1", "Pod", "shop/web-1-a", {
    spec: { nodeName: "n" },
    status: { phase: "Running" },
    ...ownedBy("ReplicaSet", "web-1", 3),
  }),
  sample("v1", "Service", "shop/web", { spec: { clusterIP: "10.7.7.7", ports: [{ port: 80 }] } }),
];

describe("a whole restore into an empty cluster", () => {
  it("creates everything in order and leaves what the cluster makes itself", async () => {
    const { result, lines } = await restored(kube, await archiveOf(shop));
    assert.equal(result.phase, "Completed");
    assert.deepEqual(result.problems, { warnings: [], errors: [] });
    assert.deepEqual(result.counts, {
      created: 9,
      updated: 0,
      recreated: 0,
      pruned: 0,
      skipped: 2,
      blocked: 0,
      failed: 0,
    });
    assert.deepEqual(
      lines.filter((line) => line.startsWith("skipped")),
      [
        "skipped configmaps shop/kube-root-ca.crt: every cluster publishes its own certificate authority",
        "skipped serviceaccounts shop/default: exists, equal",
      ],
    );
    const kinds = [
      "definitions",
      "namespaces",
      "serviceaccounts",
      "configmaps",
      "services",
      "widgets",
      "secrets",
      "pods",
      "replicasets",
      "deployments",
    ];
    const order = kube.writes.map((write) => kinds.findIndex((kind) => write.endsWith(kind)));
    assert.deepEqual(
      order,
      order.toSorted((a, b) => a - b),
    );
  });

  it("waits for definitions only when custom resources are next", async () => {
    let last: string | undefined;
    await intercepted((request) => {
      const asks = !request.method && request.path.endsWith("/customresourcedefinitions");
      if (asks && kube.writes.some((write) => write.endsWith("/customresourcedefinitions")))
        last ??= kube.writes.at(-1);
      return undefined;
    });
    const { result } = await restored(kube, await archiveOf(shop));
    assert.equal(result.counts.created, 9);
    assert.equal(last, "POST v1/namespaces/shop/services");
  });

  it("gives what is owned its owner's new UID, and leaves to controllers what they adopt", async () => {
    await restored(kube, await archiveOf(shop));
    const widget = await live("/apis/example.com/v1/namespaces/shop/widgets/w");
    assert.notEqual(widget.metadata.uid, uid(1));
    const secret = await live("/api/v1/namespaces/shop/secrets/made");
    assert.deepEqual(references(secret), [{ kind: "Widget", name: "w", uid: widget.metadata.uid }]);
    assert.equal(references(await live("/api/v1/namespaces/shop/pods/web-1-a")), undefined);
    assert.equal(references(await live("/apis/apps/v1/namespaces/shop/replicasets/web-1")), undefined);
  });

  it("labels what it makes and asks for no address of the source", async () => {
    await restored(kube, await archiveOf(shop));
    const service = await live("/api/v1/namespaces/shop/services/web");
    assert.deepEqual(service.metadata.labels, { "velero.io/backup-name": "b", "velero.io/restore-name": "r" });
    assert.notEqual((service.spec as { clusterIP: string }).clusterIP, "10.7.7.7");
    assert.equal((await live("/api/v1/namespaces/shop")).metadata.labels?.team, "web");
  });

  for (const existingResourcePolicy of ["none", "update"] as const) {
    it(`writes nothing the second time, under ${existingResourcePolicy}`, async () => {
      const archive = await archiveOf(shop);
      await restored(kube, archive);
      kube.writes.length = 0;
      const { result } = await restored(kube, archive, { existingResourcePolicy }, { name: "r2" });
      assert.deepEqual(kube.writes, []);
      assert.deepEqual([result.phase, result.counts.skipped, result.problems.warnings], ["Completed", shop.length, []]);
    });
  }

  it("reads only few bodies to find that all are equal", async () => {
    const archive = await archiveOf(shop);
    await restored(kube, archive);
    const reads: string[] = [];
    const watched: Archive = {
      ...archive,
      read(entries, options) {
        const all = [...(entries as Iterable<IndexEntry>)];
        reads.push(...all.map(({ resource }) => resource));
        return archive.read(all, options);
      },
    };
    const { result } = await restored(kube, watched, { existingResourcePolicy: "update" }, { name: "r2" });
    assert.equal(result.counts.skipped, shop.length);
    // The cluster has its own certificate authority; a Pod with nothing but its node is too odd to tell at a glance.
    assert.deepEqual(reads, ["configmaps", "namespaces", "pods"]);
  });

  it("writes nothing on the word of a backup whose unread part is damaged", async () => {
    // A segment each, so that one of them can be left unread.
    const large = ["one", "other"].map((name) =>
      sample("v1", "ConfigMap", `shop/${name}`, { data: { noise: "x".repeat(1 << 20) } }),
    );
    const objects = [sample("v1", "Namespace", "shop"), ...large];
    await restored(kube, await archiveOf(objects));
    await kube.request({ method: "DELETE", path: "/api/v1/namespaces/shop/configmaps/other" });
    kube.writes.length = 0;
    const damaged = await archiveOf(objects, (tar) => {
      tar[40]! ^= 1;
    });
    await assert.rejects(restored(kube, damaged, {}, { name: "r2" }), {
      kind: "corrupt",
      message: /segment 0 differs/,
    });
    assert.deepEqual(kube.writes, []);
  });

  it("tells of its progress", async () => {
    const seen: string[] = [];
    await restored(kube, await archiveOf(shop), {}, { progress: (done, total) => seen.push(`${done}/${total}`) });
    assert.deepEqual(
      seen,
      shop.map((_, index) => `${index + 1}/${shop.length}`),
    );
  });
});

describe("what exists", () => {
  const items = [
    namespace,
    sample("v1", "ConfigMap", "shop/a", { data: { x: "1", y: "2" } }),
    sample("v1", "ConfigMap", "shop/b", { data: { x: "1" } }),
  ];
  const path = "/api/v1/namespaces/shop/configmaps/a";

  async function drifted() {
    const archive = await archiveOf(items);
    await restored(kube, archive);
    await live(path, "PATCH", { data: { x: "drifted", y: null, z: "3" }, metadata: { labels: { own: "label" } } });
    return archive;
  }

  it("and differs is left, with a warning, by default", async () => {
    const { result, lines } = await restored(kube, await drifted());
    assert.deepEqual(kube.writes, []);
    assert.equal(result.phase, "Completed");
    assert.match(
      said(result.problems.warnings),
      /configmaps shop\/a: exists and differs; use --existing-resource-policy update/,
    );
    assert.equal(lines.filter((line) => line.includes("exists, equal")).length, 2);
  });

  it("and differs is made what the backup says by one patch, under update", async () => {
    const archive = await drifted();
    const { result } = await restored(kube, archive, { existingResourcePolicy: "update" }, { name: "r2" });
    assert.deepEqual(kube.writes, ["PATCH v1/namespaces/shop/configmaps/a"]);
    assert.deepEqual([result.counts.updated, result.problems.warnings], [1, []]);
    const object = await live(path);
    assert.deepEqual(object.data, { x: "1", y: "2" });
    assert.deepEqual(object.metadata.labels, { "velero.io/backup-name": "b", "velero.io/restore-name": "r2" });
  });

  it("is patched anew when it changes in between, and never blindly", async () => {
    const archive = await drifted();
    let once = true;
    await intercepted((request, next) => {
      if (request.method !== "PATCH" || !once) return undefined;
      once = false;
      return next({ ...request, body: '{"data":{"other":"writer"}}' }).then(() => next());
    });
    const { result } = await restored(kube, archive, { existingResourcePolicy: "update" });
    assert.equal(result.counts.updated, 1);
    assert.deepEqual((await live(path)).data, { x: "1", y: "2" });
  });

  it("and was patched by an attempt whose answer got lost is updated", async () => {
    const archive = await drifted();
    await intercepted((request, next) =>
      request.method === "PATCH"
        ? next().then(() => answer(409, { kind: "Status", reason: "Conflict" }, { attempts: 2 }))
        : undefined,
    );
    const { result } = await restored(kube, archive, { existingResourcePolicy: "update" });
    assert.deepEqual([result.counts.updated, kube.writes.length], [1, 1]);
  });

  it("and can't be changed is a warning with the server's words, anything else an error", async () => {
    for (const [status, counted] of [
      [422, "skipped"],
      [403, "failed"],
    ] as const) {
      const archive = await drifted();
      await intercepted((request) =>
        request.method === "PATCH" ? answer(status, { kind: "Status", message: "field is immutable" }) : undefined,
      );
      const { lines, result } = await restored(kube, archive, { existingResourcePolicy: "update" });
      assert.match(lines.join("\n"), new RegExp(`${counted} configmaps shop/a: .*field is immutable`));
      assert.equal(result.phase, status === 422 ? "Completed" : "PartiallyFailed");
    }
  });

  it("gets the node port that is asked for, and keeps those that aren't", async () => {
    const service = (ports: object[]) => sample("v1", "Service", "shop/web", { spec: { type: "NodePort", ports } });
    const ports = (object: KubernetesObject) =>
      (object.spec as { ports: { port: number; nodePort: number }[] }).ports.map(
        ({ port, nodePort }) => `${port}:${nodePort}`,
      );
    const path = "/api/v1/namespaces/shop/services/web";
    const http = { name: "http", port: 80, nodePort: 30_080 };
    const update = { preserveNodePorts: true, existingResourcePolicy: "update" as const };
    await restored(
      kube,
      await archiveOf([
        namespace,
        service([
          { ...http, nodePort: 31_000 },
          { name: "more", port: 81 },
        ]),
      ]),
      update,
    );
    const more = ports(await live(path))[1];

    const archive = await archiveOf([namespace, service([http, { name: "more", port: 81 }])]);
    const left = await restored(kube, archive, { preserveNodePorts: true });
    assert.match(left.lines.join("\n"), /services shop\/web: exists and differs/);
    const { result } = await restored(kube, archive, update);
    assert.equal(result.counts.updated, 1);
    assert.deepEqual(ports(await live(path)), ["80:30080", more]);
    const again = await restored(kube, archive, update);
    assert.deepEqual([kube.writes, again.result.counts.skipped], [[], 2]);
    const unasked = await restored(kube, archive, { existingResourcePolicy: "update" });
    assert.deepEqual([kube.writes, unasked.result.counts.skipped], [[], 2]);
  });

  it("gets what a ServiceAccount lacks, under any policy, and is never overwritten", async () => {
    const account = {
      imagePullSecrets: [{ name: "registry" }],
      metadata: { annotations: { role: "backup" } } as unknown as KubernetesObject["metadata"],
    };
    const archive = await archiveOf([namespace, sample("v1", "ServiceAccount", "shop/default", account)]);
    const first = await restored(kube, archive);
    assert.equal(first.result.counts.updated, 1);
    await live("/api/v1/namespaces/shop/serviceaccounts/default", "PATCH", {
      metadata: { annotations: { role: "live" } },
    });
    const second = await restored(kube, archive);
    assert.deepEqual(kube.writes, []);
    assert.deepEqual([second.result.counts.skipped, second.result.problems.warnings], [2, []]);
    assert.deepEqual((await live("/api/v1/namespaces/shop/serviceaccounts/default")).imagePullSecrets, [
      { name: "registry" },
    ]);
  });

  it("is left to its controller where that is there: nothing is made twice", async () => {
    const archive = await archiveOf(shop);
    await restored(kube, archive);
    await live("/api/v1/namespaces/shop/pods/web-1-a", "DELETE");
    await live("/apis/apps/v1/namespaces/shop/replicasets/web-1", "DELETE");
    const { lines } = await restored(kube, archive);
    assert.deepEqual(kube.writes, []);
    assert.deepEqual(
      lines.filter((line) => line.includes("makes what it needs")),
      [
        "skipped pods shop/web-1-a: Deployment web exists and makes what it needs",
        "skipped replicasets.apps shop/web-1: Deployment web exists and makes what it needs",
      ],
    );
  });

  it("and is being deleted is said, not taken for restored", async () => {
    const archive = await drifted();
    await intercepted((request, next) =>
      request.method === undefined && request.path.endsWith("/configmaps")
        ? next().then((response) => ({
            ...response,
            body: Buffer.from(
              response.body.toString().replace('"name":"b"', '"name":"b","deletionTimestamp":"2026-01-01T00:00:00Z"'),
            ),
          }))
        : undefined,
    );
    const { lines } = await restored(kube, archive);
    assert.match(lines.join("\n"), /blocked configmaps shop\/b: it is being deleted/);
  });
});

describe("owners", () => {
  it("that exist in the target lend their UID", async () => {
    await live("/api/v1/namespaces", "POST", { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } });
    const held = await live("/api/v1/namespaces/shop/configmaps", "POST", {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "o" },
    });
    await restored(
      kube,
      await archiveOf([
        sample("v1", "ConfigMap", "shop/o", owner(1)),
        sample("v1", "Secret", "shop/s", ownedBy("ConfigMap", "o", 1)),
      ]),
    );
    assert.deepEqual(references(await live("/api/v1/namespaces/shop/secrets/s")), [
      { kind: "ConfigMap", name: "o", uid: held.metadata.uid },
    ]);
  });

  it("that aren't restored are left out, and that is said without a warning", async () => {
    const { lines, result } = await restored(
      kube,
      await archiveOf([sample("v1", "Secret", "shop/s", ownedBy("Widget", "gone", 1))]),
    );
    assert.deepEqual(lines, [
      "created namespaces shop: made blank: the backup doesn't have it",
      "created secrets shop/s: without its owner Widget gone, which isn't restored",
    ]);
    assert.deepEqual(result.problems.warnings, []);
    assert.equal(references(await live("/api/v1/namespaces/shop/secrets/s")), undefined);
  });

  it("that are being deleted own nothing of what is restored, or it would be deleted with them", async () => {
    const items = [
      namespace,
      sample("v1", "ConfigMap", "shop/o", {
        metadata: { uid: uid(1), finalizers: ["example.com/hold"] } as KubernetesObject["metadata"],
      }),
      sample("v1", "Secret", "shop/s", ownedBy("ConfigMap", "o", 1)),
    ];
    const archive = await archiveOf(items);
    await restored(kube, archive);
    await live("/api/v1/namespaces/shop/secrets/s", "DELETE");
    await live("/api/v1/namespaces/shop/configmaps/o", "DELETE");
    const { lines } = await restored(kube, archive);
    assert.match(lines.join("\n"), /blocked configmaps shop\/o: it is being deleted/);
    assert.match(lines.join("\n"), /created secrets shop\/s: without its owner ConfigMap o/);
    assert.equal(references(await live("/api/v1/namespaces/shop/secrets/s")), undefined);
  });

  it("in a ring don't hang", async () => {
    const ring = [
      sample("v1", "ConfigMap", "shop/a", ownedBy("ConfigMap", "b", 2, { uid: uid(1) })),
      sample("v1", "ConfigMap", "shop/b", ownedBy("ConfigMap", "a", 1, { uid: uid(2) })),
    ];
    const { result } = await restored(kube, await archiveOf(ring));
    assert.equal(result.counts.created, 3);
    const [a, b] = [
      await live("/api/v1/namespaces/shop/configmaps/a"),
      await live("/api/v1/namespaces/shop/configmaps/b"),
    ];
    assert.equal(references(a), undefined);
    assert.deepEqual(references(b), [{ kind: "ConfigMap", name: "a", uid: a.metadata.uid }]);
  });

  it("of definitions and Namespaces put off all that needs those", async () => {
    const owning = sample("v1", "ConfigMap", "tenants/t", owner(9));
    const items = [
      {
        ...definition,
        metadata: { ...definition.metadata, ...ownedBy("ConfigMap", "t", 9).metadata },
      } as KubernetesObject,
      owning,
      ...shop.slice(1, 7),
    ];
    const { result } = await restored(kube, await archiveOf(items));
    assert.deepEqual([result.phase, result.counts.blocked, result.counts.failed], ["Completed", 0, 0]);
    assert.ok(
      kube.writes.findIndex((write) => write.endsWith("definitions")) >
        kube.writes.indexOf("POST v1/namespaces/tenants/configmaps"),
    );
  });
});

describe("what is selected", () => {
  const items = [
    ...shop,
    sample("v1", "Namespace", "empty"),
    sample("scheduling.k8s.io/v1", "PriorityClass", "high", { value: 1 }),
    sample("scheduling.k8s.io/v1", "PriorityClass", "unused", { value: 2 }),
    sample("v1", "PersistentVolume", "pv", {
      spec: { persistentVolumeReclaimPolicy: "Retain", claimRef: { namespace: "data", name: "claim" } },
      status: { phase: "Bound" },
    }),
    sample("v1", "PersistentVolumeClaim", "data/claim", { spec: { volumeName: "pv" } }),
    sample("v1", "Pod", "data/db", {
      metadata: { labels: { app: "db" } } as unknown as KubernetesObject["metadata"],
      spec: { priorityClassName: "high", volumes: [{ name: "d", persistentVolumeClaim: { claimName: "claim" } }] },
    }),
  ];
  const cases: [what: string, spec: object, created: string[]][] = [
    [
      "one namespace, with what it can't be without",
      { includedNamespaces: ["data"] },
      [
        "namespaces data",
        "persistentvolumeclaims data/claim",
        "persistentvolumes pv",
        "pods data/db",
        "priorityclasses.scheduling.k8s.io high",
      ],
    ],
    [
      "what a label selects, with what it can't be without",
      { labelSelector: { matchLabels: { app: "db" } } },
      [
        "namespaces data",
        "persistentvolumeclaims data/claim",
        "persistentvolumes pv",
        "pods data/db",
        "priorityclasses.scheduling.k8s.io high",
      ],
    ],
    [
      "what one of several selectors selects",
      { orLabelSelectors: [{ matchLabels: { app: "nothing" } }, { matchLabels: { app: "db" } }] },
      [
        "namespaces data",
        "persistentvolumeclaims data/claim",
        "persistentvolumes pv",
        "pods data/db",
        "priorityclasses.scheduling.k8s.io high",
      ],
    ],
    [
      "single objects, named as kubectl does",
      { includedItems: ["data/po/db", "priorityclass/unused"] },
      [
        "namespaces data",
        "persistentvolumeclaims data/claim",
        "persistentvolumes pv",
        "pods data/db",
        "priorityclasses.scheduling.k8s.io high",
        "priorityclasses.scheduling.k8s.io unused",
      ],
    ],
    [
      "no cluster-scoped objects",
      { includedNamespaces: ["data"], includeClusterResources: false },
      ["namespaces data", "persistentvolumeclaims data/claim", "pods data/db"],
    ],
    [
      "custom resources, with their definition",
      { includedResources: ["Widget"] },
      [
        "customresourcedefinitions.apiextensions.k8s.io widgets.example.com",
        "namespaces shop",
        "widgets.example.com shop/w",
      ],
    ],
    [
      "resources by short name, namespaces by glob",
      { includedNamespaces: ["sh*"], includedResources: ["cm", "svc"] },
      ["configmaps shop/settings", "namespaces shop", "services shop/web"],
    ],
    [
      "cluster-scoped objects in spite of excluded namespaces",
      { excludedNamespaces: ["shop", "data"] },
      [
        "customresourcedefinitions.apiextensions.k8s.io widgets.example.com",
        "namespaces empty",
        "persistentvolumes pv",
        "priorityclasses.scheduling.k8s.io high",
        "priorityclasses.scheduling.k8s.io unused",
      ],
    ],
    [
      "nothing that is only skipped, not even its namespace",
      { includedNamespaces: ["shop"], includedResources: ["configmaps"], labelSelector: { matchLabels: { a: "b" } } },
      [],
    ],
  ];
  for (const [what, spec, created] of cases) {
    it(what, async () => {
      const { lines } = await restored(kube, await archiveOf(items), spec);
      const made = lines
        .filter((line) => line.startsWith("created "))
        .map((line) => line.split(" ").slice(1, 3).join(" ").replace(/:$/, ""));
      assert.deepEqual(made.sort(), created);
    });
  }

  it("and only needed is neither changed nor warned about where it exists", async () => {
    const archive = await archiveOf(items);
    await restored(kube, archive, { includedNamespaces: ["data"] });
    await live("/apis/scheduling.k8s.io/v1/priorityclasses/high", "PATCH", { value: 9 });
    const { result } = await restored(kube, archive, {
      includedNamespaces: ["data"],
      existingResourcePolicy: "update",
    });
    assert.deepEqual([kube.writes, result.problems.warnings], [[], []]);
  });

  it("tells of what the filters name and the backup doesn't hold", async () => {
    const archive = await archiveOf(items);
    const problems = async (spec: object) => {
      const { warnings, errors } = (await restored(kube, archive, spec)).result.problems;
      return { warnings: warnings.map(({ message }) => message), errors: errors.map(({ message }) => message) };
    };
    const none = { includedNamespaces: ["shop", "da*"], includedResources: ["cm", "Widget"] };
    assert.deepEqual(await problems(none), { warnings: [], errors: [] });
    const includes = { includedNamespaces: ["shop", "shopp", "x*"], includedResources: ["cm", "confmaps", "*.io"] };
    assert.deepEqual(await problems(includes), {
      warnings: [],
      errors: [
        'includedNamespaces: the backup doesn\'t hold "shopp"',
        'includedNamespaces: the backup doesn\'t hold "x*"',
        'includedResources: the backup doesn\'t hold "confmaps"',
      ],
    });
    const excludes = { excludedNamespaces: ["shpo"], excludedResources: ["secrtes"] };
    assert.deepEqual((await problems(excludes)).warnings, [
      'excludedNamespaces: the backup doesn\'t hold "shpo"',
      'excludedResources: the backup doesn\'t hold "secrtes"',
    ]);
    assert.deepEqual((await problems({ labelSelector: { matchLabels: { no: "one" } } })).warnings, [
      "the backup holds nothing that the filters select: nothing is restored",
    ]);
  });

  it("refuses to map a namespace that the backup doesn't hold, before anything is written", async () => {
    const mapping = { namespaceMapping: { shopp: "copy" } };
    await assert.rejects(restored(kube, await archiveOf(items), mapping), {
      kind: "invalid",
      message: /doesn't hold a namespace "shopp"/,
      hint: "it holds shop, data, empty",
    });
    assert.deepEqual(kube.writes, []);
  });

  it("refuses specs that make no sense", async () => {
    const archive = await archiveOf([]);
    for (const [spec, message] of [
      [{ includedResources: ["nodes"] }, /nodes are never restored/],
      [{ includedNamespaces: ["a"], excludedNamespaces: ["a"] }, /both/],
      [{ existingResourcePolicy: "replace" as "none" }, /existingResourcePolicy is "replace"/],
      [{ namespaceMapping: { a: "B" } }, /can't be a namespace's name/],
      [{ namespaceMapping: { a: "a" } }, /maps "a" to itself/],
      [{ labelSelector: {}, orLabelSelectors: [{ matchLabels: { a: "b" } }] }, /can't be given together/],
      [{ includedItems: ["shop"] }, /"shop" names no object/],
    ] as const) {
      await assert.rejects(restored(kube, archive, spec as object), { kind: "invalid", message });
    }
  });
});

describe("namespaceMapping", () => {
  it("restores into the other namespace, references and all", async () => {
    const { result } = await restored(kube, await archiveOf(shop), { namespaceMapping: { shop: "copy" } });
    assert.equal(result.phase, "Completed");
    const widget = await live("/apis/example.com/v1/namespaces/copy/widgets/w");
    assert.equal(references(await live("/api/v1/namespaces/copy/secrets/made"))?.[0]?.uid, widget.metadata.uid);
    assert.equal((await live("/api/v1/namespaces/shop")).kind, "Status");
  });

  it("leaves an existing namespace as it is", async () => {
    await live("/api/v1/namespaces", "POST", {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: "copy", labels: { team: "theirs" } },
    });
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
    await live("/api/v1/persistentvolumes/pv", "PATCH", { spec: { mountOptions: ["hard"] } });
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
    await live("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/shop-view", "DELETE");
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

describe("claims and volumes", () => {
  const claim = sample("v1", "PersistentVolumeClaim", "shop/data", { spec: { volumeName: "pv" } });
  const volume = (policy: string) =>
    sample("v1", "PersistentVolume", "pv", {
      spec: { persistentVolumeReclaimPolicy: policy, claimRef: { namespace: "shop", name: "data", uid: "u" } },
    });

  it("of policy Retain find each other again", async () => {
    await restored(kube, await archiveOf([claim, volume("Retain")]));
    assert.deepEqual((await live("/api/v1/namespaces/shop/persistentvolumeclaims/data")).spec, { volumeName: "pv" });
    assert.deepEqual((await live("/api/v1/persistentvolumes/pv")).spec, {
      persistentVolumeReclaimPolicy: "Retain",
      claimRef: { namespace: "shop", name: "data" },
    });
  });

  it("of policy Delete come as a new volume, which is a warning", async () => {
    const { lines, result } = await restored(kube, await archiveOf([claim, volume("Delete")]));
    assert.deepEqual(
      result.problems.warnings.map(({ name, message }) => [name, message]),
      [["data", "its volume pv isn't restored: it gets a new, empty one"]],
    );
    assert.match(lines.join("\n"), /skipped persistentvolumes pv: its data isn't in the backup/);
    assert.match(
      lines.join("\n"),
      /created persistentvolumeclaims shop\/data: its volume pv isn't restored: it gets a new, empty one/,
    );
    assert.deepEqual((await live("/api/v1/namespaces/shop/persistentvolumeclaims/data")).spec, {});
  });

  it("keep their reclaim policy when they are freed, whatever the backup says", async () => {
    const archive = await archiveOf([claim, volume("Delete")]);
    await live("/api/v1/persistentvolumes", "POST", { ...volume("Retain"), metadata: { name: "pv" } });
    await live("/api/v1/persistentvolumes/pv/status", "PATCH", { status: { phase: "Released" } });
    const { result } = await restored(kube, archive, { existingResourcePolicy: "update" });
    assert.equal(result.counts.updated, 1);
    assert.deepEqual((await live("/api/v1/persistentvolumes/pv")).spec, {
      persistentVolumeReclaimPolicy: "Retain",
      claimRef: { namespace: "shop", name: "data" },
    });
  });

  it("are freed and updated in one, where they differ too", async () => {
    const archive = await archiveOf([claim, volume("Retain")]);
    const theirs = { ...volume("Retain"), metadata: { name: "pv", labels: { own: "label" } } };
    await live("/api/v1/persistentvolumes", "POST", theirs);
    await live("/api/v1/persistentvolumes/pv/status", "PATCH", { status: { phase: "Released" } });
    await restored(kube, archive, { existingResourcePolicy: "update" });
    const { spec, metadata } = await live("/api/v1/persistentvolumes/pv");
    assert.deepEqual(
      [(spec as { claimRef: object }).claimRef, metadata.labels?.own],
      [{ namespace: "shop", name: "data" }, undefined],
    );
  });

  it("of a deleted claim are bound to the restored one under update, and else warned about", async () => {
    const archive = await archiveOf([claim, volume("Retain")]);
    const path = "/api/v1/persistentvolumes/pv";
    await live("/api/v1/persistentvolumes", "POST", { ...volume("Retain"), metadata: { name: "pv" } });
    await live(`${path}/status`, "PATCH", { status: { phase: "Released" } });
    const left = await restored(kube, archive);
    assert.match(
      said(left.result.problems.warnings),
      /persistentvolumes pv: .*still belongs to the deleted claim shop\/data/,
    );
    await live("/api/v1/namespaces/shop/persistentvolumeclaims/data", "DELETE");

    const bound = await restored(kube, archive, { existingResourcePolicy: "update" });
    assert.deepEqual([bound.result.counts.updated, bound.result.problems.warnings], [1, []]);
    assert.deepEqual((await live(path)).spec, {
      persistentVolumeReclaimPolicy: "Retain",
      claimRef: { namespace: "shop", name: "data" },
    });
    assert.deepEqual((await live("/api/v1/namespaces/shop/persistentvolumeclaims/data")).spec, { volumeName: "pv" });
  });

  it("don't take a volume that serves another claim", async () => {
    await restored(kube, await archiveOf([volume("Retain")]));
    await restored(kube, await archiveOf([claim]), { namespaceMapping: { shop: "copy" } });
    assert.deepEqual((await live("/api/v1/namespaces/copy/persistentvolumeclaims/data")).spec, {});
  });
});

describe("what goes wrong", () => {
  it("with one object is in the report, and the rest is restored", async () => {
    await intercepted((request) =>
      request.method === "POST" && request.path.endsWith("/services")
        ? answer(403, { kind: "Status", message: "denied by policy" })
        : undefined,
    );
    const { result, lines } = await restored(kube, await archiveOf(shop));
    assert.deepEqual([result.phase, result.counts.failed, result.counts.created], ["PartiallyFailed", 1, 8]);
    assert.match(lines.join("\n"), /failed services shop\/web: .*denied by policy \(403\)/);
    assert.match(said(result.problems.errors), /denied by policy/);
  });

  it("where the target doesn't serve a resource blocks its items", async () => {
    const { result, lines } = await restored(
      kube,
      await archiveOf([sample("gone.example.com/v1", "Gadget", "shop/g"), namespace]),
    );
    assert.deepEqual([result.phase, result.counts.blocked], ["PartiallyFailed", 1]);
    assert.match(
      lines.join("\n"),
      /blocked gadgets.gone.example.com shop\/g: this cluster doesn't serve gadgets.gone.example.com as gone.example.com\/v1/,
    );
  });

  it("where the target serves another version says which", async () => {
    const { lines } = await restored(
      kube,
      await archiveOf([sample("apps/v1beta1", "Deployment", "shop/old"), namespace]),
    );
    assert.match(lines.join("\n"), /blocked deployments.apps shop\/old: .* as apps\/v1beta1, only as apps\/v1/);
  });

  it("where a list is refused blocks what it was for", async () => {
    await intercepted((request) =>
      request.path === "/api/v1/namespaces/shop/configmaps" && !request.method
        ? answer(403, { kind: "Status", message: "no" })
        : undefined,
    );
    const { result, lines } = await restored(kube, await archiveOf(shop));
    assert.equal(result.counts.blocked, 1);
    assert.match(lines.join("\n"), /blocked configmaps shop\/settings: the target's configmaps can't be listed/);
  });

  it("in the archive ends the run before anything is written", async () => {
    const archive = await archiveOf(shop, (tar) => tar.writeUInt8(tar.readUInt8(400) ^ 1, 400));
    await assert.rejects(restored(kube, archive), { kind: "corrupt" });
    assert.deepEqual(kube.writes, []);
  });

  it("when the server is gone ends the run", async () => {
    let gone = false;
    const unreachable = async () => {
      const { LifeboatError } = await import("../../core/errors.ts");
      throw new LifeboatError("unreachable", "connection refused");
    };
    await intercepted((request) => {
      gone ||= request.method === "POST" && request.path.endsWith("/secrets");
      return gone ? unreachable() : undefined;
    });
    await assert.rejects(restored(kube, await archiveOf(shop)), { kind: "unreachable" });
  });

  it("by cancelling ends the run with the reason, and nothing is sent any more", async () => {
    const controller = new AbortController();
    await intercepted((request) => {
      if (request.path.endsWith("/widgets")) controller.abort(new Error("enough"));
      return undefined;
    });
    await assert.rejects(restored(kube, await archiveOf(shop), {}, { signal: controller.signal }), /enough/);
    assert.ok(!kube.writes.some((write) => write.endsWith("/pods")));
  });

  it("between a create and its answer is found out: the object is there, and it is ours", async () => {
    await intercepted((request, next) =>
      request.method === "POST" && request.path.endsWith("/services")
        ? next().then(() => answer(409, { kind: "Status", reason: "AlreadyExists" }, { attempts: 2 }))
        : undefined,
    );
    const { result } = await restored(kube, await archiveOf(shop));
    assert.deepEqual([result.counts.created, result.problems.warnings], [9, []]);
  });

  it("when a controller is faster plans the item again", async () => {
    await intercepted((request, next) => {
      if (request.method !== "POST" || !request.path.endsWith("/services")) return undefined;
      return next({ ...request, body: String(request.body).replace('"port":80', '"port":81') }).then(() => next());
    });
    const { result } = await restored(kube, await archiveOf(shop));
    assert.match(said(result.problems.warnings), /services shop\/web: exists and differs/);
  });

  it("with a definition keeps what needs it from being tried", async () => {
    const unready = async (response: Awaited<ReturnType<Kube["request"]>>) => {
      const list = JSON.parse(response.body.toString());
      for (const { status } of list.items)
        for (const condition of status.conditions) if (condition.type === "NamesAccepted") condition.status = "False";
      return { ...response, body: Buffer.from(JSON.stringify(list)) };
    };
    await intercepted((request, next) => {
      if (!request.method && request.path.endsWith("/customresourcedefinitions")) return next().then(unready);
      if (!request.method && request.path === "/apis")
        return next().then((response) => ({
          ...response,
          body: Buffer.from(response.body.toString().replaceAll("example.com", "hidden.com")),
        }));
      return undefined;
    });
    const { result, lines } = await restored(kube, await archiveOf(shop));
    assert.match(said(result.problems.errors), /the names of widgets.example.com were not accepted/);
    assert.match(lines.join("\n"), /blocked widgets.example.com shop\/w: this cluster doesn't serve/);
    assert.match(lines.join("\n"), /created secrets shop\/made: without its owner Widget w/);
  });

  it("with a definition that could not be created is told once, without waiting for it", async () => {
    await intercepted((request) =>
      request.method === "POST" && request.path.endsWith("/customresourcedefinitions")
        ? answer(403, { kind: "Status", message: "denied by policy" })
        : undefined,
    );
    const { result } = await restored(kube, await archiveOf([definition, ...shop.slice(1, 4)]), {}, { waitMs: 60_000 });
    assert.equal(result.problems.errors.length, 1);
    assert.match(said(result.problems.errors), /widgets.example.com: .*denied by policy/);
  });

  it("with an item's JSON is told of that item, and the rest is restored", async () => {
    const broken: [name: string, flaw: object, message: RegExp][] = [
      ["a", { metadata: null }, /its JSON has no metadata.name/],
      ["b", { metadata: { namespace: "shop" } }, /its JSON has no metadata.name/],
      ["c", { metadata: { name: "c", labels: "x" } }, /its metadata.labels are no map/],
      [
        "d",
        { metadata: { name: "d", ownerReferences: [null] } },
        /its metadata.ownerReferences are no list of objects/,
      ],
    ];
    const kinds = ["Pod", "Service", "PersistentVolumeClaim", "ConfigMap"];
    const items = kinds.flatMap((kind) =>
      broken.map(([name, flaw]) => foreign(sample("v1", kind, `shop/${name}`), flaw)),
    );
    const { result } = await restored(kube, await archiveOf([namespace, ...items]), { includedNamespaces: ["shop"] });
    assert.deepEqual([result.counts.created, result.counts.blocked], [1, items.length]);
    for (const [name, , message] of broken) {
      for (const problem of result.problems.errors.filter((problem) => problem.name === name))
        assert.match(problem.message, message);
    }
  });

  it("with the list of autoscalers leaves replicas alone, and warns", async () => {
    const web = (replicas: number) => sample("apps/v1", "Deployment", "shop/web", { spec: { replicas } });
    await restored(kube, await archiveOf([namespace, web(7)]));
    await intercepted((request) =>
      !request.method && request.path.endsWith("/horizontalpodautoscalers")
        ? answer(403, { kind: "Status", message: "no" })
        : undefined,
    );
    const { result } = await restored(kube, await archiveOf([namespace, web(1)]), { existingResourcePolicy: "update" });
    assert.deepEqual([kube.writes, result.counts.skipped], [[], 2]);
    assert.match(
      said(result.problems.warnings),
      /^replicas are left as they are .*horizontalpodautoscalers.autoscaling can't be listed/,
    );
  });
});

it("interrupted anywhere and run again ends like one that wasn't", async () => {
  /** Everything the shop consists of, and who owns it. */
  const state = async () => {
    const found: string[] = [];
    for (const path of [
      "api/v1/namespaces/shop",
      "apis/apps/v1/namespaces/shop",
      "apis/example.com/v1/namespaces/shop",
    ]) {
      for (const kind of ["configmaps", "pods", "secrets", "services", "deployments", "replicasets", "widgets"]) {
        const { items = [] } = (await live(`/${path}/${kind}`)) as unknown as { items?: KubernetesObject[] };
        for (const { kind, metadata } of items) {
          found.push(`${kind} ${metadata.name} ${metadata.ownerReferences?.map((owner) => owner.name) ?? ""}`);
        }
      }
    }
    return found.sort();
  };
  const archive = await archiveOf(shop);
  await restored(kube, archive);
  const expected = await state();
  assert.equal(expected.length, 8);

  for (let writes = 1; writes <= 9; writes++) {
    await kube.close();
    await server.stop();
    server = await startApiServer();
    const interrupt = new AbortController();
    let sent = 0;
    kube = watchedKube(server.kubeconfig, (request) => {
      if (request.method === "POST" && ++sent > writes) interrupt.abort(new Error("interrupted"));
      return undefined;
    });
    await assert.rejects(restored(kube, archive, {}, { signal: interrupt.signal }), /interrupted/);
    sent = Number.NEGATIVE_INFINITY;
    const { result } = await restored(kube, archive);
    assert.deepEqual([result.phase, result.problems.warnings], ["Completed", []]);
    assert.deepEqual(await state(), expected, `after ${writes} writes`);
  }
});

describe("a namespace that is being deleted", () => {
  const ending =
    (ends: () => boolean): Intercept =>
    (request, next) => {
      if (request.method || !/^\/api\/v1\/namespaces(\/shop)?$/.test(request.path) || ends()) return undefined;
      const mark = '"name":"shop","deletionTimestamp":"2026-01-01T00:00:00Z"';
      return next().then((response) => ({
        ...response,
        body: Buffer.from(response.body.toString().replaceAll('"name":"shop"', mark)),
      }));
    };
  const scaler = { scaleTargetRef: { kind: "Deployment", name: "web" } };
  const items = [
    namespace,
    sample("v1", "ConfigMap", "shop/a"),
    sample("autoscaling/v2", "HorizontalPodAutoscaler", "shop/web", { spec: scaler }),
  ];
  const make = () =>
    live("/api/v1/namespaces", "POST", { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } });

  it("is waited for before anything else is listed, and made again with all that was in it", async () => {
    let polls = 0;
    await restored(kube, await archiveOf(items));
    await intercepted((request, next) => {
      if (request.path === "/api/v1/namespaces/shop" && !request.method && ++polls === 2) {
        return kube.request({ method: "DELETE", path: request.path }).then(() => answer(404, {}));
      }
      return ending(() => polls >= 2)(request, next);
    });
    const { result } = await restored(kube, await archiveOf(items));
    assert.deepEqual([result.phase, result.counts.created], ["Completed", 3]);
  });

  it("for too long blocks what belongs into it", async () => {
    await make();
    await intercepted(ending(() => false));
    const { result, lines } = await restored(kube, await archiveOf(items), {}, { waitMs: 200 });
    assert.deepEqual([result.phase, result.counts.blocked], ["PartiallyFailed", 3]);
    assert.match(
      lines.join("\n"),
      /blocked configmaps shop\/a: namespace shop is being deleted since 2026-01-01T00:00:00Z/,
    );
  });
});
