import { crc32, deflateRawSync } from "node:zlib";

/** Version 2.0 of the format, made on Unix, which lets an entry carry its mode. */
const NEEDED = 20;
const MADE_BY = (3 << 8) | NEEDED;
const UTF8_NAMES = 1 << 11;
const DEFLATED = 8;
/** The first day that the format knows: 1 January 1980, 00:00. */
const DATE = (1 << 5) | 1;
/** A regular file that everybody may read: on Lambda the code runs as another user than the one it is unpacked by. */
const MODE = 0o100644;

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;

/**
 * A zip archive of `files` (path with "/" to content). The same files give the same bytes on one Node version: entries
 * are sorted by the bytes of their paths and all of one date. Not for archives of 4 GiB or 65,535 files.
 */
export function zip(files: Readonly<Record<string, Buffer>>): Buffer {
  const entries = Object.entries(files)
    .map(([path, content]) => ({ name: Buffer.from(path), content }))
    .sort((a, b) => Buffer.compare(a.name, b.name));
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, content } of entries) {
    const deflated = deflateRawSync(content, { level: 9 });
    const facts = record([
      [2, NEEDED],
      [2, UTF8_NAMES],
      [2, DEFLATED],
      [2, 0],
      [2, DATE],
      [4, crc32(content)],
      [4, deflated.length],
      [4, content.length],
      [2, name.length],
      [2, 0],
    ]);
    parts.push(record([[4, LOCAL]]), facts, name, deflated);
    const place = record([
      [2, 0],
      [2, 0],
      [2, 0],
      [4, MODE * 2 ** 16],
      [4, offset],
    ]);
    directory.push(record([[4, CENTRAL]]), record([[2, MADE_BY]]), facts, place, name);
    offset += 4 + facts.length + name.length + deflated.length;
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0);
  const end = record([
    [4, END],
    [2, 0],
    [2, 0],
    [2, entries.length],
    [2, entries.length],
    [4, size],
    [4, offset],
    [2, 0],
  ]);
  return Buffer.concat([...parts, ...directory, end]);
}

/** Unsigned little-endian numbers, each with its width in bytes. */
function record(fields: readonly (readonly [width: 2 | 4, value: number])[]): Buffer {
  return Buffer.concat(
    fields.map(([width, value]) => {
      const field = Buffer.alloc(width);
      field.writeUIntLE(value, 0, width);
      return field;
    }),
  );
}
