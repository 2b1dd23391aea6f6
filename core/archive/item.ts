/** Which object an item is: its resource as Kubernetes' group-resource string ("pods", "deployments.apps"), its namespace ("" for cluster-scoped) and its name. */
export interface ItemId {
  resource: string;
  namespace: string;
  name: string;
}

/** What the index keeps of an object, beside its identity. */
export interface ItemFacts {
  kind: string;
  /** With the group: "v1", "apps/v1". */
  apiVersion: string;
  uid: string;
  resourceVersion: string;
  /** UIDs of `metadata.ownerReferences`. */
  owners: string[];
  labels: Record<string, string>;
  /** Container images of Pods and of what holds a Pod template. */
  images: string[];
}
