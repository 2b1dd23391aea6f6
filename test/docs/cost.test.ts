import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { billTable, dollarsOf, monthlyCost, PRICES, priceTable, type Target } from "../../bench/cost.ts";

const GIB = 2 ** 30;
const run = { durationMs: 9000, usage: { puts: 10, gets: 5, lists: 5, storedBytes: GIB } };
const month = { runs: 100, kept: 10, deletedDays: 30, memoryMB: 1024, secrets: 1 };

/** Reckoned by hand: what of it, and in US dollars. A run is 10 s with its start, and 10 + 5 + 128 writes; the bucket holds 10 + 100 GiB. */
const BILLS: Record<Target, Record<string, [amount: number, dollars: number]>> = {
  aws: {
    compute: [1000, 0.0133334],
    invocations: [100, 0.00002],
    writes: [14_300, 0.0715],
    reads: [500, 0.0002],
    storage: [110, 2.53],
    clock: [100, 0.0001],
    secrets: [1, 0.4],
    alarms: [5, 0.5],
  },
  gcp: {
    compute: [1000, 0.029],
    invocations: [100, 0.00004],
    writes: [14_300, 0.0715],
    reads: [500, 0.0002],
    storage: [110, 2.2],
    clock: [2, 0.2],
    secrets: [1, 0.06],
  },
  azure: {
    compute: [1000 + 200, 0.0312],
    invocations: [100 + 200, 0.00012],
    writes: [14_300, 0.0715],
    reads: [500, 0.0002],
    storage: [110, 1.98],
  },
};

describe("the cost of a month", () => {
  for (const [target, wanted] of Object.entries(BILLS) as [Target, (typeof BILLS)[Target]][]) {
    test(`on ${target} is what it is by hand`, () => {
      const lines = monthlyCost(target, run, month);
      assert.deepEqual(
        Object.fromEntries(
          lines.map(({ what, amount, price }) => [what, [amount, Number((amount * price).toFixed(9))]]),
        ),
        wanted,
      );
      const sum = Object.values(wanted).reduce((total, [, dollars]) => total + dollars, 0);
      assert.equal(dollarsOf(lines).toFixed(6), sum.toFixed(6));
      assert.match(billTable(lines), new RegExp(`\\*\\*together\\*\\* \\|  \\|  \\| ${sum.toFixed(2)} \\|$`));
    });
  }

  test("is that of what stands there alone where nothing runs", () => {
    const lines = monthlyCost("aws", run, { runs: 0, kept: 0, deletedDays: 30, memoryMB: 1769, secrets: 0 });
    assert.equal(dollarsOf(lines), 5 * PRICES.aws.alarms.price);
  });

  test("grows with the days for which the bucket keeps what was deleted", () => {
    const storage = (deletedDays: number) =>
      monthlyCost("aws", run, { ...month, deletedDays }).find(({ what }) => what === "storage")?.amount;
    assert.deepEqual([storage(0), storage(3), storage(30)], [10, 20, 110]);
  });
});

test("the prices on the page are those that are reckoned with", () => {
  const page = readFileSync(join(import.meta.dirname, "../../docs/cost.md"), "utf8");
  assert(page.includes(priceTable()), `write:\n${priceTable()}`);
});

test("the page's bill is that of the run that it shows", () => {
  const page = readFileSync(join(import.meta.dirname, "../../docs/cost.md"), "utf8");
  const [, shown = ""] = /```json\n([\s\S]*?)```/.exec(page) ?? [];
  const bill = billTable(
    monthlyCost("aws", JSON.parse(shown), { runs: 730, kept: 47, deletedDays: 30, memoryMB: 1769, secrets: 1 }),
  );
  assert(page.includes(bill), `write:\n${bill}`);
});
