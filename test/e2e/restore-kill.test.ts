import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { requireOrSkip } from "../rig/require.ts";
import { killedAtWrite } from "./killed.ts";
import { document, type RestoreDocument, start } from "./lifeboat.ts";

const OWNERS = 40;
const CHILDREN = 8;
const EVERY = 50;
const RANDOM_MOMENTS = process.env.SOAK ? 200 : 20;

interface Owned {
  metadata: { name: string; uid: string; ownerReferences?: { name: string; uid: string }[] };
  data?: unknown;
  spec?: unknown;
  status?: unknown;
}

describe("a restore that is killed", { skip: requireOrSkip("rig", CONTROL_PLANE) }, () => {
  let cluster: Cluster;
  let dir: string;
  let whole: unknown;
  let duration: number;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "lifeboat-restore-kill-"));
    cluster = await startCluster();
    await seedOwners(cluster);
    await document(["backup", "create", "full", "--include-namespaces", "shop", ...at(cluster.kubeconfigPath)]);
    const begun = performance.now();
    await document(into("whole", cluster.kubeconfigPath));
    duration = performance.now() - begun;
    whole = await stateOf("whole");
  });
  after(async () => {
    await cluster?.stop();
    if (dir) await rm(dir, { recursive: true });
  });

  const at = (kubeconfig: string) => ["--location", `file://${dir}`, "--kubeconfig", kubeconfig];
  /** A restore into a namespace of its own, which also gives it its name. */
  const into = (name: string, kubeconfig: string) => [
    ...["restore", "create", name, "--from-backup", "full", "--namespace-mappings", `shop:${name}`],
    ...["--existing-resource-policy", "update", "--status-include-resources", "widgets", ...at(kubeconfig)],
  ];

  /** What lies in a namespace: everything but what is new with every object; owners by name, held to their UIDs. */
  async function stateOf(namespace: string): Promise<unknown> {
    const list = async (path: string) =>
      (await cluster.api.request<{ items: Owned[] } & Record<string, never>>("GET", path)).items;
    const maps = await list(`/api/v1/namespaces/${namespace}/configmaps`);
    const widgets = await list(`/apis/example.com/v1/namespaces/${namespace}/widgets`);
    const all = [...maps, ...widgets].filter(({ metadata }) => metadata.name !== "kube-root-ca.crt");
    const uids = new Set(all.map(({ metadata }) => metadata.uid));
    return all.map(({ metadata, data, spec, status }) => {
      const owners = (metadata.ownerReferences ?? []).map(({ name, uid }) => {
        assert.ok(uids.has(uid), `${namespace}/${metadata.name} names an owner ${name} that isn't there`);
        return name;
      });
      return { name: metadata.name, owners, data, spec, status };
    });
  }

  async function finish(name: string, moment: string): Promise<void> {
    const recorded = existsSync(join(dir, `restores/${name}/lifeboat-restore.json`));
    if (!recorded) {
      const next = await document<RestoreDocument>(into(name, cluster.kubeconfigPath));
      assert.deepEqual([next.phase, next.errors], ["Completed", []], moment);
    }
    assert.deepEqual(await stateOf(name), whole, moment);
  }

  it(`at every ${EVERY}th write in turn, and run again: ends as one that wasn't`, async (t) => {
    let kills = 0;
    for (let survived = false; !survived; kills++) {
      const name = `write-${kills + 1}`;
      const doomed = EVERY * (kills + 1);
      const code = await killedAtWrite(doomed, (kubeconfig) => into(name, kubeconfig), {
        cluster,
        fate: kills % 2 ? "cut before" : "pass",
      });
      survived = code === 0;
      if (survived) break;
      assert.equal(code, null, `write ${doomed}: it ended by itself`);
      await finish(name, `killed at write ${doomed}`);
    }
    t.diagnostic(`killed at ${kills} writes`);
    assert.ok(kills >= 6, `only ${kills} times`);
  });

  it(`at ${RANDOM_MOMENTS} random moments: the same`, async (t) => {
    let runs = 0;
    for (let killed = 0; killed < RANDOM_MOMENTS; runs++) {
      const name = `random-${runs}`;
      const moment = Math.random() * duration;
      const victim = start(into(name, cluster.kubeconfigPath));
      await delay(moment);
      victim.kill();
      if ((await victim.ended).code === null) {
        killed++;
        await finish(name, `killed after ${moment.toFixed(0)} ms`);
      } else duration = moment;
    }
    t.diagnostic(`${RANDOM_MOMENTS} of ${runs} runs were killed before their end`);
  });
});

/** Namespace "shop": ConfigMaps that own ConfigMaps, and custom resources with a status, which own ConfigMaps too. */
async function seedOwners({ api, kubectl }: Cluster): Promise<void> {
  const schema = { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } };
  const definition = {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "widgets.example.com" },
    spec: {
      group: "example.com",
      names: { kind: "Widget", plural: "widgets", singular: "widget" },
      scope: "Namespaced",
      versions: [{ name: "v1", served: true, storage: true, schema, subresources: { status: {} } }],
    },
  };
  await kubectl(["create", "-f", "-"], { input: JSON.stringify(definition) });
  await kubectl(["wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=30s"]);
  await api.request("POST", "/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } });
  const maps = "/api/v1/namespaces/shop/configmaps";
  const widgets = "/apis/example.com/v1/namespaces/shop/widgets";
  const own = async (number: number) => {
    const custom = number % 4 === 0;
    const [apiVersion, kind] = custom ? ["example.com/v1", "Widget"] : ["v1", "ConfigMap"];
    const name = `owner-${number}`;
    const body = {
      apiVersion,
      kind,
      metadata: { name },
      ...(custom ? { spec: { number } } : { data: { n: `${number}` } }),
    };
    const owner = await api.request("POST", custom ? widgets : maps, body);
    if (custom) await api.request("PUT", `${widgets}/${name}/status`, { ...owner, status: { ready: number } });
    const { uid } = owner.metadata as unknown as { uid: string };
    for (let child = 0; child < CHILDREN; child++) {
      const metadata = { name: `child-${number}-${child}`, ownerReferences: [{ apiVersion, kind, name, uid }] };
      await api.request("POST", maps, { apiVersion: "v1", kind: "ConfigMap", metadata, data: { of: name } });
    }
  };
  await Promise.all(Array.from({ length: OWNERS }, (_, number) => own(number)));
}
