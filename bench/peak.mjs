import { readFileSync, writeFileSync } from "node:fs";

// Preloaded (node --import) into a process that is measured: at its end its peak resident memory (KiB) and the seconds of
// CPU that it took, and its main thread alone, go to $PEAK_FILE. Not TypeScript, since what strips its types would be measured too.
process.on("exit", () => {
  const status = readFileSync("/proc/self/status", "utf8");
  const { user, system } = process.cpuUsage();
  const main = process.threadCpuUsage();
  const measured = {
    peakKiB: Number(/VmHWM:\s+(\d+) kB/.exec(status)[1]),
    cpuSeconds: (user + system) / 1e6,
    mainSeconds: (main.user + main.system) / 1e6,
  };
  writeFileSync(process.env.PEAK_FILE, JSON.stringify(measured));
});
