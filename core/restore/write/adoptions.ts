/**
 * Kinds whose controller takes over objects without an owner that match its selector. Their children are restored
 * first, without the reference; the controller writes it itself and makes nothing twice. Every other child is restored
 * after its owner, with the owner's new UID (design section 5; the adopting controllers are those of
 * kube-controller-manager that use a ControllerRefManager).
 */
export const ADOPTIONS: { children: string; owners: string[] }[] = [
  { children: "pods", owners: ["replicasets.apps", "replicationcontrollers", "statefulsets.apps", "daemonsets.apps"] },
  { children: "replicasets.apps", owners: ["deployments.apps"] },
  { children: "controllerrevisions.apps", owners: ["statefulsets.apps", "daemonsets.apps"] },
];

/** Whether the controller of `owner` objects adopts `child` objects (group-resource strings). */
export function adopts(owner: string, child: string): boolean {
  return ADOPTIONS.some(({ children, owners }) => children === child && owners.includes(owner));
}
