import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { access, cp, readdir, readFile, symlink } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { filesIn, makeScratch, type Scratch } from "./cli-sample.ts";

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, "../..");

describe("the package", () => {
  let scratch: Scratch;
  let installed: string;
  let packed: { files: { path: string }[]; unpackedSize: number };

  before(async () => {
    scratch = await makeScratch();
    const copy = scratch.path("copy");
    // Packing builds dist/ first: not in the tree that others work in.
    for (const name of ["core", "functions", "package.json", "tsconfig.json", "README.md", "LICENSE"])
      await cp(join(ROOT, name), join(copy, name), { recursive: true });
    await symlink(join(ROOT, "node_modules"), join(copy, "node_modules"));
    const { stdout } = await run("npm", ["pack", "--json", "--silent", "--pack-destination", scratch.dir], {
      cwd: copy,
    });
    packed = Object.values(JSON.parse(stdout.slice(stdout.search(/^[[{]/m))))[0] as typeof packed;
    const tarball = (await readdir(scratch.dir)).find((file) => file.endsWith(".tgz"))!;
    const prefix = scratch.path("prefix");
    await run("npm", [
      "install",
      "--global",
      "--prefix",
      prefix,
      "--offline",
      "--no-audit",
      "--no-fund",
      scratch.path(tarball),
    ]);
    installed = join(prefix, "bin/lifeboat");
    await symlink(process.execPath, scratch.path("node"));
  });
  after(() => scratch?.remove());

  /** The installed command, with nothing but Node and what every system has in the PATH. */
  const lifeboat = (args: string[], node = scratch.dir) =>
    run(installed, args, { cwd: scratch.dir, env: { PATH: `${node}:/usr/bin:/bin` } });

  it("holds the build, the command and what a package must have, and nothing else", () => {
    const others = packed.files
      .map(({ path }) => path)
      .filter((path) => !/^dist\/(chunks\/[\w.-]+\.mjs|lifeboat\.mjs|third-party-licenses\.txt)$/.test(path));
    const allowed = ["LICENSE", "README.md", "functions/cli/bin.js", "package.json"];
    assert.deepEqual(
      others.filter((path) => !allowed.includes(path)),
      [],
    );
    assert.ok(packed.unpackedSize < 6_500_000, `${packed.unpackedSize} bytes`);
  });

  it("installs without any dependency", async () => {
    assert.deepEqual(
      (await filesIn(scratch.path("prefix/lib/node_modules"))).filter((file) => !file.startsWith("lifeboat/")),
      [],
    );
    assert.equal(JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")).dependencies, undefined);
  });

  it("runs on a plain Node, and the whole demo in it", async () => {
    const { stdout } = await lifeboat(["demo"]);
    assert.match(stdout, /\n +0 {2}differ for no good reason\n +0 {2}are lost\n/);
    assert.ok((await filesIn(scratch.path("demo"))).includes("backups/shop/velero-backup.json"));
  });

  it("the demo starts afresh each time, but never over anything else", async () => {
    await lifeboat(["demo"]);
    await scratch.write("demo/precious", "");
    await assert.rejects(lifeboat(["demo"]), {
      code: 1,
      stdout: "",
      stderr: /^error: \.\/demo holds precious, .*\nhint: .*\n$/,
    });
    await access(scratch.path("demo/precious"));
  });
});
