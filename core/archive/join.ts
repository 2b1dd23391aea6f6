import { LifeboatError } from "../errors.ts";
import type { IndexEntry, Narrowing } from "./index.ts";
import { type ItemId, itemPath } from "./item.ts";
import type { Archive } from "./reader.ts";

/**
 * Several archives as one, which may be none: their items one after the other, and of an object that more than one holds
 * the first, but for `visit`, which hears of each. The segments of its entries are counted through. `disjoint`: no object is
 * in two of them, so that no path need be remembered.
 */
export function joinArchives(archives: Archive[], { disjoint = false } = {}): Archive {
  const firsts: number[] = [];
  let segments = 0;
  for (const { totals } of archives) {
    firsts.push(segments);
    segments += totals.segments;
  }
  const sum = (count: (archive: Archive) => number) => archives.reduce((total, archive) => total + count(archive), 0);
  const placeOf = (entry: IndexEntry) => firsts.findLastIndex((first) => first <= entry.segment);
  const counted = (entry: IndexEntry, place: number) => ({ ...entry, segment: entry.segment + firsts[place]! });

  async function* entries(match?: (id: ItemId) => boolean, narrow?: Narrowing): AsyncGenerator<IndexEntry> {
    const given = new Set<string>();
    for (const [place, archive] of archives.entries()) {
      for await (const entry of archive.entries(match, narrow)) {
        const path = itemPath(entry);
        if (!given.has(path)) yield counted(entry, place);
        if (!disjoint && place < archives.length - 1) given.add(path);
      }
    }
  }

  /** The entries of one archive after the other, and as that one has them. */
  async function* runs(wanted: AsyncIterable<IndexEntry> | Iterable<IndexEntry>) {
    let run: { archive: Archive; entries: IndexEntry[]; own: IndexEntry[] } | undefined;
    for await (const entry of wanted) {
      const place = placeOf(entry);
      const archive = archives[place];
      if (!archive) throw new LifeboatError("corrupt", "an entry is of none of the archives");
      if (run && run.archive !== archive) yield run;
      if (run?.archive !== archive) run = { archive, entries: [], own: [] };
      run.entries.push(entry);
      run.own.push({ ...entry, segment: entry.segment - firsts[place]! });
    }
    if (run) yield run;
  }

  return {
    totals: { items: sum(({ totals }) => totals.items), bytes: sum(({ totals }) => totals.bytes), segments },
    remade: archives.find(({ remade }) => remade)?.remade,
    entries,
    async visit(narrow, visit) {
      for (const [place, archive] of archives.entries())
        await archive.visit(narrow, (identity, facts, entry) => visit(identity, facts, () => counted(entry(), place)));
    },
    async find(id) {
      for (const [place, archive] of archives.entries()) {
        const entry = await archive.find(id);
        if (entry) return counted(entry, place);
      }
      return undefined;
    },
    async *read(wanted) {
      for await (const { archive, entries, own } of runs(wanted)) {
        const asked = entries.values();
        for await (const { body } of archive.read(own)) yield { entry: asked.next().value!, body };
      }
    },
    async check(entries) {
      for await (const { archive, own } of runs(entries)) await archive.check(own);
    },
    async file(path) {
      for (const archive of archives) {
        const found = await archive.file(path);
        if (found) return found;
      }
      return undefined;
    },
    async *verify({ only = () => true, passed = async () => true } = {}) {
      let goesOn = true;
      for (const [place, archive] of archives.entries()) {
        const first = firsts[place]!;
        const own = async (items: number, segment: number) => {
          goesOn = await passed(items, segment + first);
          return goesOn;
        };
        if (goesOn) yield* archive.verify({ only: (segment) => only(segment + first), passed: own });
      }
    },
    async close() {
      await Promise.all(archives.map((archive) => archive.close()));
    },
  };
}
