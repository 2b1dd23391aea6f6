import { z } from "zod";
import { LifeboatError } from "./errors.ts";
import { fieldProblems, problemText } from "./fields.ts";

const key = z
  .string()
  .regex(
    /^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?$/,
    "is not a key that Kubernetes takes for a label",
  );
const value = z
  .string()
  .regex(/^([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?$/, "is not a value that Kubernetes takes for a label");

/** Labels as Kubernetes takes them. */
export const labelsSchema = z.record(key, value);

/** Throws `invalid` for labels that Kubernetes doesn't take. */
export function checkLabels(labels: Record<string, string>): void {
  const { error } = labelsSchema.safeParse(labels);
  if (error) throw new LifeboatError("invalid", fieldProblems(error).map(problemText).join("; "));
}
