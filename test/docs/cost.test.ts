import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import {
  billTable,
  dollarsOf,
  hourly,
  type Line,
  monthlyCost,
  PRICES,
  priceTable,
  type Target,
  TRANSITIONS,
} from "../../bench/cost.ts";
import { parseConfig } from "../../core/index.ts";
import { renderSchedules } from "../../core/schedule/render.ts";

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
    transitions: [500, 0.0125],
    secrets: [1, 0.4],
    alarms: [8, 0.8],
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
  // Two clocks look 100 times, and each 15 minutes for 730 hours.
  azure: {
    compute: [1000 + 6040, 0.18304],
    invocations: [100 + 6040, 0.002456],
    writes: [14_300, 0.089375],
    reads: [500, 0.0002],
    storage: [110, 2.86],
    alarms: [6, 9],
    "no good backup": [1, 0.5],
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
    assert.equal(dollarsOf(lines), 8 * PRICES.aws.alarms.price);
  });

  test("grows with the days for which the bucket keeps what was deleted", () => {
    const storage = (deletedDays: number) =>
      monthlyCost("aws", run, { ...month, deletedDays }).find(({ what }) => what === "storage")?.amount;
    assert.deepEqual([storage(0), storage(3), storage(30)], [10, 20, 110]);
  });
});

const read = (path: string) => readFileSync(join(import.meta.dirname, "../..", path), "utf8");
const page = read("docs/cost.md");

test("the prices on the page are those that are reckoned with", () => {
  assert(page.includes(priceTable()), `write:\n${priceTable()}`);
});

test("the page's bills are those of the run that it shows", () => {
  const [, shown = ""] = /```json\n([\s\S]*?)```/.exec(page) ?? [];
  const bill = (target: Target) => monthlyCost(target, JSON.parse(shown), hourly(target));
  const dollars = (lines: Line[]) => dollarsOf(lines).toFixed(2);
  assert(page.includes(billTable(bill("aws"))), `write:\n${billTable(bill("aws"))}`);
  const alarms = bill("azure").filter(({ what }) => ["alarms", "no good backup"].includes(what));
  const rest = bill("aws").filter(({ what }) => !["alarms", "secrets"].includes(what));
  for (const said of [
    `On Google Cloud it is ${dollars(bill("gcp"))} US $`,
    `on Azure ${dollars(bill("azure"))}`,
    `of which ${dollars(alarms)} are the rules of its alarms`,
    `the rest, ${dollars(rest)} US $ here`,
  ])
    assert(page.replaceAll("\n", " ").includes(said), `write: ${said}`);
});

test("AWS's bill is of the states that the state machine goes through", () => {
  const { StartAt, States } = JSON.parse(read("infra/modules/aws/machine.json.tftpl").replace(/: \$\{\w+\}/g, ": 1"));
  const through = [StartAt];
  for (let { Default, Next } = States[StartAt]; Default ?? Next; { Default, Next } = States[through.at(-1)])
    through.push(Default ?? Next);
  assert.equal(States[through.at(-1)].Type, "Succeed");
  assert.equal(through.length, TRANSITIONS);
});

test("Azure's bill is of what the module makes: its clock, its replication and its alarms", () => {
  const schedules = { hourly: { schedule: "@hourly", cluster: "prod" } };
  const configuration = { location: "azblob://a/b", clusters: { prod: { kubeconfig: "file:x" } }, schedules };
  const { clock } = renderSchedules(parseConfig(JSON.stringify(configuration), {}).config, "azure");
  assert.deepEqual(clock, ["0 0 * * * *", "0 */15 * * * *"]);
  const lines = monthlyCost("azure", run, hourly("azure"));
  const amountOf = (wanted: string) => lines.find(({ what }) => what === wanted)?.amount;
  assert.equal(amountOf("invocations"), 730 + 2 * (730 + 4 * 730));
  const module = "infra/modules/azure";
  assert.match(read(`${module}/variables.tf`), /variable "replication" \{[^}]*\n {2}default +=\s"ZRS"/);
  assert.match(PRICES.azure.storage.unit, /ZRS/);
  const rules = read(`${module}/alarms.tf`).split('resource "azurerm_monitor_scheduled_query_rules_alert_v2"').slice(1);
  const often = rules.filter((rule) => /for_each = local.jobs[\s\S]*evaluation_frequency += "PT5M"/.test(rule));
  const [other, ...none] = rules.filter((rule) => !often.includes(rule));
  assert.deepEqual([often.length * 3, none], [amountOf("alarms"), []]);
  assert.match(other ?? "", /for_each = local.watched/);
  assert.equal(amountOf("no good backup"), Object.keys(schedules).length);
});
