import { gunzipSync, gzipSync } from "node:zlib";

/** Names, of which there may be hundreds of thousands: three bytes each, where they come in their order. */
export interface Names {
  add(name: string): void;
  has(name: string): boolean;
  state(): NamesState;
}

/** As JSON: sorted names, so many at a time, gzipped, in base64, with the first and the last of them. */
export type NamesState = { first: string; last: string; names: string }[];

const BLOCK = 4096;
/** Blocks that are kept as they are read: most questions are about a few of them. */
const OPEN = 16;

/** An empty set of names, which have no line breaks, or one that goes on. */
export function startNames(from: NamesState = []): Names {
  const blocks = [...from];
  const open = new Map<NamesState[number], Set<string>>();
  let fresh = new Set<string>();

  const close = () => {
    const names = [...fresh].sort();
    blocks.push({ first: names[0]!, last: names.at(-1)!, names: gzipSync(names.join("\n")).toString("base64") });
    fresh = new Set();
  };
  const namesIn = (block: NamesState[number]) => {
    const names = open.get(block) ?? new Set(gunzipSync(Buffer.from(block.names, "base64")).toString().split("\n"));
    open.delete(block);
    open.set(block, names);
    if (open.size > OPEN) open.delete(open.keys().next().value!);
    return names;
  };

  return {
    add(name) {
      fresh.add(name);
      if (fresh.size >= BLOCK) close();
    },
    has: (name) =>
      fresh.has(name) || blocks.some((block) => block.first <= name && name <= block.last && namesIn(block).has(name)),
    state() {
      if (fresh.size > 0) close();
      return [...blocks];
    },
  };
}
