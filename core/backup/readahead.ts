/**
 * Iterates over several sources one after the other while the next ones already work: of the current source and of
 * the `ahead - 1` after it the next element is always under way, and never more than that one. So memory is bounded
 * by `ahead` elements, and the order is that of the sources. On any end all open sources are closed.
 */
export async function* readAhead<Source, Element>(
  sources: Source[],
  open: (source: Source) => AsyncIterable<Element>,
  ahead: number,
): AsyncGenerator<{ source: Source; element: Element }> {
  const started: { iterator: AsyncIterator<Element>; next: Promise<IteratorResult<Element>> }[] = [];
  const start = (source: Source) => {
    const iterator = open(source)[Symbol.asyncIterator]();
    const entry = { iterator, next: iterator.next() };
    entry.next.catch(() => {});
    started.push(entry);
  };
  try {
    for (const [index, source] of sources.entries()) {
      for (const upcoming of sources.slice(started.length, index + ahead)) start(upcoming);
      const current = started[index]!;
      for (;;) {
        const result = await current.next;
        if (result.done) break;
        current.next = current.iterator.next();
        current.next.catch(() => {});
        yield { source, element: result.value };
      }
    }
  } finally {
    await Promise.allSettled(started.map(({ iterator }) => iterator.return?.()));
  }
}
