import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { parseAllDocuments } from "yaml";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { FIXES, type FixContext, fix } from "../../core/restore/fixes.ts";

/** The first document of a golden file; the second is the object in the backup, the third what is sent to the target. */
interface Case {
  resource: string;
  /** `volumes`: "volume namespace/claim" for each claim that finds its volume. */
  context?: Partial<Omit<FixContext, "keepsVolume">> & { volumes?: string[] };
}

const folder = join(import.meta.dirname, "../golden/restore-fixes");

describe("fixes: the object of a backup and what is sent", () => {
  for (const file of readdirSync(folder)) {
    it(file.replace(".yaml", ""), () => {
      const documents = parseAllDocuments(readFileSync(join(folder, file), "utf8")).map((document) => document.toJS());
      const [{ resource, context = {} }, object, expected] = documents as [Case, KubernetesObject, KubernetesObject];
      fix(object, resource, {
        backupName: "b",
        restoreName: "r",
        namespaceMapping: {},
        preserveNodePorts: false,
        ...context,
        keepsVolume: (volume, claim) => context.volumes?.includes(`${volume} ${claim}`) ?? false,
      });
      assert.deepEqual(object, expected);
    });
  }

  it("says of every fix why and where it comes from, once", () => {
    assert.ok(FIXES.every(({ why, source }) => why && source));
    assert.equal(new Set(FIXES.map(({ id }) => id)).size, FIXES.length);
  });
});
