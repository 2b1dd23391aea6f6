import { BINARY_NAMES, binary, kwokStages } from "./binaries.ts";

for (const name of BINARY_NAMES) {
  const start = performance.now();
  const path = await binary(name);
  console.log(`${name.padEnd(24)} ${((performance.now() - start) / 1000).toFixed(1).padStart(6)} s  ${path}`);
}
await kwokStages();
