import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import fc from "fast-check";
import { startApiServer } from "../../core/apiserver/server.ts";
import type { KubernetesObject } from "../../core/archive/item.ts";
import type { Bucket } from "../../core/ports.ts";
import { type DiffDocument, type DiffRequest, diff } from "../../core/reading/diff.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { backedUp } from "./integrity-sample.ts";
import { putBackup, putVelero, type SampleBackup, WIDGETS } from "./location-sample.ts";
import { refusal } from "./refusal.ts";
import { answer, type Intercept, sample, watchedKube } from "./restore-sample.ts";

const SYMBOLS = { added: "+", removed: "-", changed: "~" };

/** A diff in short: "~ pods shop/web: spec.nodeName", and its warnings. */
function told({ objects, warnings }: DiffDocument): string[] {
  const lines = objects.map(({ change, resource, namespace, name, diff }) => {
    const fields = diff && `: ${diff.map(({ path, from, to }) => `${path} ${from ?? ""}>${to ?? ""}`).join()}`;
    return `${SYMBOLS[change]} ${resource} ${namespace && `${namespace}/`}${name}${fields ?? ""}`;
  });
  return [...lines, ...warnings.map(({ message }) => `! ${message}`)];
}

async function locationOf(
  a: KubernetesObject[],
  b: KubernetesObject[],
  of: Record<"a" | "b", SampleBackup> = { a: {}, b: {} },
) {
  const bucket = memoryBucket();
  await putBackup(bucket, "a", a, of.a);
  await putBackup(bucket, "b", b, of.b);
  return bucket;
}

const web = (more: Partial<KubernetesObject> = {}) =>
  sample("apps/v1", "Deployment", "shop/web", { spec: { replicas: 1 }, ...more });
const scaler = sample("autoscaling/v2", "HorizontalPodAutoscaler", "shop/web", {
  spec: { scaleTargetRef: { kind: "Deployment", name: "web" } },
});
const lease = (renewTime: string) => sample("coordination.k8s.io/v1", "Lease", "shop/leader", { spec: { renewTime } });
const service = (nodePort: number) =>
  sample("v1", "Service", "shop/web", { spec: { type: "NodePort", ports: [{ name: "http", port: 80, nodePort }] } });
/** API servers send no map without a label. */
const odd = (kind: "Deployment" | "ConfigMap", more: object) =>
  sample(kind === "ConfigMap" ? "v1" : "apps/v1", kind, "shop/odd", {
    metadata: { name: "odd", namespace: "shop", labels: {} },
    ...more,
  });
const secret = (password: string, annotations = {}) =>
  sample("v1", "Secret", "shop/db", { metadata: { name: "db", namespace: "shop", annotations }, data: { password } });

