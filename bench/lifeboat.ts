/** What the benchmark's bare loops borrow from the product: its connection, so that only the work differs. */

export { startApiServer } from "../core/apiserver/server.ts";
export { compressMember } from "../core/archive/gzip.ts";
export type { KubernetesObject } from "../core/archive/item.ts";
export { likenessOf } from "../core/archive/likeness.ts";
export { readTar } from "../core/archive/reader.ts";
export { connect, expectOk } from "../core/kube/client.ts";
export { discover } from "../core/kube/discovery.ts";
export { listItems, metadataOf } from "../core/kube/json.ts";
export { readKubeconfig } from "../core/kube/kubeconfig.ts";
export { resourceKey, resourcePath } from "../core/kube/resource.ts";
