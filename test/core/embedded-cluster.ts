import { after } from "node:test";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { connect, type Kube } from "../../core/kube/client.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";

/** An embedded API server of these objects, and a client of it. Both end with the tests of the file. */
export async function embeddedCluster(objects: KubernetesObject[] = []): Promise<{ server: ApiServer; kube: Kube }> {
  const { server, kube, stop } = await start(objects);
  after(stop);
  return { server, kube };
}

/** The same, for as long as `work` lasts. */
export async function inCluster<T>(objects: KubernetesObject[], work: (kube: Kube) => Promise<T>): Promise<T> {
  const { kube, stop } = await start(objects);
  try {
    return await work(kube);
  } finally {
    await stop();
  }
}

async function start(objects: KubernetesObject[]) {
  const server = await startApiServer({ objects });
  const kube = connect(readKubeconfig(server.kubeconfig));
  const stop = async () => {
    await kube.close();
    await server.stop();
  };
  return { server, kube, stop };
}