describe("a diff of two backups", () => {
  const cases: [what: string, a: KubernetesObject[], b: KubernetesObject[], told: string[]][] = [
    ["nothing", [web()], [web()], []],
    ["added and removed", [sample("v1", "Node", "one")], [web()], ["+ deployments.apps shop/web", "- nodes one"]],
    ["a field", [web()], [web({ spec: { replicas: 2 } })], ["~ deployments.apps shop/web: spec.replicas 1>2"]],
    [
      "what servers write",
      [web({ status: { replicas: 1 } })],
      [
        web({
          status: {},
          metadata: { name: "web", namespace: "shop", uid: "other", generation: 7, resourceVersion: "9" },
        }),
      ],
      [],
    ],
    ["what controllers write, which likenesses don't tell", [lease("2026-01-01")], [lease("2026-01-02")], []],
    ["replicas that an autoscaler decides on", [web(), scaler], [web({ spec: { replicas: 9 } }), scaler], []],
    [
      "replicas that one decided on before",
      [web(), scaler],
      [web({ spec: { replicas: 9 } })],
      ["- horizontalpodautoscalers.autoscaling shop/web"],
    ],
    ["a node port", [service(30001)], [service(30002)], ["~ services shop/web: spec.ports[http].nodePort 30001>30002"]],
    [
      "a Secret",
      [secret("YQ==")],
      [secret("Yg==", { x: "Yg==" })],
      ["~ secrets shop/db: data.password (hidden)>(hidden),metadata.annotations.x >(hidden)"],
    ],
    [
      "objects that have no likeness",
      [odd("Deployment", { status: 1 }), odd("ConfigMap", { data: 1 })],
      [odd("Deployment", { status: 2 }), odd("ConfigMap", { data: 2 })],
      ["~ configmaps shop/odd: data 1>2"],
    ],
  ];
  for (const [what, a, b, lines] of cases) {
    it(`tells of ${what}`, async () => {
      const document = await diff(await locationOf(a, b), { from: "a", to: "b", details: true });
      assert.deepEqual(told(document), lines);
      const { added, removed, changed, same } = document.counts;
      assert.deepEqual([added + changed + same, removed + changed + same], [b.length, a.length]);
    });
  }

  it("says which two states it is of, and no fields unless asked", async () => {
    const bucket = await locationOf([web()], [web({ spec: {} })], { a: {}, b: { at: "2026-11-02T00:00:00Z" } });
    assert.deepEqual(await diff(bucket, { from: "a", to: "b" }), {
      ...{ schemaVersion: 1, kind: "diff", location: "memory://" },
      from: { backup: "a", timestamp: "2026-11-01T00:00:00Z" },
      to: { backup: "b", timestamp: "2026-11-02T00:00:00Z" },
      counts: { added: 0, removed: 0, changed: 1, same: 0 },
      objects: [{ resource: "deployments.apps", namespace: "shop", name: "web", change: "changed" }],
      warnings: [],
    });
  });

  it("turned around says the same the other way", async () => {
    const kinds = [
      ["apps/v1", "Deployment"],
      ["v1", "ConfigMap"],
      ["v1", "Secret"],
    ] as const;
    const object = fc
      .tuple(
        fc.constantFrom(...kinds),
        fc.constantFrom("a/x", "a/y", "b/x"),
        fc.integer({ max: 2 }),
        fc.integer({ max: 2 }),
      )
      .map(([[apiVersion, kind], name, data, status]) =>
        sample(apiVersion, kind, name, { data: { data }, status: { status } }),
      );
    const id = ({ kind, metadata }: KubernetesObject) => `${kind} ${metadata.namespace}/${metadata.name}`;
    const state = fc.uniqueArray(object, { selector: id, maxLength: 8 });
    const turned = { added: "removed", removed: "added", changed: "changed" } as const;
    await fc.assert(
      fc.asyncProperty(state, state, async (a, b) => {
        const bucket = await locationOf(a, b);
        const [there, back, none] = await Promise.all([
          diff(bucket, { from: "a", to: "b" }),
          diff(bucket, { from: "b", to: "a" }),
          diff(bucket, { from: "a", to: "a" }),
        ]);
        assert.deepEqual(
          back.objects.map((one) => ({ ...one, change: turned[one.change] })),
          there.objects,
        );
        assert.deepEqual([none.objects, none.counts.same], [[], a.length]);
      }),
      { numRuns: 50 },
    );
  });

  it("reads Velero's backups too", async () => {
    const bucket = memoryBucket();
    await putVelero(bucket, "a", [web(), lease("1")]);
    await putBackup(bucket, "b", [web({ spec: { replicas: 2 } }), lease("2")]);
    assert.deepEqual(told(await diff(bucket, { from: "a", to: "b", details: true })), [
      "~ deployments.apps shop/web: spec.replicas 1>2",
    ]);
  });
});

