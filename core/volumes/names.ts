import { createHash } from "node:crypto";
import { LifeboatError } from "../errors.ts";

/**
 * A name as clouds take it: small letters, digits and "-", a letter first, `most` characters at most. The same name gives
 * the same; what had to be changed ends in a digest, so that no two become one.
 */
export function cloudName(name: string, most: number): string {
  const plain = name.toLowerCase().replace(/[^a-z0-9]+/g, "-");
  const whole = /^[a-z]/.test(plain) ? plain : `l-${plain}`;
  if (whole === name && name.length <= most && !name.endsWith("-")) return name;
  const digest = createHash("sha256").update(name).digest("hex").slice(0, 12);
  return `${whole.slice(0, most - 13).replace(/-+$/, "")}-${digest}`;
}

/** What a name's form finds in it. Throws `invalid` where it hasn't that form; `what`: "an EBS volume". */
export function matching(form: RegExp, name: string, what: string): RegExpExecArray {
  const found = form.exec(name);
  if (found) return found;
  throw new LifeboatError("invalid", `${JSON.stringify(name)} is no name of ${what}`);
}
