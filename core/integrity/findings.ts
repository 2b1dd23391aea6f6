import { z } from "zod";
import { isLifeboatError } from "../errors.ts";
import { someOf } from "../report.ts";

/** What is wrong with one file, or with one item in it, whose path in the archive is told. */
export const damageSchema = z.object({ key: z.string(), path: z.string().optional(), reason: z.string() });
export type Damage = z.infer<typeof damageSchema>;

/** Damages, a line each; those of objects that say the same of one file, a part of it, are one line, which names the first few. */
export function damageLines(damages: Damage[]): string[] {
  const alike = Map.groupBy(damages, ({ key, reason }) => `${key}: ${reason}`);
  return [...alike].map(([line, all]) => {
    const paths = all.flatMap(({ path }) => path ?? []);
    const { key, reason } = all[0]!;
    if (paths.length < 2) return [key, ...paths, reason].join(": ");
    return `${line}: ${paths.length} objects: ${someOf(paths, 3)}`;
  });
}

/** Damages in a line: the first, and in how many more places; "" where there is none. */
export function damageText(damages: Damage[]): string {
  const [first = "", ...more] = damageLines(damages);
  const others = more.length === 1 ? "1 more place" : `${more.length} more places`;
  return `${first}${more.length ? `, and in ${others}` : ""}`;
}

/** What a verification has found so far. */
export interface Findings {
  damage(key: string, reason: string, path?: string): void;
  /** What `work` gives; where it throws `corrupt`, that is damage of `key`. */
  orDamage<T>(key: string, work: () => T | Promise<T>): Promise<T | undefined>;
  isDamaged(key: string): boolean;
  /** At most a thousand, and how many more there are. */
  damaged(): Damage[];
  /** What was not looked at, and why. */
  unchecked: string[];
}

const MOST = 1000;

/** Nothing found yet. */
export function startFindings(): Findings {
  const found: Damage[] = [];
  const keys = new Set<string>();
  let more = 0;
  const damage = (key: string, reason: string, path?: string) => {
    keys.add(key);
    if (found.length < MOST) found.push({ key, ...(path !== undefined && { path }), reason: aboutFile(reason, key) });
    else more += 1;
  };
  return {
    damage,
    async orDamage(key, work) {
      try {
        return await work();
      } catch (error) {
        if (!isLifeboatError(error, "corrupt")) throw error;
        damage(key, error.message);
        return undefined;
      }
    },
    isDamaged: (key) => keys.has(key),
    damaged: () => (more > 0 ? [...found, { key: found.at(-1)!.key, reason: `and ${more} more` }] : found),
    unchecked: [],
  };
}

/** An error's message without the file that it begins by naming. */
function aboutFile(message: string, key: string): string {
  const [first = ""] = message.split(`${key} `, 1);
  return ["", "the archive ", "the index "].includes(first) && message.startsWith(`${first}${key} `)
    ? message.slice(first.length + key.length + 1).replace(/^(is damaged|was changed after it was written): /, "")
    : message;
}
