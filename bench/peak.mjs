import { readFileSync, writeFileSync } from "node:fs";

// Preloaded (node --import) into a process that is measured: at its end its peak resident memory goes to $PEAK_FILE, in
// KiB. Not TypeScript, since what strips its types would be measured too.
process.on("exit", () => {
  const status = readFileSync("/proc/self/status", "utf8");
  writeFileSync(process.env.PEAK_FILE, /VmHWM:\s+(\d+) kB/.exec(status)[1]);
});
