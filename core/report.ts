/** Something a report must say about one object, one resource or the whole run. */
export interface Problem {
  /** Group-resource, e.g. "deployments.apps". */
  resource?: string;
  /** Set for namespaced objects; "" for cluster-scoped ones; absent where the problem belongs to no object. */
  namespace?: string;
  name?: string;
  message: string;
}

/** Velero's `Result`, the halves of `<name>-results.gz` (velero pkg/util/results). */
export interface VeleroResult {
  velero?: string[];
  cluster?: string[];
  namespaces?: Record<string, string[]>;
}

/** Sorts problems into Velero's three places: by namespace, "cluster" for cluster-scoped objects, "velero" for the rest. */
export function toVeleroResult(problems: Problem[]): VeleroResult {
  const result: VeleroResult = {};
  for (const problem of problems) {
    const line = problemLine(problem);
    if (problem.namespace === undefined) {
      result.velero ??= [];
      result.velero.push(line);
    } else if (problem.namespace === "") {
      result.cluster ??= [];
      result.cluster.push(line);
    } else {
      result.namespaces ??= {};
      result.namespaces[problem.namespace] ??= [];
      result.namespaces[problem.namespace]?.push(line);
    }
  }
  return result;
}

/** One line for people: "deployments.apps shop/web: message". */
export function problemLine(problem: Problem): string {
  const object = problem.name && problem.namespace ? `${problem.namespace}/${problem.name}` : (problem.name ?? "");
  const subject = [problem.resource, object].filter(Boolean).join(" ");
  return subject ? `${subject}: ${problem.message}` : problem.message;
}

/** The first few of some names, and how many more there are. */
export function someOf(names: string[], most = 5): string {
  const more = names.length - most;
  return `${names.slice(0, most).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/** 5500000 as "5.2 MiB". */
export function bytesText(bytes: number): string {
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), 4);
  return power === 0
    ? `${bytes} B`
    : `${(bytes / 1024 ** power).toFixed(1)} ${["", "KiB", "MiB", "GiB", "TiB"][power]}`;
}
