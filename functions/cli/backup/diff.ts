import { type DiffDocument, type DiffState, diff, LifeboatError } from "../../../core/index.ts";
import { changeText, groupedText, type Mark } from "../changes.ts";
import { type FilterOptions, filterSpec } from "../filters.ts";
import type { Invocation } from "../options.ts";
import { countText, fields, plural, printable, printResult, timeText } from "../output.ts";
import { problemBlock } from "../problems.ts";
import { readingOf } from "../reading.ts";
import { clusterText, openBucket, openCluster } from "../session.ts";

interface DiffOptions extends FilterOptions {
  live?: boolean;
  details?: boolean;
}

/** `lifeboat backup diff A B [OBJECT]`, `lifeboat backup diff A --live [OBJECT]` */
export async function diffBackups({ args, options, signal }: Invocation<DiffOptions>): Promise<undefined> {
  const { from, to, item } = readArguments(args, options);
  const filters = filterSpec(options);
  const bucket = await openBucket(options);
  const reading = await readingOf(options, signal);
  const kube = to === undefined ? await openCluster(options, signal) : undefined;
  try {
    const other = kube ? { kube, name: clusterText(kube, options) } : to!;
    const document = await diff(bucket, { from, to: other, filters, item, details: options.details }, reading);
    await printResult(options.output, document, () => diffText(document, options.details || item !== undefined));
  } finally {
    await kube?.close();
  }
}

/** Names of backups have no slash, those of objects have. */
function readArguments(args: Invocation["args"], { live, ...options }: DiffOptions) {
  const [from, ...rest] = args.filter((arg) => arg !== undefined) as [string, ...string[]];
  const to = live || rest[0]?.includes("/") ? undefined : rest.shift();
  const [item, ...more] = rest;
  const refuse = (message: string, hint: string) => new LifeboatError("invalid", message, { hint });
  if (to === undefined && !live) {
    throw refuse("a backup is compared with another one, or with a cluster", "give a second backup's name, or --live");
  }
  if (more.length > 0 || (item !== undefined && !item.includes("/"))) {
    throw refuse(
      `"${more[0] ?? item}" is one name too many`,
      "give two backups, or one and --live, and at most one object",
    );
  }
  const filters = Object.keys(options).filter((name) => /^(in|ex)clude|^selector$/.test(name));
  if (item !== undefined && filters.length > 0)
    throw refuse("a single object needs no filters", "leave out one of them");
  return { from, to, item };
}

const MARKS: Record<DiffDocument["objects"][number]["change"], Mark> = {
  changed: { mark: "~", colour: "yellow" },
  added: { mark: "+", colour: "green" },
  removed: { mark: "-", colour: "red" },
};

/** A diff for people, in colour on a terminal: what was changed, then what was added and removed. */
export function diffText({ from, to, counts, objects, warnings }: DiffDocument, details = false): string {
  const of = (change: keyof typeof MARKS) => objects.filter((object) => object.change === change);
  const each = (change: keyof typeof MARKS) =>
    of(change)
      .map((object) => changeText(MARKS[change], object))
      .join("");
  const text = (change: keyof typeof MARKS) => (details ? each(change) : groupedText(MARKS[change], of(change)));
  const blocks = [each("changed"), text("added"), text("removed")].filter(Boolean);
  const { same, ...changes } = counts;
  const parts = Object.entries(changes).map(([change, count]) => `${countText(count)} ${change}`);
  return [
    `${parts.join(", ")}, ${countText(same)} the same\n\n`,
    `${fields(
      [
        ["From", stateText(from)],
        ["To", stateText(to)],
      ],
      "  ",
    )}\n`,
    ...blocks.map((block) => `\n${block}`),
    counts.changed > 0 && !details ? `\n  ${plural(counts.changed, "object")} changed: --details tells what\n` : "",
    problemBlock("Warnings", warnings),
  ].join("");
}

function stateText({ backup, cluster, timestamp }: DiffState): string {
  return backup === undefined ? printable(cluster ?? "") : `${printable(backup)} (${timeText(timestamp)})`;
}