describe("a diff of what was asked for", () => {
  let bucket: Bucket;
  before(async () => {
    const label = (app: string, name = "web") => ({ name, namespace: "shop", labels: { app } });
    bucket = await locationOf(
      [
        WIDGETS,
        sample("v1", "Node", "one"),
        web({ metadata: label("web") }),
        sample("v1", "ConfigMap", "blog/c", { data: { a: "1" } }),
      ],
      [
        WIDGETS,
        sample("v1", "Node", "two"),
        web({ metadata: label("shop"), spec: {} }),
        sample("v1", "ConfigMap", "blog/c", { data: { a: "2" } }),
        sample("example.com/v1", "Widget", "shop/gear", { metadata: label("gear", "gear") }),
      ],
    );
  });
  const ask = (request: Partial<DiffRequest>) => diff(bucket, { from: "a", to: "b", ...request });
  const cases: [request: Partial<DiffRequest>, told: string[]][] = [
    [{ filters: { includedNamespaces: ["bl*"] } }, ["~ configmaps blog/c"]],
    [{ filters: { excludedNamespaces: ["blog", "shop"] } }, ["- nodes one", "+ nodes two"]],
    [
      { filters: { includedNamespaces: ["shop"], includeClusterResources: true } },
      ["~ deployments.apps shop/web", "- nodes one", "+ nodes two", "+ widgets.example.com shop/gear"],
    ],
    [{ filters: { includedResources: ["wd", "cm"] } }, ["~ configmaps blog/c", "+ widgets.example.com shop/gear"]],
    [{ filters: { excludedResources: ["Widget", "no"] } }, ["~ configmaps blog/c", "~ deployments.apps shop/web"]],
    [{ filters: { labelSelector: { matchLabels: { app: "web" } } } }, ["~ deployments.apps shop/web"]],
    [{ filters: { labelSelector: { matchLabels: { app: "shop" } } } }, ["~ deployments.apps shop/web"]],
    [{ filters: { labelSelector: { matchLabels: { app: "gear" } } } }, ["+ widgets.example.com shop/gear"]],
    [{ item: "shop/deploy/web" }, ["~ deployments.apps shop/web: metadata.labels.app web>shop,spec.replicas 1>"]],
    [{ item: "no/one" }, ["- nodes one"]],
    [{ item: "shop/wd/gear" }, ["+ widgets.example.com shop/gear"]],
  ];
  for (const [request, lines] of cases) {
    it(JSON.stringify(request), async () => assert.deepEqual(told(await ask(request)), lines));
  }

  const refusals: [request: Partial<DiffRequest>, says: string][] = [
    [{ to: "none" }, 'missing | there is no backup "none" in memory:// | "lifeboat backup get" lists what there is'],
    [{ item: "shop/deploy/none" }, 'missing | backup "a" doesn\'t hold "shop/deploy/none" | it holds shop/deploy/web'],
    [
      { filters: { includedNamespaces: ["shopp"] } },
      'missing | neither of the two holds anything of the namespace "shopp" | did you mean shop?',
    ],
    [
      { filters: { includedResources: ["deploymnts"] } },
      'missing | neither of the two holds anything of the resource "deploymnts" | did you mean deployments?',
    ],
  ];
  for (const [request, says] of refusals) {
    it(`refuses ${JSON.stringify(request)}`, async () => assert.equal(await refusal(ask(request)), says));
  }
});

describe("what a backup doesn't tell is no change", () => {
  const objects = [web(), sample("v1", "ConfigMap", "blog/c"), sample("v1", "Node", "one"), secret("YQ==")];
  const cases: [what: string, held: KubernetesObject[], about: SampleBackup, told: string[]][] = [
    [
      "a namespace",
      [],
      { spec: { includedNamespaces: ["shop"] } },
      [
        "- deployments.apps shop/web",
        "- secrets shop/db",
        '! backup "b" doesn\'t tell whether 2 more objects were there: its filters leave them out',
      ],
    ],
    [
      "resources",
      [],
      { spec: { excludedResources: ["cm", "secrets"] } },
      [
        "- deployments.apps shop/web",
        "- nodes one",
        '! backup "b" doesn\'t tell whether 2 more objects were there: its filters leave them out',
      ],
    ],
    [
      "what failed",
      [web()],
      { errors: [{ message: "no" }] },
      ['! backup "b" doesn\'t tell whether 3 more objects were there: it is PartiallyFailed'],
    ],
    [
      "what a restore didn't touch",
      [web()],
      { labels: { "lifeboat/before-restore": "r" } },
      ['! backup "b" doesn\'t tell whether 3 more objects were there: it holds only what a restore was about to touch'],
    ],
  ];
  for (const [what, held, about, lines] of cases) {
    it(what, async () => {
      const bucket = await locationOf(objects, held, { a: {}, b: about });
      assert.deepEqual(told(await diff(bucket, { from: "a", to: "b" })), lines);
    });
  }

  it("Secrets that were left out", async () => {
    const bucket = await backedUp(objects, "a");
    await backedUp(objects, "b", bucket, { spec: { secrets: "omit" } });
    const document = await diff(bucket, { from: "a", to: "b" });
    assert.deepEqual(told(document), [
      '! backup "b" doesn\'t tell whether one more object was there: Secrets were left out of backup "b"',
    ]);
  });
});

