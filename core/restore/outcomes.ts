import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { type Restore, restoreKeysOf } from "../catalog.ts";
import { readObject } from "../contents.ts";
import type { RestoreDocument } from "../documents.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import type { HtmlPage, HtmlTable, Section } from "../html.ts";
import type { Bucket } from "../ports.ts";
import type { Problem } from "../report.ts";
import { volumesText } from "../volumes/record.ts";
import type { ItemOutcome } from "./report.ts";

/** What became of each object of a recorded restore; undefined for one that kept no account. */
export async function readOutcomes(
  bucket: Bucket,
  record: Restore,
  signal?: AbortSignal,
): Promise<ItemOutcome[] | undefined> {
  const key = restoreKeysOf(record).outcomes;
  try {
    const text = (await promisify(gunzip)(await readObject(bucket, key, signal))).toString();
    return text
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as ItemOutcome);
  } catch (error) {
    if (isLifeboatError(error, "missing")) return undefined;
    if (isLifeboatError(error)) throw error;
    throw new LifeboatError("corrupt", `${key} does not hold what its name says`, { cause: error });
  }
}

/** Objects of one resource with which the same was done for the same reason. */
export interface OutcomeGroup {
  action: ItemOutcome["action"];
  resource: string;
  reason: string;
  /** "namespace/name" or "name". */
  names: string[];
}

/** The order in which people want to know. */
const ORDER: ItemOutcome["action"][] = ["failed", "blocked", "pruned", "recreated", "updated", "created", "skipped"];

/** What became of the objects, those alike together: what needs a person first, what was skipped last. */
export function groupOutcomes(outcomes: Iterable<ItemOutcome>): OutcomeGroup[] {
  const groups = new Map<string, OutcomeGroup>();
  for (const { action, resource, namespace, name, reason = "" } of outcomes) {
    const key = JSON.stringify([action, resource, reason]);
    const group = groups.get(key) ?? { action, resource, reason, names: [] };
    groups.set(key, group);
    group.names.push(namespace ? `${namespace}/${name}` : name);
  }
  return [...groups.values()].sort((a, b) => ORDER.indexOf(a.action) - ORDER.indexOf(b.action));
}

/** Problems that say the same of several objects, as one. */
export function groupProblems(problems: Problem[]): { message: string; names: string[] }[] {
  const groups = new Map<string, string[]>();
  for (const { message, resource, namespace, name } of problems) {
    const names = groups.get(message) ?? [];
    groups.set(message, names);
    if (name ?? resource)
      names.push([resource, namespace && name ? `${namespace}/${name}` : name].filter(Boolean).join(" "));
  }
  return [...groups].map(([message, names]) => ({ message, names }));
}

/** Names that a page shows of one group; the log has them all. */
const NAMES_SHOWN = 1000;

/** The report of a restore as a page: what needs a person first, then what became of every object. */
export function reportPage(document: RestoreDocument, outcomes: ItemOutcome[] = []): HtmlPage {
  const { name, backup, cluster, caller, phase, location, counts, volumes, spec, errors, warnings } = document;
  const { startTimestamp = "", completionTimestamp = "" } = document;
  const told = Object.entries(counts).filter(([, count]) => count > 0);
  const facts: HtmlPage["facts"] = [
    ["Phase", phase],
    ["Backup", backup ?? "none"],
    ...(cluster ? [["Cluster", cluster] as [string, string]] : []),
    ...(caller ? [["Asked for by", caller] as [string, string]] : []),
    ["Location", location],
    ["Started", startTimestamp],
    ["Completed", completionTimestamp],
    ["Objects", told.map(([action, count]) => `${count} ${action}`).join(", ") || "none"],
    ...(volumes ? [["Volumes", volumesText(volumes)] as [string, string]] : []),
  ];
  return {
    title: `Restore ${name}: ${phase}`,
    facts,
    sections: [
      {
        heading: "What needs a person",
        empty: "Nothing.",
        tables: [...problemTable("Errors", errors), ...problemTable("Warnings", warnings)],
      },
      ...outcomeSections(outcomes),
      { heading: "What was asked for", tables: [specTable(spec)] },
    ],
  };
}

function problemTable(caption: string, problems: Problem[]): HtmlTable[] {
  const rows = groupProblems(problems).map(({ message, names }) => [message, shown(names)]);
  if (rows.length === 0) return [];
  return [{ caption: `${caption} (${problems.length})`, columns: ["What", "Objects"], rows, open: true }];
}

function outcomeSections(outcomes: ItemOutcome[]): Section[] {
  const groups = groupOutcomes(outcomes);
  return ORDER.filter((action) => groups.some((group) => group.action === action)).map((action) => ({
    heading: `${action[0]!.toUpperCase()}${action.slice(1)}`,
    tables: [
      ...Map.groupBy(
        groups.filter((group) => group.action === action),
        ({ resource }) => resource,
      ),
    ].map(([resource, alike]) => ({
      caption: `${resource} (${alike.reduce((sum, { names }) => sum + names.length, 0)})`,
      columns: ["Why", "Objects"],
      rows: alike.map(({ reason, names }) => [reason, shown(names)]),
      open: action === "failed" || action === "blocked",
    })),
  }));
}

/** They hold commands and contents, and so perhaps what not every reader of a page should see. */
const UNSHOWN = new Set(["hooks", "resourceModifierRules"]);

function specTable(spec: Record<string, unknown>): HtmlTable {
  const rows = Object.entries(spec).map(([field, value]) => [
    field,
    UNSHOWN.has(field) ? "(in the restore's record)" : typeof value === "string" ? value : JSON.stringify(value),
  ]);
  return { caption: "The restore's spec", columns: ["Field", "Value"], rows, open: false };
}

function shown(names: string[]): string {
  const more = names.length - NAMES_SHOWN;
  return `${names.slice(0, NAMES_SHOWN).join(", ")}${more > 0 ? ` and ${more} more, which the log names` : ""}`;
}
