import type { BackupSpec } from "../backup/scope.ts";
import type { Resource } from "../kube/resource.ts";
import { SNAPSHOT_CLASSES } from "../objects/resources.ts";
import type { Bucket, Platform } from "../ports.ts";
import { someOf } from "../report.ts";
import type { Answer } from "./asking.ts";
import type { Rights, Wanted } from "./rights.ts";

/** By what volumes' data are copied, and where the backups lie that have copies. */
export interface CheckedVolumes {
  /** The configuration says how files are copied. */
  restic: boolean;
  disks?: Platform["disks"];
  bucket: () => Promise<Bucket>;
}

/** Who needs rights for copies of volumes, with the file of infra/kubernetes that gives them. */
export type CopyRole = "csi" | "restic";

const SNAPSHOT_GROUP = "snapshot.storage.k8s.io";
const GROUPS_GROUP = "groupsnapshot.storage.k8s.io";
const CHANGES = ["list", "get", "create", "patch", "delete"];

interface NeedRow {
  group: string;
  resource: string;
  subresource?: string;
  verbs: string[];
  /** Only needed by what moves data (`snapshotMoveData`). */
  moving?: true;
  why: string;
}

/** What each way to copy volumes needs: what its file of infra/kubernetes gives. */
const NEEDS: Record<CopyRole, NeedRow[]> = {
  csi: [
    { group: "", resource: "persistentvolumes", verbs: ["get"], why: "a claim's volume names its driver" },
    {
      group: "",
      resource: "persistentvolumeclaims",
      verbs: ["get"],
      why: "of one that was deleted no snapshot is waited for",
    },
    { group: SNAPSHOT_GROUP, resource: "volumesnapshotclasses", verbs: ["list"], why: "one is chosen for each claim" },
    {
      group: SNAPSHOT_GROUP,
      resource: "volumesnapshots",
      verbs: CHANGES,
      why: "one stands for each copy while it is made",
    },
    {
      group: SNAPSHOT_GROUP,
      resource: "volumesnapshotcontents",
      verbs: CHANGES,
      why: "it keeps, and later deletes, the storage's snapshot",
    },
    {
      group: GROUPS_GROUP,
      resource: "volumegroupsnapshotclasses",
      verbs: ["list"],
      why: "one is chosen for claims that are copied at one moment",
    },
    ...["volumegroupsnapshots", "volumegroupsnapshotcontents"].map((resource) => ({
      group: GROUPS_GROUP,
      resource,
      verbs: CHANGES,
      why: "it is of a group what its like is of one volume",
    })),
  ],
  restic: [
    {
      group: "",
      resource: "namespaces",
      verbs: ["list"],
      why: "a Job that deletes copies runs in that of their claims, if it is there",
    },
    { group: "", resource: "persistentvolumes", verbs: ["get"], why: "it tells where a claim can be mounted" },
    { group: "", resource: "nodes", verbs: ["get"], why: "the Job's may be gone, and its Pod then never ends" },
    {
      group: "batch",
      resource: "jobs",
      verbs: ["list", "get", "create", "delete"],
      why: "restic runs in one, which a dead run may have left",
    },
    {
      group: "",
      resource: "secrets",
      verbs: ["create", "delete"],
      why: "it has the repository's password while the Job runs",
    },
    {
      group: "",
      resource: "pods",
      verbs: ["list", "delete"],
      why: "the Job's is followed, and taken away should its node be gone",
    },
    { group: "", resource: "pods", subresource: "log", verbs: ["get"], why: "restic tells there what it did" },
    { group: "", resource: "events", verbs: ["list"], why: "they tell what keeps a Job's Pod from starting" },
    {
      group: "",
      resource: "persistentvolumeclaims",
      verbs: ["get", "create", "delete"],
      moving: true,
      why: "one is made of each snapshot whose files are copied",
    },
    {
      group: "",
      resource: "persistentvolumes",
      verbs: ["patch"],
      moving: true,
      why: "that of such a claim goes with it, whatever its class says",
    },
  ],
};

/** What backups of that cluster need beyond LISTs, so that it is no surplus; `moving`: whether some move data. */
export function neededForCopies(roles: readonly CopyRole[], { moving = true } = {}): Wanted[] {
  return roles.flatMap((role) =>
    NEEDS[role]
      .filter((row) => moving || !row.moving)
      .flatMap(({ verbs, why: _, moving: __, ...what }) => verbs.map((verb) => ({ verb, ...what }))),
  );
}

/** Groups of the API that a cluster need not serve for its volumes to be copied. */
const OPTIONAL = [GROUPS_GROUP];

interface Asked {
  resources: Resource[];
  rights: Rights;
  specs: BackupSpec[];
  volumes: CheckedVolumes;
  /** The command that gives the identity the rights of a role. */
  granting: (role: CopyRole) => string;
}

/**
 * Whether the data of volumes can be copied: where snapshots are served, or restic is configured. Rights that are missing fail where
 * a schedule asks for snapshots, or the configuration for restic; else they are a warning: they may be meant to be missing.
 */
export async function mayCopyVolumes({
  resources,
  rights,
  specs,
  volumes,
  granting,
}: Asked): Promise<Answer<CopyRole[]>> {
  const served = resources.some(({ group, name }) => `${name}.${group}` === SNAPSHOT_CLASSES);
  const unwanted = specs.length > 0 && specs.every(({ snapshotVolumes }) => snapshotVolumes === false);
  const roles: CopyRole[] = [
    ...(served && !unwanted ? (["csi"] as const) : []),
    ...(volumes.restic ? (["restic"] as const) : []),
  ];
  if (roles.length === 0) {
    const snapshots = served ? "no schedule takes snapshots" : "the cluster serves no VolumeSnapshots";
    return { state: "notAsked", message: `${snapshots}, and volumes.restic is not configured` };
  }
  const moving = specs.some(({ snapshotMoveData }) => snapshotMoveData);
  const serves = (wanted: string) => resources.some(({ group }) => group === wanted);
  const lacks = new Map<CopyRole, string[]>();
  for (const role of roles) {
    const wanted = neededForCopies([role], { moving }).filter(
      ({ group }) => !OPTIONAL.includes(group) || serves(group),
    );
    const allowed = await Promise.all(wanted.map(rights.may));
    const refused = wanted.filter((_, at) => !allowed[at]).map(wantedText);
    if (refused.length > 0) lacks.set(role, refused);
  }
  const how = { csi: "snapshots by CSI", restic: "copies of files by restic" };
  const able = roles.filter((role) => !lacks.has(role)).map((role) => how[role]);
  if (lacks.size === 0) return { state: "ok", message: `${able.join(", ")}: allowed`, value: roles };
  const asked = lacks.has("restic") || specs.some(({ snapshotVolumes }) => snapshotVolumes === true);
  const told = [...lacks].map(([role, refused]) => `no ${how[role]}: may not ${someOf(refused, 3)}`);
  return {
    state: asked ? "failed" : "warning",
    ...(asked && { error: "denied" as const }),
    message: [...told, ...able.map((one) => `${one}: allowed`)].join("; "),
    todo: [...lacks.keys()].map(granting).join(" && "),
    resources: [...lacks.values()].flat(),
    value: roles,
  };
}

function wantedText({ verb, group, resource, subresource }: Wanted): string {
  return `${verb} ${resource}${group && `.${group}`}${subresource ? `/${subresource}` : ""}`;
}
