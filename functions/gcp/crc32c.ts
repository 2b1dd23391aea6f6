/** The polynomial of Castagnoli, its bits reversed. */
const POLYNOMIAL = 0x82f63b78;
const SLICES = 8;

/** `TABLES[n * 256 + byte]`: what `byte` does to the sum when `n` more bytes follow it. */
const TABLES = new Int32Array(SLICES * 256);
for (let byte = 0; byte < 256; byte++) {
  let sum = byte;
  for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ POLYNOMIAL : sum >>> 1;
  TABLES[byte] = sum;
}
const at = (index: number): number => TABLES[index] as number;
for (let index = 256; index < TABLES.length; index++) {
  const before = at(index - 256);
  TABLES[index] = (before >>> 8) ^ at(before & 0xff);
}

/**
 * The CRC32C of `bytes`, or, with that of what goes before them, of both together: 0 to 2^32 - 1. Eight bytes at a time,
 * some ten times as fast as that of Google's SDK.
 */
export function crc32c(bytes: Uint8Array, before = 0): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let sum = ~before;
  let index = 0;
  for (const end = bytes.length - SLICES; index <= end; index += SLICES) {
    const low = view.getInt32(index, true) ^ sum;
    const high = view.getInt32(index + 4, true);
    sum =
      at(1792 + (low & 0xff)) ^
      at(1536 + ((low >>> 8) & 0xff)) ^
      at(1280 + ((low >>> 16) & 0xff)) ^
      at(1024 + (low >>> 24)) ^
      at(768 + (high & 0xff)) ^
      at(512 + ((high >>> 8) & 0xff)) ^
      at(256 + ((high >>> 16) & 0xff)) ^
      at(high >>> 24);
  }
  for (; index < bytes.length; index++) sum = (sum >>> 8) ^ at((sum ^ view.getUint8(index)) & 0xff);
  return ~sum >>> 0;
}

/** A CRC32C as Cloud Storage writes it: base64 of four bytes, the highest first. */
export function base64Of(sum: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(sum);
  return bytes.toString("base64");
}
