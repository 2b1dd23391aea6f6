import type { KubernetesObject } from "../../archive/item.ts";
import type { Archive } from "../../archive/reader.ts";
import { parseExact } from "../../kube/json.ts";
import { sharedText } from "../data.ts";
import { fix } from "../fixes.ts";
import type { RestoreReport } from "../report.ts";
import type { RestorePlan } from "../restore.ts";
import type { Item } from "../survey.ts";
import { hasName } from "../undo/kin.ts";
import type { Note } from "../undo/notes.ts";
import { joined, volumeOf } from "./sending.ts";
import { bodies } from "./writes.ts";

/**
 * Counts the data of what earlier runs of this restore made, as those of what this run makes are, and warns again of claims that
 * came with an empty volume. A run's note says that it was to create an object, the object's label that it did.
 */
export async function takeEarlier(
  { steps, target, data, fixing }: RestorePlan,
  { archive, notes, report }: { archive: Archive; notes: Note[]; report: RestoreReport },
): Promise<void> {
  if (!data) return;
  const made = steps.filter(
    ({ action, place, item }) =>
      action !== "create" && place !== undefined && target.labelled.has(place) && noteOf(item, notes),
  );
  for await (const { step, body } of bodies(archive, made)) {
    const { item, place } = step;
    const source = data.plan.of(item);
    const without = hasName(noteOf(item, notes)!.without, idOf(item));
    if (source && source.how !== "none" && !without) {
      data.brought.push({ item, data: source });
      continue;
    }
    const claim = parseExact(body) as KubernetesObject;
    const volume = volumeOf(claim);
    fix(claim, item.entry.resource, { ...fixing, keepsVolume: () => true });
    if (!volume) continue;
    const came = target.labelled.get(place!) === volumeOf(claim) ? "same" : "empty";
    if (came === "same" && data.plan.remade.has(volume)) continue;
    data.without.set(`${item.namespace}/${item.name}`, came);
    if (came === "same" && data.elsewhere(item, volume)) report.warn(item, sharedText(volume));
    if (came === "empty")
      report.warn(item, joined(`its volume ${volume} isn't restored: it got a new, empty one`, source?.reason)!);
  }
}

/** The note of the last run that was to create the object: it was missing then. */
function noteOf(item: Item, notes: Note[]): Note | undefined {
  return notes.findLast(({ creates }) => hasName(creates, idOf(item)));
}

function idOf({ entry: { resource }, namespace, name }: Item) {
  return { resource, namespace, name };
}
