import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { KubernetesObject } from "../../core/archive/item.ts";
import type { Kube } from "../../core/kube/client.ts";
import {
  answer,
  archiveOf,
  definition,
  type Intercept,
  namespace,
  restored,
  said,
  sample,
  shop,
} from "./restore-sample.ts";
import { restoreTarget } from "./restore-target.ts";

const { create, intercept, kube, live, renew } = restoreTarget();

/** An item of an archive whose JSON isn't what its path says. */
const foreign = (object: KubernetesObject, json: object) => ({ ...object, toJSON: () => ({ ...object, ...json }) });

describe("what goes wrong", () => {
  it("with one object is in the report, and the rest is restored", async () => {
    intercept((request) =>
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
    intercept((request) =>
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
    intercept((request) => {
      gone ||= request.method === "POST" && request.path.endsWith("/secrets");
      return gone ? unreachable() : undefined;
    });
    await assert.rejects(restored(kube, await archiveOf(shop)), { kind: "unreachable" });
  });

  it("by cancelling ends the run with the reason, and nothing is sent any more", async () => {
    const controller = new AbortController();
    intercept((request) => {
      if (request.path.endsWith("/widgets")) controller.abort(new Error("enough"));
      return undefined;
    });
    await assert.rejects(restored(kube, await archiveOf(shop), {}, { signal: controller.signal }), /enough/);
    assert.ok(!kube.writes.some((write) => write.endsWith("/pods")));
  });

  it("between a create and its answer is found out: the object is there, and it is ours", async () => {
    intercept((request, next) =>
      request.method === "POST" && request.path.endsWith("/services")
        ? next().then(() => answer(409, { kind: "Status", reason: "AlreadyExists" }, { attempts: 2 }))
        : undefined,
    );
    const { result } = await restored(kube, await archiveOf(shop));
    assert.deepEqual([result.counts.created, result.problems.warnings], [9, []]);
  });

  it("when a controller is faster plans the item again", async () => {
    intercept((request, next) => {
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
    intercept((request, next) => {
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
    intercept((request) =>
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
    kube.writes.length = 0;
    intercept((request) =>
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
    await renew();
    const interrupt = new AbortController();
    let sent = 0;
    intercept((request) => {
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
  it("is waited for before anything else is listed, and made again with all that was in it", async () => {
    let polls = 0;
    await restored(kube, await archiveOf(items));
    intercept((request, next) => {
      if (request.path === "/api/v1/namespaces/shop" && !request.method && ++polls === 2) {
        return kube.request({ method: "DELETE", path: request.path }).then(() => answer(404, {}));
      }
      return ending(() => polls >= 2)(request, next);
    });
    const { result } = await restored(kube, await archiveOf(items));
    assert.deepEqual([result.phase, result.counts.created], ["Completed", 3]);
  });

  it("for too long blocks what belongs into it", async () => {
    await create("/api/v1/namespaces", namespace);
    intercept(ending(() => false));
    const { result, lines } = await restored(kube, await archiveOf(items), {}, { waitMs: 200 });
    assert.deepEqual([result.phase, result.counts.blocked], ["PartiallyFailed", 3]);
    assert.match(
      lines.join("\n"),
      /blocked configmaps shop\/a: namespace shop is being deleted since 2026-01-01T00:00:00Z/,
    );
  });
});
