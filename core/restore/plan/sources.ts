import type { Archive } from "../../archive/reader.ts";
import { CLAIMS, VOLUMES } from "../../objects/resources.ts";
import type { RestorePlan } from "../restore.ts";
import type { Item } from "../survey.ts";
import { type Applying, type Prepared, prepare } from "../write/sending.ts";
import { bodies } from "../write/writes.ts";
import type { PlannedStep } from "./steps.ts";

/** How the data of a claim or volume come that is created, for people: of a copy in the backup, with its volume, or not. */
export const SOURCES = {
  csi: "with the data of a CSI snapshot",
  files: "with the data that restic copied",
  native: "with the data of a disk's snapshot",
  same: "with the volume that it had",
  empty: "with a new, empty volume",
};

export type DataSource = keyof typeof SOURCES;

/** How the data of an item come that is created; undefined for what has none of its own. */
export function sourceOf(
  item: Item,
  { data, without }: Pick<Applying, "data"> & Pick<Prepared, "without">,
): DataSource | undefined {
  const how = data?.plan.of(item)?.how ?? "none";
  return how === "none" ? without : how;
}

/** That of all claims and volumes that a plan creates, by their steps. */
export async function plannedSources(planned: RestorePlan, archive: Archive): Promise<Map<PlannedStep, DataSource>> {
  const { steps, data } = planned;
  const sources = new Map<PlannedStep, DataSource>();
  const creates = steps.filter(
    ({ action, item }) => action === "create" && [CLAIMS, VOLUMES].includes(item.entry.resource),
  );
  for await (const { step, body } of bodies(archive, creates)) {
    const { without } = prepare({ item: step.item, body, applying: planned });
    const source = sourceOf(step.item, { data, without });
    if (source) sources.set(step, source);
  }
  return sources;
}
