import type { ItemId } from "../archive/item.ts";
import { type Problem, someOf } from "../report.ts";

type Level = "warning" | "error";

/** Problems of claims, and of Pods' volumes that are none. What is the same of many is one: a hundred would hide all others. */
export interface VolumeProblems {
  /** `message`: a clause with the claim as its "it". */
  claim(level: Level, id: ItemId, message: string): void;
  /** A volume of a Pod's own is not copied. */
  podVolume(level: Level, pod: ItemId, volumeName: string, reason: string): void;
  /** What is not reported yet, as JSON. */
  told(): Told[];
  /** Reports what was told since the last time. */
  report(): void;
}

/** So many alike are one problem. */
const ALIKE = 4;

export interface Told {
  level: Level;
  /** What it says beside the name, the same for all that are alike. */
  message: string;
  /** "claims". */
  kind: string;
  name: string;
  /** The problem where it stands alone. */
  problem: Problem;
}

/** `from`: what another was told and has not reported. */
export function volumeProblems(report: (level: Level, problem: Problem) => void, from: Told[] = []): VolumeProblems {
  const told = [...from];
  return {
    claim(level, id, message) {
      const name = `${id.namespace}/${id.name}`;
      told.push({ level, message, kind: "claims", name, problem: { ...id, message } });
    },
    podVolume(level, pod, volumeName, reason) {
      const message = `not copied: ${reason}`;
      const problem = { ...pod, message: `its volume ${volumeName} is ${message}` };
      told.push({
        level,
        message,
        kind: "volumes of Pods",
        name: `${pod.namespace}/${pod.name} ${volumeName}`,
        problem,
      });
    },
    told: () => [...told],
    report() {
      const alike = Map.groupBy(told.splice(0), ({ level, kind, message }) => [level, kind, message].join("\0"));
      for (const group of alike.values())
        for (const { level, problem } of group.length < ALIKE ? group : [together(group)]) report(level, problem);
    },
  };
}

function together(group: Told[]): Pick<Told, "level" | "problem"> {
  const { level, kind, message, problem } = group[0]!;
  const { namespace } = problem;
  const shared = group.every((one) => one.problem.namespace === namespace) ? { namespace } : {};
  const names = someOf(group.map(({ name }) => name).sort());
  return { level, problem: { ...shared, message: `${group.length} ${kind} (${names}): ${message}` } };
}
