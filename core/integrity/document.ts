import { z } from "zod";
import { damageSchema } from "./findings.ts";

/** What a verification found: the same for the command line, HTTP and functions. */
export const verifySchema = z.object({
  schemaVersion: z.literal(1),
  kind: z.literal("verify"),
  name: z.string(),
  location: z.string(),
  ok: z.boolean().describe("nothing is damaged, of what was looked at"),
  damaged: z.array(damageSchema),
  unchecked: z.array(z.string()).describe("what was not looked at, and why"),
  files: z.number().describe("how many lie in the backup's folder"),
  items: z.number().describe("by its index; by its record where it has none"),
  segments: z
    .object({ total: z.number(), read: z.number() })
    .optional()
    .describe("of the archive: how many there are, and of how many the data was read"),
  signedBy: z.string().optional().describe("the public key that has signed it"),
  findingCount: z
    .number()
    .optional()
    .describe("what a restore into an empty cluster would miss, where somebody has looked"),
});
export type VerifyDocument = z.infer<typeof verifySchema>;

/** What the verification of many backups of a location found. */
export const verifyListSchema = z.object({
  schemaVersion: z.literal(1),
  kind: z.literal("verifyList"),
  location: z.string(),
  ok: z.boolean().describe("every backup is, of what was looked at, and nothing lies there that is none"),
  backups: z.array(verifySchema),
  orphans: z.array(z.object({ folder: z.string(), reason: z.string() })).describe("folders without a record"),
});
export type VerifyListDocument = z.infer<typeof verifyListSchema>;
