/** The three of `names` that it takes the fewest changes of a character to come to. */
export function nearest(name: string, names: readonly string[]): string[] {
  const distances = new Map(names.map((other) => [other, distance(name, other)]));
  return [...names].sort((a, b) => distances.get(a)! - distances.get(b)! || (a < b ? -1 : 1)).slice(0, 3);
}

/** The one of `names` that `name`, mistyped or in other case, probably is; undefined where none is near. */
export function meant(name: string, names: readonly string[]): string | undefined {
  const lower = name.toLowerCase();
  const allowed = Math.ceil(name.length / 4);
  const [best] = nearest(
    lower,
    names.map((other) => other.toLowerCase()),
  );
  if (best === undefined || distance(lower, best) > allowed) return undefined;
  return names.find((other) => other.toLowerCase() === best);
}

/** ", did you mean shop?", or nothing where none of `names` is near. */
export function suggestion(name: string, names: readonly string[]): string {
  const near = meant(name, names);
  return near === undefined ? "" : `, did you mean ${near}?`;
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, character] of [...a].entries()) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      next.push(Math.min(row[j]! + (b[j] === character ? 0 : 1), row[j + 1]! + 1, next[j]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
