import { LifeboatError } from "./errors.ts";

const MILLISECONDS: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Parses a Go duration ("720h0m0s", "1.5h") into milliseconds. Throws `invalid` for anything else, negative ones too. */
export function parseDuration(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/gy)];
  if (parts.length === 0 || parts.map(([part]) => part).join("") !== text) {
    throw new LifeboatError("invalid", `"${text}" is not a duration`, {
      hint: 'write it as Go does: "720h", "1h30m", "90s"',
    });
  }
  return parts.reduce((sum, [, value, unit]) => sum + Number(value) * MILLISECONDS[unit!]!, 0);
}

/** `date` plus a Go duration. */
export function addDuration(date: Date, duration: string): Date {
  return new Date(date.getTime() + parseDuration(duration));
}
