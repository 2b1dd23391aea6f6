import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { readBackup } from "../../core/catalog.ts";
import { listFolder } from "../../core/contents.ts";
import { connect, type Kube } from "../../core/kube/client.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import { drillBackup } from "../../core/restore/drill.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { backupOf, signal } from "./integrity-sample.ts";
import { sample } from "./restore-sample.ts";

const definition = sample("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets.example.com", {
  spec: {
    group: "example.com",
    scope: "Namespaced",
    names: { plural: "widgets", singular: "widget", kind: "Widget", listKind: "WidgetList" },
    versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object" } } }],
  },
});
const objects: KubernetesObject[] = [
  definition,
  sample("v1", "Namespace", "shop"),
  sample("v1", "ConfigMap", "shop/web", { data: { a: "1" } }),
  sample("example.com/v1", "Widget", "shop/w"),
];

describe("a drill", () => {
  let source: ApiServer;
  let target: ApiServer;
  let kube: Kube;
  before(async () => {
    source = await startApiServer({ objects });
    target = await startApiServer();
    kube = connect(readKubeconfig(target.kubeconfig));
  });
  after(async () => {
    await kube?.close();
    await Promise.all([source?.stop(), target?.stop()]);
  });
  const drill = async (spec: object, into?: Kube) => {
    const bucket = memoryBucket();
    await backupOf(source, { bucket, name: "b", spec });
    const before = (await listFolder(bucket, "")).size;
    const record = await readBackup(bucket, "b");
    const found = await drillBackup(bucket, record, { kube: into, log: () => {}, signal });
    assert.equal((await listFolder(bucket, "")).size, before);
    return found;
  };
  const refusals = ({ refused }: Awaited<ReturnType<typeof drill>>) =>
    refused.map(({ resource, namespace, name, message }) => [resource, `${namespace}/${name}`, message]);

  it("of what is whole refuses nothing, in memory and against a cluster, which is left as it was", async () => {
    const inMemory = await drill({});
    assert.deepEqual([inMemory.target, refusals(inMemory)], [undefined, []]);
    const count = target.count();
    const against = await drill({}, kube);
    assert.deepEqual([against.target, refusals(against), target.count()], [target.url, [], count]);
    // The Namespace's own ServiceAccount is made by what takes the Namespace; a dry run makes neither.
    assert.deepEqual([inMemory.restorable, against.restorable], [4, 5]);
  });

  for (const [what, into, restorable] of [
    ["in memory", () => undefined, 2],
    ["against a cluster", () => kube, 3],
  ] as const) {
    it(`tells which objects would be refused, and why, ${what}`, async () => {
      const found = await drill({ excludedResources: ["customresourcedefinitions"] }, into());
      const [[resource, name, message] = []] = refusals(found);
      assert.deepEqual([refusals(found).length, resource, name], [1, "widgets.example.com", "shop/w"]);
      assert.match(message ?? "", /doesn't serve/);
      assert.equal(found.restorable, restorable);
    });
  }
});
