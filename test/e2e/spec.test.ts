import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { KubernetesObject } from "../../core/archive/item.ts";
import type { Kube } from "../../core/kube/client.ts";
import { archiveOf, restored, sample, watchedKube } from "../core/restore-sample.ts";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { requireOrSkip } from "../rig/require.ts";

const NAMESPACE = sample("v1", "Namespace", "shop", { spec: {}, status: { phase: "Active" } });
const WIDGETS = "/apis/example.com/v2/namespaces/shop/widgets";

/** A definition in version v2 alone, whose objects have a status of their own. */
function definition(group: string, kind: string, conversion?: object): object {
  const singular = kind.toLowerCase();
  const schema = { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${singular}s.${group}` },
    spec: {
      group,
      names: { kind, plural: `${singular}s`, singular },
      scope: "Namespaced",
      conversion,
      versions: [{ name: "v2", served: true, storage: true, schema, subresources: { status: {} } }],
    },
  };
}

describe("a spec's less common wishes, on a real API server", { skip: requireOrSkip("rig", CONTROL_PLANE) }, () => {
  let cluster: Cluster;
  let kube: Kube;
  before(async () => {
    cluster = await startCluster();
    kube = watchedKube(cluster.kubeconfig);
    const webhook = { conversionReviewVersions: ["v1"], clientConfig: { url: "https://127.0.0.1:1/" } };
    const definitions = [
      definition("example.com", "Widget"),
      definition("gone.example.com", "Gadget", { strategy: "Webhook", webhook }),
    ];
    await cluster.kubectl(["create", "-f", "-"], { input: definitions.map((one) => JSON.stringify(one)).join("\n") });
    await cluster.kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]);
  });
  after(async () => {
    await kube?.close();
    await cluster?.stop();
  });

  it("restores objects of versions that are gone as the versions that say the same", async () => {
    const selector = (name: string, matchLabels: object | undefined) =>
      sample("policy/v1beta1", "PodDisruptionBudget", `shop/${name}`, {
        spec: { maxUnavailable: 1, selector: matchLabels ? { matchLabels } : {} },
      });
    const container = { name: "a", image: "a" };
    const archive = await archiveOf([
      NAMESPACE,
      sample("batch/v1beta1", "CronJob", "shop/nightly", {
        spec: {
          schedule: "0 3 * * *",
          jobTemplate: { spec: { template: { spec: { containers: [container], restartPolicy: "Never" } } } },
        },
      }),
      selector("some", { app: "web" }),
      selector("none", undefined),
      sample("example.com/v1", "Widget", "shop/old", { spec: { size: 3 } }),
      sample("gone.example.com/v1", "Gadget", "shop/gone", {}),
    ]);
    const { lines } = await restored(kube, archive);
    assert.deepEqual(
      lines.filter((line) => !line.startsWith("created")),
      [
        "blocked gadgets.gone.example.com shop/gone: this cluster doesn't serve gadgets.gone.example.com as gone.example.com/v1, only as gone.example.com/v2, which may have other fields: let its definition serve that version while you restore",
      ],
    );
    const budgets = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets";
    const spec = async (path: string) => (await cluster.api.request<{ spec: unknown }>("GET", path)).spec;
    assert.deepEqual(await spec(`${budgets}/some`), { maxUnavailable: 1, selector: { matchLabels: { app: "web" } } });
    assert.deepEqual(await spec(`${budgets}/none`), { maxUnavailable: 1 });
    assert.deepEqual(await spec(`${WIDGETS}/old`), { size: 3 });
    const again = await restored(kube, archive, {}, { name: "again" });
    const equal = again.lines.filter((line) => line.endsWith("exists, equal")).map((line) => line.split(" ")[2]);
    assert.deepEqual(equal.sort(), ["shop/none:", "shop/old:", "shop/some:"]);
  });

  it("restores statuses where asked to, once, also after a run that was interrupted", async () => {
    const widget = (name: string, own?: string) =>
      sample("example.com/v2", "Widget", `shop/${name}`, {
        metadata: { ...(own && { annotations: { "velero.io/restore-status": own } }) } as KubernetesObject["metadata"],
        spec: { size: 1 },
        status: { ready: name },
      });
    const archive = await archiveOf([
      NAMESPACE,
      widget("plain"),
      widget("wished", "true"),
      widget("unwished", "false"),
    ]);
    const statusOf = async (name: string) =>
      (await cluster.api.request<{ status?: unknown }>("GET", `${WIDGETS}/${name}`)).status;

    await restored(kube, archive, {}, { name: "own" });
    assert.deepEqual(await Promise.all(["plain", "wished", "unwished"].map(statusOf)), [
      undefined,
      { ready: "wished" },
      undefined,
    ]);
    const first = { name: "first" };
    for (const name of ["plain", "wished", "unwished"]) await cluster.api.request("DELETE", `${WIDGETS}/${name}`);
    await restored(kube, archive, {}, first);
    const restoreStatus = { includedResources: ["widgets"] };
    const resumed = await restored(kube, archive, { restoreStatus }, first);
    assert.ok(
      resumed.lines.includes("updated widgets.example.com shop/plain: with its status"),
      resumed.lines.join("\n"),
    );
    assert.deepEqual(await Promise.all(["plain", "unwished"].map(statusOf)), [{ ready: "plain" }, undefined]);
    const again = await restored(kube, archive, { restoreStatus }, { name: "other" });
    assert.equal(again.result.counts.created + again.result.counts.updated, 0);

    const changed = { spec: { size: 9 }, status: { ready: "other" } };
    await cluster.api.request("PATCH", `${WIDGETS}/plain`, changed);
    await cluster.api.request("PATCH", `${WIDGETS}/plain/status`, changed);
    const update = { restoreStatus, includedResources: ["widgets"], existingResourcePolicy: "update" as const };
    const updated = await restored(kube, archive, update, { name: "update" });
    assert.deepEqual(
      updated.lines.filter((line) => line.startsWith("updated")),
      ["updated widgets.example.com shop/plain: with its status"],
    );
    assert.deepEqual(await Promise.all(["plain", "unwished"].map(statusOf)), [{ ready: "plain" }, undefined]);
  });
});
