import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { IndexEntry } from "../../core/archive/index.ts";
import type { KubernetesObject } from "../../core/archive/item.ts";
import type { Archive } from "../../core/archive/reader.ts";
import {
  archiveOf,
  definition,
  namespace,
  ownedBy,
  owner,
  references,
  restored,
  sample,
  shop,
  uid,
} from "./restore-sample.ts";
import { restoreTarget } from "./restore-target.ts";

const { change, create, intercept, kube, live } = restoreTarget();

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
    intercept((request) => {
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

describe("owners", () => {
  it("that exist in the target lend their UID", async () => {
    await create("/api/v1/namespaces", namespace);
    const held = await create("/api/v1/namespaces/shop/configmaps", sample("v1", "ConfigMap", "shop/o"));
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
    await change("DELETE", "/api/v1/namespaces/shop/secrets/s");
    await change("DELETE", "/api/v1/namespaces/shop/configmaps/o");
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
