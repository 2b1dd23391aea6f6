import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Api, KubeObject } from "./api.ts";
import { type Server, until } from "./process.ts";

/** Creates `count` nodes for kwok to play and waits until Pods can be placed on them and made for ServiceAccounts. */
export async function addNodes(api: Api, count: number, servers: readonly Server[]): Promise<void> {
  for (let index = 0; index < count; index++) {
    const name = `node-${index}`;
    await api.request("POST", "/api/v1/nodes", {
      apiVersion: "v1",
      kind: "Node",
      metadata: {
        name,
        annotations: { "kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0" },
        labels: {
          type: "kwok",
          "kubernetes.io/arch": "amd64",
          "kubernetes.io/hostname": name,
          "kubernetes.io/os": "linux",
          "topology.kubernetes.io/region": "rig",
          "topology.kubernetes.io/zone": `rig-${index % 3}`,
        },
      },
    });
  }
  const waiting = { servers };
  const account = "/api/v1/namespaces/default/serviceaccounts/default";
  await until("the default ServiceAccount", () => api.request("GET", account), waiting);
  await until(
    `${count} nodes to be Ready`,
    async () => (await api.request<{ items: KubeObject[] }>("GET", "/api/v1/nodes")).items.every(isSchedulable),
    waiting,
  );
}

function isSchedulable(node: KubeObject): boolean {
  const { conditions = [] } = (node.status ?? {}) as { conditions?: { type: string; status: string }[] };
  const { taints = [] } = (node.spec ?? {}) as { taints?: unknown[] };
  return taints.length === 0 && conditions.some(({ type, status }) => type === "Ready" && status === "True");
}

/** Flags with which kwok is the kubelet of its nodes, on 127.0.0.1: what is executed in a container runs here, in `dir`. */
export async function kubeletFlags(dir: string, port: number): Promise<string[]> {
  const config = join(dir, "exec.yaml");
  const clusterExec = {
    apiVersion: "kwok.x-k8s.io/v1alpha1",
    kind: "ClusterExec",
    metadata: { name: "all" },
    spec: { execs: [{ local: { workDir: dir } }] },
  };
  await writeFile(config, JSON.stringify(clusterExec));
  return [`--config=${config}`, `--server-address=127.0.0.1:${port}`, "--node-ip=127.0.0.1", `--node-port=${port}`];
}
