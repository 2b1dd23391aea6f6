import assert from "node:assert/strict";
import { describe, it, mock } from "node:test";
import type { Job, Jobs, Schedule } from "../../core/index.ts";
import { runClock, timedJobs } from "../../functions/cli/serve/clock.ts";
import { foreignReason, readAddress } from "../../functions/cli/serve/listen.ts";

const START = new Date("2026-11-23T02:59:30Z");
const schedule = (name: string, when: string): Schedule => ({
  ...{ name, schedule: when, cluster: "a", paused: false, skipImmediately: false, template: {} },
});

/** Lets what waits on promises go on. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

describe("the clock of serve", () => {
  /** Runs a clock from START for so many seconds, one by one, and gives what it offered. */
  async function offered(
    seconds: number,
    schedules: (second: number) => Schedule[],
    accepts: (second: number) => boolean = () => true,
  ): Promise<string[]> {
    mock.timers.enable({ apis: ["setTimeout", "Date"], now: START });
    const ended = new AbortController();
    const taken: string[] = [];
    let second = 0;
    try {
      const take = ({ name }: Schedule, slot: Date) => {
        if (accepts(second)) taken.push(`${name} ${slot.toISOString().slice(11, 19)}`);
        return accepts(second);
      };
      const clock = runClock({ schedules: async () => schedules(second), take }, ended.signal, new Date(START));
      for (; second < seconds; second++) {
        await settle();
        mock.timers.tick(1000);
      }
      await settle();
      ended.abort();
      await clock;
    } finally {
      mock.timers.reset();
    }
    return taken;
  }

  it("offers each slot that comes, once, and none from before", async () => {
    const both = [schedule("hourly", "@hourly"), schedule("often", "*/2 * * * *")];
    assert.deepEqual(await offered(280, () => both), [
      ...["hourly 03:00:00", "often 03:00:00", "often 03:02:00", "often 03:04:00"],
    ]);
  });

  it("offers a slot that isn't taken again within a minute, or the newest one in its place", async () => {
    const both = [schedule("hourly", "@hourly"), schedule("often", "* * * * *")];
    assert.deepEqual(
      await offered(
        220,
        () => both,
        (second) => second > 200,
      ),
      ["hourly 03:00:00", "often 03:03:00"],
    );
  });

  it("sees within a minute that the configuration has changed", async () => {
    const changing = (second: number) =>
      second < 100 ? [schedule("old", "* * * * *")] : [schedule("new", "* * * * *")];
    assert.deepEqual(await offered(280, changing), [
      ...["old 03:00:00", "old 03:01:00", "new 03:03:00", "new 03:04:00"],
    ]);
  });
});

describe("what serve does on a schedule beside backups", () => {
  it("is retention and verification, each where it has one", async () => {
    const given: Job[] = [];
    const jobs: Jobs = { enqueue: async (job) => void given.push(job) };
    assert.deepEqual(timedJobs({ verify: { sample: "5%" } }, jobs), []);
    const timed = timedJobs({ retentionSchedule: "@daily", verify: { schedule: "@hourly" } }, jobs);
    assert.deepEqual(
      timed.map(({ name, schedule }) => [name, schedule]),
      [
        ["retention", "@daily"],
        ["verify", "@hourly"],
      ],
    );
    for (const { begin } of timed) assert.equal(begin(START), true);
    assert.deepEqual(given, [{ kind: "retention" }, { kind: "verify", slot: START.toISOString() }]);
  });
});

describe("where serve listens", () => {
  it("an address is a host and a port", () => {
    assert.deepEqual(readAddress("[::1]:80", undefined), { host: "::1", port: 80 });
    assert.deepEqual(readAddress("0.0.0.0:8080", "token"), { host: "0.0.0.0", port: 8080 });
    for (const text of ["", ":80", "127.0.0.1", "::1:80", "127.0.0.1:", "127.0.0.1:65536", "http://127.0.0.1:80"]) {
      assert.throws(() => readAddress(text, "token"), { kind: "invalid" }, text);
    }
  });

  it("a request under a foreign name is foreign", () => {
    const reason = (url: string, origin?: string) =>
      foreignReason(new Request(url, { headers: origin ? { origin } : {} }));
    assert.equal(reason("http://127.0.0.1:8080/healthz"), undefined);
    assert.equal(reason("http://localhost:8080/healthz", "http://localhost:8080"), undefined);
    assert.match(reason("http://evil.example/healthz") ?? "", /not as evil\.example/);
    assert.match(reason("http://127.0.0.1:8080/healthz", "http://127.0.0.1:9090") ?? "", /another origin/);
  });
});
