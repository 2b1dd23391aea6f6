#!/usr/bin/env node
import { existsSync } from "node:fs";

const MINIMUM = 24;

if (Number.parseInt(process.versions.node, 10) < MINIMUM) {
  process.stderr.write(
    `error: lifeboat needs Node.js ${MINIMUM} or newer, this is ${process.version}\nhint: install it from https://nodejs.org, or run "npx -p node@${MINIMUM} -p lifeboat lifeboat"\n`,
  );
  process.exitCode = 1;
} else {
  const sources = new URL("./main.ts", import.meta.url);
  await import(existsSync(sources) ? sources.href : new URL("../../dist/lifeboat.mjs", import.meta.url).href);
}
