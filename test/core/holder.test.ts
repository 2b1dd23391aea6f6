import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, it } from "node:test";
import { type Holder, isGone, thisProcess } from "../../core/holder.ts";

describe("whether the process that holds a lock has ended", {
  skip: process.platform !== "linux" && "needs /proc",
}, () => {
  const self = thisProcess()!;
  const cases: [string, Partial<Holder>, boolean][] = [
    ["the process itself", {}, false],
    ["one that had the same id", { began: "1" }, true],
    ["one whose id nobody has", { pid: 2 ** 22 + 1 }, true],
    ["one on another machine", { host: "elsewhere", pid: 2 ** 22 + 1 }, false],
    ["one before the last boot, or in another container", { machine: "other", pid: 2 ** 22 + 1 }, false],
  ];
  for (const [name, change, gone] of cases) {
    it(`${name}: ${gone ? "yes" : "not known"}`, () => assert.equal(isGone({ ...self, ...change }), gone));
  }

  it("one that names no process: not known", () => assert.equal(isGone(undefined), false));

  it("a process is there until it is killed", async () => {
    const main = `import { thisProcess } from ${JSON.stringify(new URL("../../core/holder.ts", import.meta.url).href)};
      console.log(JSON.stringify(thisProcess())); setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", main], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = await once(child.stdout, "data");
    const holder = JSON.parse(String(line)) as Holder;
    assert.equal(isGone(holder), false);
    child.kill("SIGKILL");
    await once(child, "exit");
    assert.equal(isGone(holder), true);
  });
});
