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

/** What a verification has found so far, to go on with. */
export const findingsSchema = z.object({
  found: z.array(damageSchema),
  keys: z.array(z.string()),
  more: z.number(),
  unchecked: z.array(z.string()),
});
type FindingsState = z.infer<typeof findingsSchema>;

/** What a verification has found so far. What is told twice is found once. */
export interface Findings {
  damage(key: string, reason: string, path?: string): void;
  /** What `work` gives; where it throws `corrupt`, that is damage of `key`. */
  orDamage<T>(key: string, work: () => T | Promise<T>): Promise<T | undefined>;
  isDamaged(key: string): boolean;
  /** At most a thousand, and how many more there are. */
  damaged(): Damage[];
  /** Tells what is not looked at, and why. */
  skip(what: string): void;
  unchecked(): string[];
  state(): FindingsState;
}

const MOST = 1000;

/** Nothing found yet, or what the slices before this one have found. */
export function startFindings(before?: FindingsState): Findings {
  const found: Damage[] = [...(before?.found ?? [])];
  const lines = new Set(found.map(lineOf));
  const keys = new Set(before?.keys);
  const unchecked = new Set(before?.unchecked);
  let more = before?.more ?? 0;
  const damage = (key: string, reason: string, path?: string) => {
    const one = { key, ...(path !== undefined && { path }), reason: aboutFile(reason, key) };
    keys.add(key);
    if (lines.has(lineOf(one))) return;
    if (found.length < MOST) {
      found.push(one);
      lines.add(lineOf(one));
    } else more += 1;
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
    skip: (what) => void unchecked.add(what),
    unchecked: () => [...unchecked],
    state: () => ({ found, keys: [...keys], more, unchecked: [...unchecked] }),
  };
}

function lineOf({ key, path, reason }: Damage): string {
  return JSON.stringify([key, path, reason]);
}

/** An error's message without the file that it begins by naming. */
function aboutFile(message: string, key: string): string {
  const [first = ""] = message.split(`${key} `, 1);
  return ["", "the archive ", "the index "].includes(first) && message.startsWith(`${first}${key} `)
    ? message.slice(first.length + key.length + 1).replace(/^(is damaged|was changed after it was written): /, "")
    : message;
}
