import { z } from "zod";
import { ERROR_KINDS, type ErrorKind } from "../errors.ts";

/**
 * What a check asks, by subject, in this order. One row of the answer each, whatever it is.
 */
export const QUESTIONS = {
  configuration: ["read", "signing key", "trusted keys", "restic"],
  cluster: [
    ...(["access", "reach", "credential", "clock", "kinds", "list", "secrets", "uid", "hooks"] as const),
    ...(["volumes", "leftovers", "restores", "snapshots", "surplus"] as const),
  ],
  discovery: ["list"],
  location: ["list", "create", "write-once", "hold", "clock"],
  function: ["limits"],
} as const;

/**
 * "note": it works, and the identity may more than it needs. "warning": it works, and will not, or not well. "failed": a backup
 * would fail, or lack something.
 */
export const STATES = ["ok", "note", "warning", "failed", "notAsked"] as const;

const kinds = Object.keys(ERROR_KINDS) as [ErrorKind, ...ErrorKind[]];
const questions = [...new Set(Object.values(QUESTIONS).flat())] as [string, ...string[]];

const judgementSchema = z.object({
  state: z.enum(STATES),
  message: z.string(),
  todo: z.string().optional().describe("what to do about it; several commands are a line each"),
  error: z.enum(kinds).optional().describe("of what failed, the kind of the error, where it was one"),
  resources: z.array(z.string()).optional().describe("those that it is about: pods, deployments.apps"),
});

const checkSchema = z
  .object({
    subject: z.enum(Object.keys(QUESTIONS) as [Subject, ...Subject[]]),
    name: z.string().optional().describe("the cluster's, or that of an entry of fleet.discover"),
    question: z.enum(questions),
  })
  .extend(judgementSchema.shape);

/** What a check of a deployment found. No value of a secret is in it, only references. */
export const checkDocumentSchema = z
  .object({
    schemaVersion: z.literal(1),
    kind: z.literal("check"),
    ok: z.boolean().describe("nothing failed"),
    location: z.string().optional(),
    checks: z.array(checkSchema),
  })
  .meta({ id: "Check" });

export type Subject = keyof typeof QUESTIONS;
export type Judgement = z.infer<typeof judgementSchema>;
export type Check = z.infer<typeof checkSchema>;
export type CheckDocument = z.infer<typeof checkDocumentSchema>;
