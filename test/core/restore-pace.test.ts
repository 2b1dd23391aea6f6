import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { adaptivePace } from "../../core/restore/write/pace.ts";

const ok = { throttled: false, latencyMs: 10 };
const throttled = { throttled: true, latencyMs: 10 };

describe("the pace of a restore", () => {
  it("rises by one for each round of good answers, up to its most", () => {
    const pace = adaptivePace({ start: 16, most: 64 });
    for (let answer = 0; answer < 17; answer++) pace.heard(ok);
    assert.equal(pace.limit(), 17);
    for (let answer = 0; answer < 10_000; answer++) pace.heard(ok);
    assert.equal(pace.limit(), 64);
  });

  it("is halved by a 429, once for all that were under way, and never ends", () => {
    const pace = adaptivePace({ start: 16 });
    for (let answer = 0; answer < 16; answer++) pace.heard(throttled);
    assert.equal(pace.limit(), 8);
    for (let answer = 0; answer < 1000; answer++) pace.heard(throttled);
    assert.equal(pace.limit(), 1);
  });

  it("is cut when the server becomes much slower, not when it always was slow", () => {
    const fast = adaptivePace({ start: 16 });
    for (let answer = 0; answer < 20; answer++) fast.heard(ok);
    for (let answer = 0; answer < 10; answer++) fast.heard({ throttled: false, latencyMs: 2000 });
    assert.ok(fast.limit() <= 8, `${fast.limit()}`);
    const slow = adaptivePace({ start: 16 });
    for (let answer = 0; answer < 40; answer++) slow.heard({ throttled: false, latencyMs: 2000 });
    assert.equal(slow.limit(), 18);
  });

  it("never runs more at once than its limit, and is idle when all have ended, failed ones too", async () => {
    const pace = adaptivePace({ start: 3, most: 3 });
    let running = 0;
    let most = 0;
    let ended = 0;
    for (let task = 0; task < 20; task++) {
      await pace.room();
      pace
        .run(async () => {
          most = Math.max(most, ++running);
          await new Promise((resolve) => setTimeout(resolve, 1));
          running--;
          if (task % 5 === 0) throw new Error("it failed");
        })
        .then(
          () => ended++,
          () => ended++,
        );
    }
    await pace.idle();
    assert.deepEqual([most, running, ended], [3, 0, 20]);
  });
});