describe("a diff with a cluster", () => {
  const objects = [
    WIDGETS,
    ...["shop", "blog"].map((name) => sample("v1", "Namespace", name)),
    web(),
    sample("v1", "ConfigMap", "blog/c", { data: { a: "1" } }),
    sample("example.com/v1", "Widget", "shop/gear"),
    secret("YQ=="),
  ];
  const live = [
    ...objects.filter(({ kind }) => kind !== "Secret" && kind !== "Deployment"),
    web({ spec: { replicas: 3 } }),
    sample("v1", "ConfigMap", "shop/new"),
    sample("v1", "Node", "new"),
  ];

  async function compared(
    request: Partial<DiffRequest>,
    { spec = {}, intercept }: { spec?: SampleBackup["spec"]; intercept?: Intercept } = {},
  ) {
    const bucket = await backedUp(objects, "a", undefined, { spec });
    const server = await startApiServer({ objects: live });
    const kube = watchedKube(server.kubeconfig, intercept);
    try {
      const document = await diff(bucket, { from: "a", to: { kube, name: "prod" }, ...request });
      assert.equal(document.to.cluster, "prod");
      return told(document);
    } finally {
      assert.deepEqual(kube.writes, []);
      await kube.close();
      await server.stop();
    }
  }

  it("tells what was added, removed and changed since", async () => {
    assert.deepEqual(await compared({ details: true }), [
      "+ configmaps shop/new",
      "~ deployments.apps shop/web: spec.replicas 1>3",
      "+ nodes new",
      "- secrets shop/db",
    ]);
  });

  it("tells of one object, which it gets", async () => {
    assert.deepEqual(await compared({ item: "shop/deploy/web" }), ["~ deployments.apps shop/web: spec.replicas 1>3"]);
    assert.deepEqual(await compared({ item: "no/new" }), ["+ nodes new"]);
    assert.deepEqual(await compared({ item: "shop/secret/db" }), ["- secrets shop/db"]);
    assert.match(await refusal(compared({ item: "shop/deploy/none" })), /^missing/);
  });

  it("lists only what the filters take", async () => {
    const lists: string[] = [];
    const intercept: Intercept = ({ path }) => {
      if (/configmaps|widgets|secrets/.test(path)) lists.push(path);
      return undefined;
    };
    const filters = { includedNamespaces: ["shop"], includedResources: ["cm", "wd"] };
    assert.deepEqual(await compared({ filters }, { intercept }), ["+ configmaps shop/new"]);
    assert.deepEqual(lists.sort(), [
      "/api/v1/namespaces/shop/configmaps",
      "/apis/example.com/v1/namespaces/shop/widgets",
    ]);
  });

  it("takes nothing for new or gone that the backup's filters left out or brought along", async () => {
    const lines = await compared(
      {},
      { spec: { includedNamespaces: ["shop"], labelSelector: { matchLabels: { none: "such" } } } },
    );
    assert.deepEqual(lines, [
      `! backup "a" doesn't tell whether 5 more objects were there: its filters leave them out`,
    ]);
    assert.deepEqual(await compared({}, { spec: { includedNamespaces: ["shop"] } }), [
      "+ configmaps shop/new",
      "~ deployments.apps shop/web",
      "- secrets shop/db",
    ]);
  });

  it("says what it may not list", async () => {
    const intercept: Intercept = ({ path }) =>
      /secrets$/.test(path) ? answer(403, { kind: "Status", message: "secrets is forbidden" }) : undefined;
    const lines = await compared({ filters: { includedResources: ["secrets"] } }, { intercept });
    assert.equal(lines.length, 1);
    assert.match(
      lines[0]!,
      /^! prod doesn't tell whether one more object was there: secrets can't be listed: .*forbidden/,
    );
  });
});
