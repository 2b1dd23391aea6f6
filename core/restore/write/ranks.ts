/** "`late` is restored in a later rank than `early`"; both are places in the list of waves. */
export interface Before {
  early: number;
  late: number;
}

/**
 * The rank of each item: its wave, or one more than the highest rank it must come after, whichever is greater. What
 * can't be satisfied, a cycle, is cut at its member of the lowest wave, which then doesn't wait for the others.
 * Takes linear time.
 */
export function ranks(waves: ArrayLike<number>, order: Before[]): Int32Array {
  const rank = Int32Array.from(waves);
  const waiting = new Int32Array(rank.length);
  const followers = new Map<number, number[]>();
  for (const { early, late } of order) {
    waiting[late]!++;
    const known = followers.get(early);
    if (known) known.push(late);
    else followers.set(early, [late]);
  }

  const settled = new Uint8Array(rank.length);
  const settle = (start: number) => {
    const ready = [start];
    for (let item = ready.pop(); item !== undefined; item = ready.pop()) {
      settled[item] = 1;
      for (const follower of followers.get(item) ?? []) {
        if (settled[follower]) continue;
        rank[follower] = Math.max(rank[follower]!, rank[item]! + 1);
        if (--waiting[follower]! === 0) ready.push(follower);
      }
    }
  };
  for (const item of [...followers.keys()].filter((item) => waiting[item] === 0)) settle(item);

  const leaders = new Map<number, number[]>();
  for (const { early, late } of order) {
    if (settled[late]) continue;
    const known = leaders.get(late);
    if (known) known.push(early);
    else leaders.set(late, [early]);
  }
  for (const item of leaders.keys()) {
    while (!settled[item]) settle(lowest(cycleBehind(item, leaders, settled), waves));
  }
  return rank;
}

/** The items of a cycle that `start`, which waits for unsettled items, is on or comes after. */
function cycleBehind(start: number, leaders: Map<number, number[]>, settled: Uint8Array): number[] {
  const path = [start];
  const places = new Map([[start, 0]]);
  for (let item = start; ; ) {
    item = leaders.get(item)!.find((leader) => !settled[leader])!;
    const place = places.get(item);
    if (place !== undefined) return path.slice(place);
    places.set(item, path.length);
    path.push(item);
  }
}

function lowest(items: number[], waves: ArrayLike<number>): number {
  return items.reduce((least, item) => ((waves[item]! - waves[least]! || item - least) < 0 ? item : least));
}
