import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { answer, archiveOf, namespace, restored, said, sample, shop } from "./restore-sample.ts";
import { restoreTarget } from "./restore-target.ts";

const { change, intercept, kube, live } = restoreTarget();

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
    await change("PATCH", path, { data: { x: "drifted", y: null, z: "3" }, metadata: { labels: { own: "label" } } });
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

  const meanwhile: [what: string, patch: object, becomes: RegExp, x: string][] = [
    ["by what controllers write", { metadata: { finalizers: ["example.com/x"] } }, /^updated /, "1"],
    ["by another restore's label", { metadata: { labels: { "velero.io/restore-name": "other" } } }, /^updated /, "1"],
    ["in what matters", { data: { x: "others'" } }, /^blocked .*changed since it was listed/, "others'"],
    ["to what the backup says", { ...items[1], metadata: { labels: { own: null } } }, /^(skipped|updated) /, "1"],
  ];
  for (const [what, patch, becomes, x] of meanwhile)
    for (const [when, method] of [
      ["before it is read", undefined],
      ["between reading and writing it", "PATCH"],
    ] as const)
      it(`and is changed by others ${what}, ${when}, is overwritten only where nothing is lost`, async () => {
        const archive = await drifted();
        let once = true;
        intercept(async (request, next) => {
          if (request.path !== path || request.method !== method || !once) return next();
          once = false;
          await change("PATCH", path, {
            ...patch,
            ...("data" in patch && { data: { y: "2", z: null, ...patch.data! } }),
          });
          return next();
        });
        const { lines, result } = await restored(kube, archive, { existingResourcePolicy: "update" });
        const line = lines.find((one) => one.includes("shop/a")) ?? "";
        assert.match(line, becomes);
        assert.equal(result.phase, line.startsWith("blocked") ? "PartiallyFailed" : "Completed");
        assert.equal(((await live(path)).data as { x: string }).x, x);
      });

  it("and was changed by others after a patch whose answer got lost is ours, and what they did stays", async () => {
    const archive = await drifted();
    intercept(async (request, next) => {
      if (request.method !== "PATCH") return next();
      await next();
      await change("PATCH", path, { data: { x: "others'" } });
      return answer(409, { kind: "Status", reason: "Conflict" }, { attempts: 2 });
    });
    const { lines } = await restored(kube, archive, { existingResourcePolicy: "update" }, { name: "r2" });
    assert.match(lines.join("\n"), /updated configmaps shop\/a/);
    assert.equal(((await live(path)).data as { x: string }).x, "others'");
  });

  it("and only reads otherwise, since its definition was changed, is updated", async () => {
    const archive = await drifted();
    intercept(async (request, next) => {
      const response = await next();
      if (request.path !== path || request.method) return response;
      return { ...response, body: Buffer.from(response.body.toString().replace('"x"', '"default":"","x"')) };
    });
    const { result } = await restored(kube, archive, { existingResourcePolicy: "update" });
    assert.equal(result.counts.updated, 1);
  });

  it("and was patched by an attempt whose answer got lost is updated", async () => {
    const archive = await drifted();
    intercept((request, next) =>
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
      intercept((request) =>
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
    await change("PATCH", "/api/v1/namespaces/shop/serviceaccounts/default", {
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
    await change("DELETE", "/api/v1/namespaces/shop/pods/web-1-a");
    await change("DELETE", "/apis/apps/v1/namespaces/shop/replicasets/web-1");
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
    intercept((request, next) =>
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
