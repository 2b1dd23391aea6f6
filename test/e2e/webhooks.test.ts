import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { KubeObject } from "../rig/api.ts";
import { type Certificate, makeCertificate } from "../rig/certs.ts";
import { type Cluster, CONTROL_PLANE, startCluster, WITH_CONTROLLERS } from "../rig/cluster.ts";
import { freePorts, until } from "../rig/process.ts";
import { requireOrSkip } from "../rig/require.ts";
import { startWebhooks, type WebhookBackend } from "../rig/webhooks.ts";
import { document, type Ended, type RestoreDocument, start } from "./lifeboat.ts";

const WIDGETS = "/apis/example.com/v2/namespaces/shop/widgets";
const MAPS = "/api/v1/namespaces/shop/configmaps";

describe("webhooks whose backend is restored by the same restore", {
  skip: requireOrSkip("rig", [...CONTROL_PLANE, ...WITH_CONTROLLERS]),
}, () => {
  let source: Cluster;
  let target: Cluster;
  let location: string;
  let port: number;
  let certificate: Certificate;
  let backend: WebhookBackend | undefined;

  const up = async () => {
    backend = await startWebhooks(port, certificate, converted);
    return backend;
  };
  const down = async () => {
    await backend?.stop();
    backend = undefined;
  };

  before(async () => {
    [port = 0] = await freePorts(1);
    location = `file://${await mkdtemp(join(tmpdir(), "lifeboat-webhooks-"))}`;
    [source, target] = await Promise.all([startCluster(), startCluster({ controllers: true })]);
    const subject = { commonName: "hook", server: true, names: ["hook.guard.svc"] };
    certificate = await makeCertificate(source.dir, "hook", subject);
    await up();
    const authority = await readFile(join(source.dir, "ca.crt"), "base64");
    await source.kubectl(["apply", "-f", "-"], { input: JSON.stringify(guarded(port, authority)) });
    await until("the definition", () => source.api.request("GET", WIDGETS));
    for (let number = 0; number < 8; number++) await makeWidget(source, `w${number}`);
    await document(["backup", "create", "full", "--location", location, "--kubeconfig", source.kubeconfigPath]);
    await down();
  });
  after(async () => {
    await down();
    await Promise.all([source?.stop(), target?.stop()]);
    if (location) await rm(location.replace("file://", ""), { recursive: true });
  });

  const restoring = (name: string, ...flags: string[]) =>
    start([
      ...["restore", "create", name, "--from-backup", "full", "--location", location],
      ...["--kubeconfig", target.kubeconfigPath, "-o", "json", ...flags],
    ]);
  const completed = ({ code, stdout, stderr }: Ended): RestoreDocument["counts"] => {
    assert.equal(code, 0, stdout + stderr);
    const { phase, errors, counts } = JSON.parse(stdout) as RestoreDocument;
    assert.deepEqual([phase, errors], ["Completed", []]);
    return counts;
  };
  /** What a kubelet would do: the backend runs when its Pod does. */
  const upWithItsPod = async () => {
    await until("the backend's Pod", async () => {
      const { items } = await target.api.request<{ items: KubeObject[] }>("GET", "/api/v1/namespaces/guard/pods");
      return items.some(({ status }) => (status as { phase?: string }).phase === "Running");
    });
    return await up();
  };
  const isWhole = async () => {
    const { items } = await target.api.request<{ items: KubeObject[] }>("GET", WIDGETS);
    assert.deepEqual(items.map(({ metadata, spec }) => [metadata.name, spec]).sort(), sizes());
    const maps = await target.api.request<{ items: KubeObject[] }>("GET", MAPS);
    const owned = maps.items.flatMap(({ metadata }) => (metadata.ownerReferences as { uid: string }[]) ?? []);
    assert.deepEqual(owned.map(({ uid }) => uid).sort(), items.map(({ metadata }) => metadata.uid).sort());
  };

  it("into an empty cluster: custom resources wait for their conversion webhook", async () => {
    const run = restoring("empty");
    const { asked } = await upWithItsPod();
    const { failed, blocked } = completed(await run.ended);
    assert.deepEqual([failed, blocked], [0, 0]);
    await isWhole();
    assert.ok(asked.includes("convert Widget shop/w0 to example.com/v1"), asked.join("\n"));
  });

  it("into a cluster that has the webhooks and not their backend: what they guard waits", async () => {
    for (const path of [WIDGETS, MAPS, "/api/v1/namespaces/shop", "/api/v1/namespaces/guard"])
      await target.api.request("DELETE", path);
    await until("the namespaces to be gone", async () => {
      const left = await target.api.request<{ items: KubeObject[] }>("GET", "/api/v1/namespaces");
      return !left.items.some(({ metadata }) => ["shop", "guard"].includes(metadata.name));
    });
    await down();
    const run = restoring("guarded");
    const { asked } = await upWithItsPod();
    const { failed, blocked } = completed(await run.ended);
    assert.deepEqual([failed, blocked], [0, 0]);
    await isWhole();
    assert.ok(asked.includes("CREATE configmaps shop/of-w0"), asked.join("\n"));
  });

  it("killed while it waits, and run again: nothing is made twice", async () => {
    await target.api.request("DELETE", `${MAPS}/of-w3`);
    await target.api.request("DELETE", `${WIDGETS}/w5`);
    await until("its ConfigMap to be collected", async () => {
      const { items } = await target.api.request<{ items: KubeObject[] }>("GET", MAPS);
      return !items.some(({ metadata }) => metadata.name === "of-w5");
    });
    await down();
    const victim = restoring("killed");
    await delay(4000);
    victim.kill();
    assert.equal((await victim.ended).code, null);
    const run = restoring("killed");
    await delay(4000);
    await up();
    const { created, updated } = completed(await run.ended);
    assert.deepEqual([created, updated], [3, 0]);
    await isWhole();
  });

  it("doesn't wait where the webhook is up and says no", async () => {
    backend!.denies = true;
    await target.api.request("DELETE", `${MAPS}/of-w3`);
    const begun = performance.now();
    const { code, stdout } = await restoring("denied").ended;
    assert.equal(code, 3);
    assert.match(stdout, /admission webhook \\"guard\.example\.com\\" denied the request: not today/);
    assert.ok(performance.now() - begun < 20_000);
  });
});

