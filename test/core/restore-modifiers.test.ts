import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fix } from "../../core/restore/fixes.ts";
import { readModifiers } from "../../core/restore/modifierfile.ts";
import { modifierCases, rulesText } from "./modifier-cases.ts";

describe("resource modifiers: the object of a backup and what is sent", () => {
  for (const { name, resource, rules, problems = [], object, expected } of modifierCases()) {
    it(name, async () => {
      const told = fix(object, resource, {
        backupName: "b",
        restoreName: "r",
        namespaceMapping: {},
        preserveNodePorts: false,
        keepsVolume: () => true,
        modifiers: await readModifiers(rulesText(rules), "rules"),
      });
      assert.deepEqual(
        { object, told },
        { object: expected, told: problems.map((one) => `resource modifier (${one}`) },
      );
    });
  }
});
