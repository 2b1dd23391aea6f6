import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { answer, archiveOf, type Intercept, restored, sample } from "./restore-sample.ts";
import { restoreTarget } from "./restore-target.ts";

const CONFIG_MAPS = "/api/v1/namespaces/shop/configmaps";
const backedUp = [sample("v1", "Namespace", "shop"), sample("v1", "ConfigMap", "shop/a", { data: { k: "backup" } })];
const liveMap = (metadata: object = {}) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: "a", ...metadata },
  data: { k: "live" },
});
const invalid = () => answer(422, { kind: "Status", reason: "Invalid", message: "field is immutable" });
const isDryRun = ({ query }: Parameters<Intercept>[0]) => query?.dryRun === "All";

describe("an object that can't be changed, under recreate", () => {
  const { create, intercept, kube, live } = restoreTarget();

  /** Restores over a ConfigMap that says something else, with patches refused as of an immutable field. */
  async function over(meddle: Intercept, metadata: Partial<KubernetesObject["metadata"]> = {}) {
    await create("/api/v1/namespaces", sample("v1", "Namespace", "shop"));
    await create(CONFIG_MAPS, liveMap(metadata));
    intercept((request, next) => (request.method === "PATCH" ? invalid() : meddle(request, next)));
    const { lines, result } = await restored(kube, await archiveOf(backedUp), { existingResourcePolicy: "recreate" });
    const deletes = kube.writes.filter((write) => write.startsWith("DELETE"));
    const { data } = (await live(`${CONFIG_MAPS}/a`)) as { data?: { k: string } };
    return { line: lines.find((line) => line.includes("configmaps")) ?? "", result, data: data?.k, deletes };
  }

  it("is deleted, alone, and created anew", async () => {
    let policy = "";
    const { line, data } = await over((request, next) => {
      if (request.method === "DELETE") policy = JSON.parse(String(request.body)).propagationPolicy;
      return next();
    });
    assert.match(line, /^recreated configmaps shop\/a/);
    assert.deepEqual([data, policy], ["backup", "Orphan"]);
  });

  it("is left where the server would not take the backup's either", async () => {
    const { line, data, deletes } = await over((request, next) =>
      request.method === "POST" && isDryRun(request) ? invalid() : next(),
    );
    assert.match(
      line,
      /^skipped configmaps shop\/a: .*it is not deleted, for what the backup holds would be refused too/,
    );
    assert.deepEqual([data, deletes], ["live", []]);
  });

  it("is left where its own controller would clean up", async () => {
    const { line, data, deletes } = await over((_, next) => next(), { finalizers: ["example.com/clean"] });
    assert.match(line, /^skipped .*its controller would clean up/);
    assert.deepEqual([data, deletes], ["live", []]);
  });

  it("is deleted once, however often others make it anew", async () => {
    let deleted = false;
    const { line, deletes } = await over((request, next) => {
      deleted ||= request.method === "DELETE";
      if (!deleted || request.method !== "POST" || isDryRun(request) || !request.path.endsWith("/configmaps"))
        return next();
      return next({ ...request, body: JSON.stringify(liveMap()) }).then(() => next());
    });
    assert.equal(deletes.length, 1, line);
    assert.match(line, /^skipped configmaps shop\/a: it appeared meanwhile/);
  });
});
