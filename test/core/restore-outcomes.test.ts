import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { RestoreDocument } from "../../core/documents.ts";
import { escaped, htmlPage } from "../../core/html.ts";
import { groupOutcomes, groupProblems, reportPage } from "../../core/restore/outcomes.ts";
import type { ItemOutcome } from "../../core/restore/report.ts";

const outcome = (action: ItemOutcome["action"], name: string, reason?: string): ItemOutcome => ({
  resource: "configmaps",
  apiVersion: "v1",
  kind: "ConfigMap",
  namespace: "shop",
  name,
  action,
  ...(reason && { reason }),
});

const document: RestoreDocument = {
  schemaVersion: 1,
  kind: "restore",
  name: "r",
  backup: "full",
  phase: "PartiallyFailed",
  location: "s3://bucket",
  counts: { created: 2, updated: 0, recreated: 0, pruned: 0, skipped: 0, blocked: 0, failed: 1 },
  spec: { backupName: "full" },
  warnings: [],
  errors: [{ resource: "configmaps", namespace: "shop", name: "c", message: "no" }],
};

describe("what became of objects", () => {
  it("is grouped by what was done and why, what needs a person first", () => {
    const groups = groupOutcomes([
      outcome("skipped", "a", "exists, equal"),
      outcome("created", "b"),
      outcome("failed", "c", "no"),
      outcome("created", "d"),
    ]);
    assert.deepEqual(
      groups.map(({ action, reason, names }) => [action, reason, names.join()]),
      [
        ["failed", "no", "shop/c"],
        ["created", "", "shop/b,shop/d"],
        ["skipped", "exists, equal", "shop/a"],
      ],
    );
  });

  it("is one problem where several objects have the same", () => {
    const problem = (name: string) => ({ resource: "pods", namespace: "shop", name, message: "same" });
    assert.deepEqual(groupProblems([problem("a"), { message: "other" }, problem("b")]), [
      { message: "same", names: ["pods shop/a", "pods shop/b"] },
      { message: "other", names: [] },
    ]);
  });
});

describe("the page of a restore", () => {
  it("tells how the data of its claims came", () => {
    const counts = { csiSnapshots: 2, csiBytes: 2 ** 31, nativeSnapshots: 1, fileCopies: 1, fileBytes: 512 };
    const volumes = { ...counts, leftOut: 0, stays: 3, lacking: 1, failed: 1 };
    const said =
      "2 CSI snapshots (2.0 GiB), 1 disk snapshot, 1 by restic (512 B), 3 in the volumes that they had, 1 WITHOUT THEIR DATA, 1 NOT BROUGHT BACK";
    assert.deepEqual(
      reportPage({ ...document, volumes }).facts.find(([name]) => name === "Volumes"),
      ["Volumes", said],
    );
  });

  it("tells problems before all else, and every object", () => {
    const page = htmlPage(reportPage(document, [outcome("failed", "c", "no"), outcome("created", "b")]));
    const order = [
      "<h1>Restore r: PartiallyFailed</h1>",
      "What needs a person",
      "Errors (1)",
      "<h2>Failed",
      "<h2>Created",
    ];
    const places = order.map((text) => page.indexOf(text));
    assert.deepEqual(
      places,
      places.toSorted((a, b) => a - b),
    );
    assert.ok(places[0]! > 0 && page.includes("shop/b"));
    assert.doesNotMatch(page, /<script|src=|href=|https?:/);
  });

  it("shows markup in names and reasons as text", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom("<", ">", "&", '"', "'", "script", "\u0000", "é", " ") }),
        (text) => {
          assert.doesNotMatch(escaped(text), /[<>"'\p{Cc}]/u);
          const page = htmlPage(reportPage(document, [outcome("failed", text, text)]));
          const plain = htmlPage(reportPage(document, [outcome("failed", "x", "x")]));
          assert.equal(page.split("<").length, plain.split("<").length);
        },
      ),
    );
  });
});
