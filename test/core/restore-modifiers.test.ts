import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fix } from "../../core/restore/fixes.ts";
import { readModifiers } from "../../core/restore/modifiers/modifierfile.ts";
import { mayModify } from "../../core/restore/modifiers/modifiers.ts";
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

  it("read the ready-made files", async () => {
    const folder = join(import.meta.dirname, "../../docs/modifiers");
    for (const file of readdirSync(folder))
      assert.ok((await readModifiers(readFileSync(join(folder, file), "utf8"), file)).length > 0);
  });

  it("say of a resource whether they may change it, of Namespaces never", async () => {
    const modifiers = await readModifiers(
      rulesText([
        { conditions: { groupResource: "deployments.apps" }, patches: [{ operation: "remove", path: "/spec" }] },
      ]),
      "rules",
    );
    assert.equal(mayModify("configmaps", modifiers), false);
    assert.equal(mayModify("deployments.apps", modifiers), true);
    assert.equal(mayModify("namespaces", await readModifiers(rulesText(everything), "rules")), false);
  });
});

const everything = [{ conditions: { groupResource: "**" }, patches: [{ operation: "remove", path: "/spec" }] }];
