import type { KubernetesObject } from "../../archive/item.ts";
import { LifeboatError } from "../../errors.ts";
import { getObject, type NamespacedName, placeOf } from "../../kube/object.ts";
import { at } from "../../objects/fields.ts";
import { CLAIM } from "../volume.ts";
import { errorOf, type SnapshotKinds } from "./kinds.ts";
import type { Looking, Patience } from "./run.ts";

/** What a snapshot comes to. */
const STAGES = {
  cut: {
    what: "cut",
    reached: (live: KubernetesObject, { bound }: SnapshotKinds) =>
      at(live, "status", "creationTime") !== undefined && at(live, "status", bound) !== undefined,
  },
  ready: { what: "ready to use", reached: (live: KubernetesObject) => at(live, "status", "readyToUse") === true },
};

/** What is worth knowing of a VolumeSnapshot: that it has come so far, or that another error is told of it than before. */
interface Seen {
  live?: KubernetesObject;
  message?: string;
}

/** Which VolumeSnapshot is waited for, until when (`performance.now()`). */
export interface AwaitedSnapshot {
  place: NamespacedName;
  stage: keyof typeof STAGES;
  deadline: number;
  /** Whose snapshot is taken: that is what messages are about then, and what they say may hold of many claims. */
  claim?: KubernetesObject;
}

/**
 * Waits until a VolumeSnapshot has come so far, and gives it. Its errors are waited out as long as `errorMs`, since controllers
 * try again. Throws a LifeboatError with the last of them: `unreachable` where it lasts, `timeout`, `missing` where the
 * VolumeSnapshot, or the claim that it is taken of, was deleted; and what LISTs are answered.
 */
export async function awaitSnapshot(
  looking: Looking & Pick<Required<Patience>, "errorMs">,
  awaited: AwaitedSnapshot,
  signal: AbortSignal,
): Promise<KubernetesObject> {
  const { place, stage, claim } = awaited;
  const name = claim ? `its ${looking.kinds.snapshot.kind}` : `the ${looking.kinds.snapshot.kind} ${placeOf(place)}`;
  let failingSince: number | undefined;
  let told: string | undefined;
  const judge = (live: KubernetesObject | undefined): Seen | undefined => {
    if (!live || live.metadata.deletionTimestamp)
      throw new LifeboatError("missing", `${name} was deleted before it was ${STAGES[stage].what}`, {
        hint: "find out who did, and do it again",
      });
    if (STAGES[stage].reached(live, looking.kinds)) return { live };
    const message = errorOf(live);
    const now = performance.now();
    failingSince = message === undefined ? undefined : (failingSince ?? now);
    if (failingSince !== undefined && now - failingSince >= looking.errorMs) throw failing(name, message);
    if (now >= awaited.deadline) throw late(name, live, message, STAGES[stage].what);
    looking.tell?.({ what: `waits for its snapshot to be ${STAGES[stage].what}`, why: reasonOf(live, message) });
    return message === told ? undefined : { message };
  };
  for (;;) {
    const seen = await looking.snapshots.until(placeOf(place), judge, signal);
    if (seen.live) return seen.live;
    told = seen.message;
    if (told !== undefined && claim && stage === "cut") await throwIfDeleted(looking, claim, told, signal);
  }
}

async function throwIfDeleted(
  { kube }: Looking,
  { metadata }: KubernetesObject,
  message: string,
  signal: AbortSignal,
): Promise<void> {
  const live = await getObject(kube, CLAIM, metadata, signal);
  if (live && !live.metadata.deletionTimestamp && live.metadata.uid === metadata.uid) return;
  throw new LifeboatError(
    "missing",
    `the claim ${placeOf(metadata)} was deleted before its snapshot was cut: ${message}`,
  );
}

function failing(name: string, message: string | undefined): LifeboatError {
  return new LifeboatError("unreachable", `${name} fails: ${message}`, {
    hint: "it is the CSI driver that says so: see the log of its controller, and of the snapshot controller",
  });
}

function late(name: string, live: KubernetesObject, message: string | undefined, what: string): LifeboatError {
  return new LifeboatError("timeout", `${name} is not ${what} in time: ${reasonOf(live, message)}`, {
    hint: isSilent(live)
      ? "install the snapshot controller (kubernetes-csi/external-snapshotter), or see why it doesn't run"
      : "see the log of the CSI driver's controller; more time is given by csiSnapshotTimeout and itemOperationTimeout",
  });
}

/** Why it has come no further, as far as can be told. */
function reasonOf(live: KubernetesObject, message: string | undefined): string {
  return message ?? (isSilent(live) ? "no snapshot controller has taken it up" : "the CSI driver has not answered");
}

function isSilent(live: KubernetesObject): boolean {
  return at(live, "status") === undefined;
}