/** As it is in the other version: v1 has `spec.size`, v2 `spec.length`. */
function converted(object: KubeObject, apiVersion: string): KubeObject {
  const { size, length = size } = object.spec as { size?: number; length?: number };
  return { ...object, apiVersion, spec: apiVersion.endsWith("/v1") ? { size: length } : { length } };
}

const sizes = () => Array.from({ length: 8 }, (_, number) => [`w${number}`, { length: number }]);

async function makeWidget({ api }: Cluster, name: string): Promise<void> {
  const [apiVersion, kind] = ["example.com/v2", "Widget"];
  const spec = { length: Number(name.slice(1)) };
  const { metadata } = await api.request("POST", WIDGETS, { apiVersion, kind, metadata: { name }, spec });
  const ownerReferences = [{ apiVersion, kind, name, uid: metadata.uid }];
  const map = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: `of-${name}`, ownerReferences } };
  await api.request("POST", MAPS, map);
}

/** A backend behind a Service, the webhook that guards ConfigMaps with it, and the definition that converts with it. */
function guarded(port: number, caBundle: string) {
  const clientConfig = { caBundle, service: { namespace: "guard", name: "hook", port, path: "/" } };
  const labels = { app: "hook" };
  const version = (name: string, storage: boolean, field: string) => ({
    name,
    storage,
    served: true,
    schema: {
      openAPIV3Schema: {
        type: "object",
        properties: { spec: { type: "object", properties: { [field]: { type: "integer" } } } },
      },
    },
  });
  const items = [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "guard" } },
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "hook", namespace: "guard" },
      spec: { type: "ExternalName", externalName: "localhost" },
    },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "hook", namespace: "guard" },
      spec: {
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{ name: "hook", image: "example.com/hook:1" }] } },
      },
    },
    {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: "widgets.example.com" },
      spec: {
        group: "example.com",
        scope: "Namespaced",
        names: { plural: "widgets", singular: "widget", kind: "Widget", listKind: "WidgetList" },
        versions: [version("v1", true, "size"), version("v2", false, "length")],
        conversion: { strategy: "Webhook", webhook: { clientConfig, conversionReviewVersions: ["v1"] } },
      },
    },
    {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "ValidatingWebhookConfiguration",
      metadata: { name: "guard" },
      webhooks: [
        {
          name: "guard.example.com",
          clientConfig,
          rules: [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["configmaps"] }],
          namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "shop" } },
          failurePolicy: "Fail",
          sideEffects: "None",
          admissionReviewVersions: ["v1"],
        },
      ],
    },
  ];
  return { apiVersion: "v1", kind: "List", items };
}
