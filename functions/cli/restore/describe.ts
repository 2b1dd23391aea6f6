import {
  groupOutcomes,
  htmlPage,
  type RestoreDocument,
  readOutcomes,
  readResourceList,
  readRestore,
  readRestoreDocument,
  reportPage,
  restoreKeysOf,
  someOf,
} from "../../../core/index.ts";
import { volumesField } from "../backup/describe.ts";
import { detailsBlock, filtersText, listText } from "../describe.ts";
import type { Invocation } from "../options.ts";
import { countText, fields, phaseText, print, printable, printResult, timeText } from "../output.ts";
import { problemBlock } from "../problems.ts";
import { openBucket } from "../session.ts";
import { readMade } from "../underway.ts";
import { countsText } from "./counts.ts";

/** `lifeboat restore describe NAME` */
export async function describeRestore({
  args,
  options,
  signal,
}: Invocation<{ details?: boolean; html?: boolean }>): Promise<undefined> {
  const bucket = await openBucket(options);
  const name = args[0] as string;
  const record = await readMade({ bucket, kind: "restore", name, signal }, () => readRestore(bucket, name, signal));
  const document = await readRestoreDocument(bucket, record, signal);
  if (options.html) {
    print(htmlPage(reportPage(document, await readOutcomes(bucket, record, signal))));
    return;
  }
  if (!options.details) {
    await printResult(options.output, document, () => describe(document));
    return;
  }
  const resources = await readResourceList(bucket, restoreKeysOf(record).resourceList, signal);
  const objects = await readOutcomes(bucket, record, signal);
  const details = () => (objects ? outcomesText(objects) : detailsBlock(resources));
  await printResult(options.output, { ...document, resources, objects }, () => describe(document) + details());
}

const NAMES_SHOWN = 5;

/** What became of the objects, those alike on one line. */
function outcomesText(objects: Parameters<typeof groupOutcomes>[0]): string {
  const byAction = Map.groupBy(groupOutcomes(objects), ({ action }) => action);
  const line = ({ resource, reason, names }: ReturnType<typeof groupOutcomes>[number]) =>
    printable(`${resource} (${countText(names.length)})${reason ? `: ${reason}` : ""}: ${someOf(names, NAMES_SHOWN)}`);
  const blocks = [...byAction].map(([action, groups]) => {
    const heading = `${action[0]!.toUpperCase()}${action.slice(1)}:`;
    return `\n${heading}\n${groups.map((group) => `  ${line(group)}`).join("\n")}\n`;
  });
  return blocks.join("") || "\nNo objects.\n";
}

const CLONE: [name: string, field: string][] = [
  ["Domain mappings", "domainMapping"],
  ["Registry mappings", "registryMapping"],
  ["Storage class mappings", "storageClassMapping"],
  ["Ingress class mappings", "ingressClassMapping"],
  ["Zone mappings", "zoneMapping"],
];

function describe(document: RestoreDocument): string {
  const { name, phase, location, backup, spec, counts, warnings, errors } = document;
  const pairs = (field: string, between: string) =>
    Object.entries(spec[field] ?? {}).map(([from, to]) => printable(`${from}${between}${to}`));
  const clone = CLONE.filter(([, field]) => spec[field]).map(([name, field]): [string, string] => [
    name,
    listText(pairs(field, "="), ""),
  ]);
  if (spec.scaleTo !== undefined) clone.push(["Scaled to", printable(String(spec.scaleTo))]);
  return [
    fields([
      ["Name", printable(name)],
      ["Phase", phaseText(phase)],
      ["Backup", printable(backup ?? "<none>")],
      ...(document.undoes ? [["Undoes", printable(document.undoes)] as [string, string]] : []),
      ["Storage Location", location],
    ]),
    `\n\n${filtersText(spec, "all namespaces found in the backup")}`,
    `\n\n${fields([
      ["Namespace mappings", listText(pairs("namespaceMapping", ":"), "<none>")],
      ["Existing Resource Policy", printable(String(spec.existingResourcePolicy ?? "<none>"))],
      ["Preserve Service NodePorts", spec.preserveNodePorts === undefined ? "auto" : String(spec.preserveNodePorts)],
      ...(spec.prune ? [["Prune", "true"] as [string, string]] : []),
      ...clone,
    ])}`,
    `\n\n${fields([
      ["Started", timeText(document.startTimestamp)],
      ["Completed", timeText(document.completionTimestamp)],
    ])}`,
    `\n\n${fields([["Objects", countsText(counts)], ...volumesField(document)])}\n`,
    problemBlock("Errors", errors) || "\nErrors:    <none>\n",
    problemBlock("Warnings", warnings) || "Warnings:  <none>\n",
  ].join("");
}
