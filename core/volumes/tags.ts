import { cloudName } from "./names.ts";

/** The tag that says which request made a snapshot or disk: the `name` that the port `Disks` was given. */
export const NAME_TAG = "lifeboat/name";
/** The longest value that every cloud takes. */
const MOST_VALUE = 256;
const THROUGHPUT_TAG = "lifeboat/throughput";

/** The tags that a copy is found by, and that rights in the clouds depend on: for these there is always room. */
const FOUND_BY = /^(velero\.io|lifeboat)\//;

/** Tags that are not handed on, each with the reason. */
const NOT_INHERITED: [tags: RegExp, why: string][] = [
  [/^aws:/, "AWS alone may set them"],
  [/^lifeboat\//, "they are of the one snapshot or disk"],
  [/^(kubernetes\.io\/cluster\/|KubernetesCluster$)/, "who deletes that cluster would delete this too"],
];

/**
 * The tags of a snapshot or disk: `own`, and those that it inherits from what it is made of. `fits` says whether a cloud has
 * room for so many; what it hasn't room for is left out, the last first.
 */
export function tagsFor(
  own: Record<string, string>,
  inherited: Record<string, string>,
  fits: (tags: Record<string, string>) => boolean,
): Record<string, string> {
  const handedOn = Object.entries(inherited).filter(([name]) => !NOT_INHERITED.some(([tags]) => tags.test(name)));
  const entries = Object.entries(own);
  const foundBy = entries.filter(([name]) => FOUND_BY.test(name));
  let tags: Record<string, string> = {};
  for (const [name, value] of [...foundBy, ...entries, ...handedOn]) {
    const more = { ...tags, [name]: value };
    if (!Object.hasOwn(tags, name) && fits(more)) tags = more;
  }
  return tags;
}

/** That tag's value: the name, shortened where it is too long for a tag. */
export function nameTag(name: string): string {
  return name.length > MOST_VALUE ? cloudName(name, MOST_VALUE) : name;
}

/** The tag of a snapshot for the throughput of its disk, in MB/s, where that is set apart; Velero has no place for it. */
export function throughputTag(type: string, throughput: string | number): Record<string, string> {
  return { [THROUGHPUT_TAG]: `${throughput} ${type}` };
}

/** The throughput that a snapshot's tags tell, for a disk of the same type. */
export function throughputFor(type: string, tags: Record<string, string>): number | undefined {
  const [throughput, of] = (tags[THROUGHPUT_TAG] ?? "").split(" ");
  return of === type ? Number(throughput) || undefined : undefined;
}
