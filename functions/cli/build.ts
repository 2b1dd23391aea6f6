import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { build, type Metafile } from "esbuild";

const ROOT = join(import.meta.dirname, "../..");
const DIST = join(ROOT, "dist");

/** CommonJS dependencies in an ES module still call `require` for Node's own modules. */
const BANNER =
  'import{createRequire as lifeboatRequire}from"node:module";const require=lifeboatRequire(import.meta.url);';

// Chunks, since in a single file even "--version" would parse every SDK: 0.15 s and 50 MB more.
await rm(DIST, { recursive: true, force: true });
const { metafile } = await build({
  absWorkingDir: ROOT,
  entryPoints: ["functions/cli/main.ts"],
  outdir: "dist",
  entryNames: "lifeboat",
  chunkNames: "chunks/[name]-[hash]",
  outExtension: { ".js": ".mjs" },
  bundle: true,
  splitting: true,
  platform: "node",
  target: "node24",
  format: "esm",
  minify: true,
  keepNames: true,
  legalComments: "none",
  banner: { js: BANNER },
  metafile: true,
  logLevel: "warning",
});
await writeFile(join(DIST, "third-party-licenses.txt"), await licenses(metafile));

/** The licences of all packages that are in the bundle. */
async function licenses({ inputs }: Metafile): Promise<string> {
  const folders = Object.keys(inputs).flatMap(
    (path) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? [],
  );
  const texts = [...new Set(folders)].sort().map(async (folder) => {
    const { name, version, license } = JSON.parse(await readFile(join(ROOT, folder, "package.json"), "utf8"));
    const file = (await readdir(join(ROOT, folder))).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file ? await readFile(join(ROOT, folder, file), "utf8") : "";
    return `${name} ${version} (${license})\n\n${text.trim()}\n`;
  });
  return (await Promise.all(texts)).join(`\n${"-".repeat(80)}\n\n`);
}
