import { hash, randomUUID } from "node:crypto";
import type { RecordedJob } from "../job.ts";
import { nameStem } from "../schedule/slots.ts";
import type { JobContext } from "./context.ts";

/** The job's name; of one without, the same for every delivery of one trigger, where the platform tells them apart. */
export function nameOf(job: RecordedJob, subject: string, { delivery }: JobContext): string {
  return job.name ?? `${nameStem(subject)}-${deliveryId(delivery)}`;
}

/** Short enough for names. */
function deliveryId(delivery: string = randomUUID()): string {
  return hash("sha256", delivery, "hex").slice(0, 12);
}
