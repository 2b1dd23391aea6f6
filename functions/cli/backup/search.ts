import { MOST_FOUND, type SearchDocument, search } from "../../../core/index.ts";
import { withoutUndefined } from "../filters.ts";
import type { Invocation } from "../options.ts";
import { columns, countText, plural, printable, printResult, say, timeText } from "../output.ts";
import { readingOf } from "../reading.ts";
import { openExisting } from "../session.ts";

interface SearchOptions {
  kind?: string;
  name?: string;
  namespace?: string;
  image?: string;
  label?: string;
  backup?: string[];
  schedule?: string;
}

/** `lifeboat backup search [TEXT]`: which objects are in which backups. Exit code 0 also where nothing is found. */
export async function searchBackups({ args, options, signal }: Invocation<SearchOptions>): Promise<undefined> {
  const { kind, name, namespace, image, label, backup: backups, schedule } = options;
  const criteria = withoutUndefined({ text: args[0] as string | undefined, kind, name, namespace, image, label });
  const bucket = await openExisting(options);
  const found = await search(bucket, { criteria, backups, schedule }, await readingOf(options, signal));
  for (const { message } of found.warnings) say(`Warning: ${printable(message)}`);
  if (found.objects.length === 0) say(nothingText(found));
  await printResult(options.output, found, () => (found.objects.length ? searchText(found) : ""));
  if (found.cut) say(`More than ${countText(MOST_FOUND)} objects: those that only older backups hold are left out`);
}

function nothingText({ criteria, searched, location }: SearchDocument): string {
  const wanted = Object.entries(criteria).map(([what, value]) => `${what} "${printable(value)}"`);
  return `Nothing found with ${wanted.join(" and ")} in ${plural(searched, "backup")} of ${location}: names, namespaces, labels and images were searched, not bodies`;
}

function searchText({ objects }: SearchDocument): string {
  const rows = objects.map(({ resource, namespace, name, backups, first, last }) => [
    printable(namespace || "-"),
    printable(resource),
    printable(name),
    countText(backups),
    `${printable(first.backup)} (${timeText(first.timestamp)})`,
    `${printable(last.backup)} (${timeText(last.timestamp)})`,
  ]);
  return columns([["NAMESPACE", "RESOURCE", "NAME", "BACKUPS", "FIRST", "LAST"], ...rows]);
}
