import { BINARY_NAMES, binary, kwokStages } from "./binaries.ts";
import { motoPython } from "./moto.ts";
import { NPM_TOOLS, npmTool } from "./npmtool.ts";

const parts = [
  ...BINARY_NAMES.map((name) => ({ name, make: () => binary(name) })),
  { name: "moto", make: motoPython },
  ...NPM_TOOLS.map((name) => ({ name, make: () => npmTool(name) })),
];
for (const { name, make } of parts) {
  const start = performance.now();
  const path = await make();
  console.log(`${name.padEnd(24)} ${((performance.now() - start) / 1000).toFixed(1).padStart(6)} s  ${path}`);
}
await kwokStages();
