import { z } from "zod";
import { strictFields } from "../fields.ts";

/** The spans of time of which a rule keeps one backup each, the shortest first. */
export const PERIODS = ["hourly", "daily", "weekly", "monthly", "yearly"] as const;
export type Period = (typeof PERIODS)[number];

const MOST = 100_000;
const count = z
  .number()
  .int("should be a whole number")
  .min(0, "should not be negative")
  .max(MOST, `should be at most ${MOST}`)
  .optional();

/** How many backups of a schedule are kept: see `keptByRules`. What is not there, or 0, keeps none. */
export const retentionSchema = strictFields({
  /** The newest ones. */
  keepLast: count,
  /** The newest one of each of so many hours, days, … that have any. */
  hourly: count,
  daily: count,
  weekly: count,
  monthly: count,
  yearly: count,
}).refine((rules) => Object.values(rules).some((kept) => kept), {
  message: "keeps nothing: give a rule a number above 0",
  // Of a rule that was mistyped nothing else is to be told.
  when: ({ issues }) => issues.length === 0,
});

export type Retention = z.infer<typeof retentionSchema>;
