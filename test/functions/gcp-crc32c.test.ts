import assert from "node:assert/strict";
import { test } from "node:test";
import { CRC32C } from "@google-cloud/storage";
import fc from "fast-check";
import { base64Of, crc32c } from "../../functions/gcp/crc32c.ts";

test("the CRC32C of RFC 3720's examples", () => {
  const examples: [bytes: Buffer, sum: number][] = [
    [Buffer.from("123456789"), 0xe3069283],
    [Buffer.alloc(32), 0x8a9136aa],
    [Buffer.alloc(32, 0xff), 0x62a8ab43],
    [Buffer.from(Array.from({ length: 32 }, (_, index) => index)), 0x46dd794e],
    [Buffer.alloc(0), 0],
  ];
  for (const [bytes, sum] of examples) assert.equal(crc32c(bytes), sum);
});

test("it is that of Google's SDK, in however many pieces", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 }), (pieces) => {
      const whole = Buffer.concat(pieces);
      const theirs = new CRC32C();
      theirs.update(whole);
      const sum = pieces.reduce((before, piece) => crc32c(piece, before), 0);
      assert.equal(sum, crc32c(whole));
      assert.equal(base64Of(sum), theirs.toString());
    }),
  );
});
