import { z } from "zod";
import { backupSpecSchema, restoreSpecSchema } from "./specs.ts";

const slot = z.iso.datetime({ offset: true });
const shared = {
  cluster: z.string().min(1).optional(),
  name: z.string().min(1).optional(),
  /** Who asked for it, where somebody did: for the record. */
  caller: z.string().max(500).optional(),
  /** Not to be begun before: for platforms that can't delay a delivery. */
  notBefore: slot.optional(),
};

/** What every trigger becomes (design: contract 6.5). */
export const jobSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("backup"),
    ...shared,
    /** A schedule of the configuration; `slot` is then the scheduled time, by default the last one at or before now. */
    schedule: z.string().min(1).optional(),
    slot: slot.optional(),
    spec: backupSpecSchema.optional(),
  }),
  z.strictObject({ kind: z.literal("restore"), ...shared, spec: restoreSpecSchema }),
]);

export type Job = z.infer<typeof jobSchema>;
