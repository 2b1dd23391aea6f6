import pLimit from "p-limit";
import { BINARIES_BY_MODULE, binary, kwokStages } from "./binaries.ts";
import { NPM_TOOLS, npmTool } from "./npmtool.ts";
import { PYTHON_TOOLS, pythonWith } from "./pythontool.ts";

interface Part {
  name: string;
  make: () => Promise<string>;
}

/** Parts that are made one after the other. */
const lanes: Part[][] = [
  ...[...BINARIES_BY_MODULE.values()].map((names) => names.map((name) => ({ name, make: () => binary(name) }))),
  ...PYTHON_TOOLS.map((name) => [{ name, make: () => pythonWith(name) }]),
  ...NPM_TOOLS.map((name) => [{ name, make: () => npmTool(name) }]),
];

async function makePart({ name, make }: Part): Promise<void> {
  const start = performance.now();
  const path = await make();
  console.log(`${name.padEnd(24)} ${((performance.now() - start) / 1000).toFixed(1).padStart(6)} s  ${path}`);
}

async function makeAll(lane: Part[]): Promise<void> {
  try {
    for (const part of lane) await makePart(part);
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  }
}

/** Alone, since it compiles Go's own packages, which all others take from it. */
const [first = [], ...others] = lanes;
await makeAll(first);
/** Two lanes at a time: while one loads or links, which keeps one processor busy at most, the other compiles. */
const limit = pLimit(2);
await Promise.all(others.map((lane) => limit(makeAll, lane)));
if (!process.exitCode) await kwokStages();
