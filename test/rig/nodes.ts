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
