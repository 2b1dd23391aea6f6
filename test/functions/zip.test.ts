import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { zip } from "../../functions/zip.ts";

/** Prints what Python reads in an archive, after it has checked all sums. */
const READ = `
import base64, json, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    assert archive.testzip() is None
    print(json.dumps([[i.filename, base64.b64encode(archive.read(i)).decode(), list(i.date_time), i.external_attr >> 16]
        for i in archive.infolist()]))
`;

describe("zip", () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), "lifeboat-zip-"));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  const read = (archive: Buffer): [string, string, number[], number][] => {
    const path = join(dir, "archive.zip");
    writeFileSync(path, archive);
    return JSON.parse(execFileSync("python3", ["-c", READ, path], { encoding: "utf8" }));
  };

  const files = {
    "index.mjs": Buffer.from("export const a = 1;\n".repeat(1000)),
    "empty.txt": Buffer.alloc(0),
    "chunks/noise.bin": randomBytes(100_000),
    "ü/日本.txt": Buffer.from("unicode"),
  };

  it("is read by others: all contents, entries sorted, one date, readable by everybody", () => {
    const entries = read(zip(files));
    const names = ["chunks/noise.bin", "empty.txt", "index.mjs", "ü/日本.txt"] as const;
    assert.deepEqual(
      entries,
      names.map((name) => [name, files[name].toString("base64"), [1980, 1, 1, 0, 0, 0], 0o100644]),
    );
  });

  it("compresses, and depends on nothing but the files", () => {
    const archive = zip(files);
    assert.ok(archive.length < 101_000, `${archive.length} bytes`);
    assert.deepEqual(zip(Object.fromEntries(Object.entries(files).reverse())), archive);
  });

  it("may be empty", () => assert.deepEqual(read(zip({})), []));
});
