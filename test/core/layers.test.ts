import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";

const CORE = join(import.meta.dirname, "../../core");

/** Core's folders, lowest first; those of a row may know each other. */
const LAYERS = [
  ["objects"],
  ["kube", "archive"],
  ["volumes"],
  ["apiserver"],
  ["encryption"],
  ["integrity"],
  ["backup"],
  ["restore"],
  ["reading"],
  ["browse"],
  ["schedule"],
  ["retention"],
  ["jobs"],
  ["fleet"],
  ["check"],
  ["api"],
];

describe("core's layers", () => {
  test("are all of its folders", async () => {
    const folders = (await readdir(CORE, { withFileTypes: true })).filter((one) => one.isDirectory());
    assert.deepEqual(folders.map(({ name }) => name).sort(), LAYERS.flat().sort());
  });

  for (const [height, layer] of LAYERS.entries()) {
    for (const folder of layer) {
      test(`${folder} knows none above it`, async () => {
        const above = new Set(LAYERS.slice(height + 1).flat());
        const files = (await readdir(join(CORE, folder), { recursive: true })).filter((name) => name.endsWith(".ts"));
        assert(files.length > 0);
        for (const name of files) {
          const text = await readFile(join(CORE, folder, name), "utf8");
          const imported = [...text.matchAll(/from "(?:\.\.\/)+(\w+)\//g)].map(([, other = ""]) => other);
          for (const other of imported) assert(!above.has(other), `core/${folder}/${name} imports core/${other}`);
        }
      });
    }
  }
});
