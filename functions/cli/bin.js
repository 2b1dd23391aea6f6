#!/usr/bin/env node
import { existsSync } from "node:fs";
import * as nodeModule from "node:module";
import { fileURLToPath } from "node:url";

const MINIMUM = 24;
const here = (path) => new URL(path, import.meta.url);

if (Number.parseInt(process.versions.node, 10) < MINIMUM) {
  const hint = `install it from https://nodejs.org, or beside this one: npm install -g node@${MINIMUM}`;
  process.stderr.write(
    `error: lifeboat needs Node.js ${MINIMUM} or newer, and this is ${process.version}\nhint: ${hint}\n`,
  );
  process.exitCode = 1;
} else if (existsSync(here("main.ts"))) {
  // A clone: its sources run as they are; what Node makes of them is kept, for the next start.
  nodeModule.enableCompileCache(fileURLToPath(here("../../node_modules/.cache/lifeboat")));
  await import(here("main.ts").href);
} else {
  await import(here("../../dist/lifeboat.mjs").href);
}
