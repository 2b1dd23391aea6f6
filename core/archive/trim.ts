import type { IndexEntry } from "./index.ts";

/**
 * Makes entries small that are kept by the thousand: of the facts only `kind`, `apiVersion`, `uid` and `owners` stay, and
 * the labels where asked for; texts that come again are kept once.
 */
export function entryTrimmer({ labels = false } = {}): (entry: IndexEntry) => IndexEntry {
  const texts = new Map<string, string>();
  const labelsOf = new Map<string, IndexEntry["labels"]>();
  const once = <T>(known: Map<string, T>, key: string, value: T): T => {
    const found = known.get(key);
    if (found === undefined) known.set(key, value);
    return found ?? value;
  };
  const text = (value: string) => once(texts, value, value);
  return (entry) => ({
    ...entry,
    resource: text(entry.resource),
    namespace: text(entry.namespace),
    kind: text(entry.kind),
    apiVersion: text(entry.apiVersion),
    version: text(entry.version),
    owners: entry.owners.length ? entry.owners : NONE,
    resourceVersion: "",
    labels: labels ? once(labelsOf, JSON.stringify(entry.labels), entry.labels) : NO_LABELS,
    images: NONE,
  });
}

const NONE: string[] = [];
const NO_LABELS: Record<string, string> = {};
