import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseQuantity } from "../../core/objects/quantity.ts";

describe("Kubernetes' quantities", () => {
  for (const [text, number] of [
    ["0", 0],
    ["10Gi", 10_737_418_240],
    ["1.5Ki", 1_536],
    ["500M", 500_000_000],
    ["2k", 2_000],
    ["1E", 1e18],
    ["8Ei", 2 ** 63],
    ["1e3", 1_000],
    ["12E+2", 1_200],
    ["1.25e-1", 0.125],
    ["100m", 0.1],
    ["+5", 5],
    ["-1Gi", -1_073_741_824],
    [".5Ki", 512],
    ["5.", 5],
  ] as const) {
    it(`${text} is ${number}`, () => assert.equal(parseQuantity(text), number));
  }
  for (const text of ["", "Gi", ".", "10gi", "1K", "10 Gi", "1,5Gi", "1e", "0x10", "10GiB", "Infinity"]) {
    it(`refuses "${text}"`, () => assert.throws(() => parseQuantity(text), { kind: "invalid" }));
  }
});
