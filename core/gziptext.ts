import { gzipSync } from "node:zlib";

/** Text that grows line by line and is kept compressed. */
export interface GzipText {
  add(text: string): void;
  /** Compresses what waits for more: nothing is added for a while. */
  rest(): void;
  /** All so far, as one gzip file: members one after the other. */
  gzipped(): Buffer;
}

/** Characters that wait to be compressed together. */
const BATCH = 1 << 18;

/** An empty text, or one that goes on from `gzipped`. A name in a list of names costs some three bytes in it. */
export function gzipText(gzipped?: Buffer): GzipText {
  const members = gzipped ? [gzipped] : [];
  let pending = "";
  const compress = () => {
    members.push(gzipSync(pending));
    pending = "";
  };
  return {
    add(text) {
      pending += text;
      if (pending.length >= BATCH) compress();
    },
    rest() {
      if (pending !== "") compress();
    },
    gzipped() {
      if (pending !== "" || members.length === 0) compress();
      return Buffer.concat(members);
    },
  };
}
