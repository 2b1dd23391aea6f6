import { EXCLUDE_LABEL, type KubernetesObject } from "../../../core/index.ts";
import { countText } from "../output.ts";
import type { ClusterObjects, Comparison } from "./compare.ts";

/** Fields in which a restored object rightly differs, and why. */
const REASONS: [RegExp, string][] = [
  [/^spec\.clusterIPs?\b/, "it gives Services addresses of its own,"],
  [/^spec\.ports\.\d+\.nodePort$/, "and node ports of its own, where none was asked for"],
  [/^spec\.(nodeName|priority)$/, "its scheduler and its admission place Pods anew"],
  [/^spec\.claimRef\.uid$/, "its volumes wait for the restored claims"],
  [/^metadata\.annotations\.(pv|volume)\.kubernetes\.io\//, "its controllers bind claims to volumes anew"],
  [/^metadata\.ownerReferences$/, "its controllers (none runs here) adopt their children by labels"],
];

/**
 * What a comparison of the source with a cluster restored from it means. `resources` is the restore's resource list.
 * `alike` says that nothing is lost and that every difference has a reason.
 */
export function judge(
  comparison: Comparison,
  source: ClusterObjects,
  resources: Record<string, string[]>,
): { alike: boolean; text: string } {
  const { same, different, onlyFirst, onlySecond } = comparison;
  const skipped = skippedObjects(resources);
  const fates = Map.groupBy(onlyFirst, (object) =>
    skipped.has(object) ? "skipped" : isExcluded(source.get(object)) ? "excluded" : "lost",
  );
  const lost = fates.get("lost") ?? [];
  const reasons = REASONS.filter(([pattern]) =>
    different.some(({ fields }) => fields.some((field) => pattern.test(field))),
  );
  const odd = different.filter(
    ({ fields }) => !fields.every((field) => REASONS.some(([pattern]) => pattern.test(field))),
  );
  const lines = [
    row(same, "are the same, all that people write in them"),
    ...block(
      different.length - odd.length,
      "differ as they must in another cluster:",
      reasons.map(([, why]) => why),
    ),
    ...block(fates.get("skipped")?.length, "were left out of the restore, by its rules:", kinds(fates.get("skipped"))),
    ...block(
      fates.get("excluded")?.length,
      `were left out of the backup, labelled ${EXCLUDE_LABEL}:`,
      kinds(fates.get("excluded")),
    ),
    ...block(onlySecond.length, "are new, made by the second cluster itself:", kinds(onlySecond)),
    row(odd.length, `differ for no good reason${odd.length > 0 ? ":" : ""}`),
    ...odd.map(({ object, fields }) => `         ${object}: ${fields.join(", ")}`),
    row(lost.length, `are lost${lost.length > 0 ? ":" : ""}`),
    ...lost.map((object) => `         ${object}`),
  ];
  return { alike: odd.length + lost.length === 0, text: `${lines.join("\n")}\n` };
}

/** Objects that a restore left out, as a listing names them: Velero's list marks them "(skipped)". */
function skippedObjects(resources: Record<string, string[]>): Set<string> {
  const mark = "(skipped)";
  return new Set(
    Object.entries(resources).flatMap(([type, names]) =>
      names.filter((name) => name.endsWith(mark)).map((name) => `${type} ${name.slice(0, -mark.length)}`),
    ),
  );
}

function isExcluded(object: KubernetesObject | undefined): boolean {
  return object?.metadata.labels?.[EXCLUDE_LABEL] === "true";
}

/** "11 Endpoints, 3 Node", in lines of at most four. */
function kinds(objects: string[] = []): string[] {
  const counts = [...Map.groupBy(objects, (object) => object.split(" ")[0]!.split("/").at(-1)!)].map(
    ([kind, { length }]) => `${length} ${kind}`,
  );
  return counts.flatMap((_, at) => (at % 4 === 0 ? [counts.slice(at, at + 4).join(", ")] : []));
}

function block(count: number | undefined, what: string, details: string[]): string[] {
  return count ? [row(count, what), ...details.map((detail) => `         ${detail}`)] : [];
}

function row(count: number, what: string): string {
  return `${countText(count).padStart(5)}  ${what}`;
}
