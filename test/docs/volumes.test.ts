import assert from "node:assert/strict";
import { glob, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

const ROOT = join(import.meta.dirname, "../..");

test("docs/volumes.md quotes messages that can come", async () => {
  const page = await readFile(join(ROOT, "docs/volumes.md"), "utf8");
  const [, table = ""] = page.split("## When something goes wrong");
  const quoted = [...table.matchAll(/^\| (.*?) \|/gm)].flatMap(([, cell = ""]) => cell.match(/`[^`]+`/g) ?? []);
  const parts = quoted.flatMap((message) => message.slice(1, -1).split("…")).map((part) => part.trim());
  const sources: string[] = [];
  for await (const file of glob("{core,functions}/**/*.ts", { cwd: ROOT }))
    sources.push(await readFile(join(ROOT, file), "utf8"));
  const code = sources.join("\n");
  assert(quoted.length > 15);
  const unknown = parts.filter((part) => part && !code.includes(part));
  assert.deepEqual(unknown, []);
});
