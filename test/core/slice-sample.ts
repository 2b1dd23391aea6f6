import type { Slice } from "../../core/backup/slices.ts";

/** A slice that ends after so many pages. */
export function sliceOf(pages: number, pieceBytes?: number): Slice {
  let left = pages;
  const ends = {
    get aborted() {
      return left-- <= 0;
    },
  } as AbortSignal;
  return { ends, pieceBytes };
}
