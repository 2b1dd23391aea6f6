import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";

const ROOT = join(import.meta.dirname, "../..");
const DIST = join(ROOT, "dist");

/** CommonJS dependencies in an ES module still call `require` for Node's own modules. */
const BANNER =
  'import{createRequire as lifeboatRequire}from"node:module";const require=lifeboatRequire(import.meta.url);';

await rm(DIST, { recursive: true, force: true });
await mkdir(DIST);
await build({
  entryPoints: [join(import.meta.dirname, "main.ts")],
  outfile: join(DIST, "lifeboat.mjs"),
  bundle: true,
  platform: "node",
  target: "node24",
  format: "esm",
  minify: true,
  keepNames: true,
  legalComments: "eof",
  banner: { js: BANNER },
  logLevel: "warning",
});
