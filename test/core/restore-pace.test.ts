import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { adaptivePace, type Pace, pacedKube } from "../../core/restore/write/pace.ts";
import { client, json, serve, status } from "./kube-server.ts";

const OK_MS = 10;

/** A pace that has heard so many good answers. */
function paceAfter(good: number, options: Parameters<typeof adaptivePace>[0] = { start: 2 }): Pace {
  const pace = adaptivePace(options);
  for (let answer = 0; answer < good; answer++) pace.heard(OK_MS);
  return pace;
}

describe("the pace of a restore", () => {
  it("rises by one for each round of good answers, up to its most", () => {
    const pace = adaptivePace({ start: 16, most: 64 });
    for (let answer = 0; answer < 17; answer++) pace.heard(OK_MS);
    assert.equal(pace.limit(), 17);
    for (let answer = 0; answer < 10_000; answer++) pace.heard(OK_MS);
    assert.equal(pace.limit(), 64);
  });

  it("is halved by a 429, once for all that were under way, and never ends", () => {
    const pace = adaptivePace({ start: 16 });
    for (let answer = 0; answer < 16; answer++) pace.refused();
    assert.equal(pace.limit(), 8);
    for (let answer = 0; answer < 1000; answer++) pace.refused();
    assert.equal(pace.limit(), 1);
  });

  it("is cut when the server becomes much slower, not when it always was slow", () => {
    const fast = adaptivePace({ start: 16 });
    for (let answer = 0; answer < 20; answer++) fast.heard(OK_MS);
    for (let answer = 0; answer < 10; answer++) fast.heard(2000);
    assert.ok(fast.limit() <= 8, `${fast.limit()}`);
    const slow = adaptivePace({ start: 16 });
    for (let answer = 0; answer < 40; answer++) slow.heard(2000);
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

describe("a request that waits to be sent again", () => {
  const comeBackLater = status(429, "TooManyRequests", "come back later");

  it("leaves its place to others", async () => {
    await using server = await serve((request, response, body) => {
      response.setHeader("retry-after", "30");
      (request.url!.startsWith("/refused") ? comeBackLater : json(200, {}))(request, response, body);
    });
    await using connected = client(server);
    const pace = paceAfter(100);
    const places = pace.limit();
    const kube = pacedKube(connected, pace);
    const ending = new AbortController();
    const refused = Array.from({ length: places }, (_, number) => `/refused/${number}`);
    const paths = [...refused, "/1", "/2", "/3", "/4"];
    const sent: Promise<unknown>[] = [];
    for (const path of paths) {
      await pace.room();
      sent.push(pace.run(() => kube.request({ path, signal: ending.signal })));
    }
    await Promise.all(sent.slice(places));
    const meanwhile = server.requests.map(({ url }) => url);
    ending.abort(new Error("it has been seen"));
    await Promise.allSettled(sent);
    await pace.idle();
    assert.deepEqual(meanwhile, [...new Set(meanwhile)]);
  });

  it("takes a place again before it is sent, even where all wake at once", async () => {
    const pace = paceAfter(100);
    let underWay = 0;
    let most = 0;
    const work = async () => {
      most = Math.max(most, ++underWay);
      await new Promise(setImmediate);
      underWay--;
    };
    const { promise: rested, resolve: wake } = Promise.withResolvers<void>();
    for (let task = 0; task < 3 * pace.limit(); task++) {
      await pace.room();
      pace.run(async () => {
        await work();
        await pace.rest(() => rested);
        await work();
      });
    }
    wake();
    await pace.idle();
    assert.deepEqual([most, underWay], [pace.limit(), 0]);
  });

  for (const { what, good, refused, most = 64, begun } of [
    { what: "as many as the limit, at first", good: 0, refused: 0, begun: 2 },
    { what: "one more for each good answer", good: 10, refused: 0, begun: 14 },
    { what: "as many as the limit, where most are refused", good: 10, refused: 3, begun: 2 },
    { what: "at most `most`", good: 100, refused: 0, most: 30, begun: 30 },
  ])
    it(`rests as one of ${what}`, async () => {
      const pace = paceAfter(good, { start: 2, most });
      for (let answer = 0; answer < refused; answer++) pace.refused();
      const { promise: rested, resolve: wake } = Promise.withResolvers<void>();
      let resting = 0;
      const tasks = Array.from({ length: 100 }, () =>
        pace.run(() => {
          resting++;
          return pace.rest(() => rested);
        }),
      );
      await new Promise(setImmediate);
      assert.equal(resting, begun);
      wake();
      await Promise.all(tasks);
    });

  it("has its 429 heard at once, not when it ends", async () => {
    await using server = await serve(comeBackLater, json(200, {}));
    await using connected = client(server);
    const pace = adaptivePace({ start: 16 });
    const limits: number[] = [];
    const kube = pacedKube(
      {
        ...connected,
        request: ({ pausing, ...request }) =>
          connected.request({
            ...request,
            pausing: (trouble) => pausing!(trouble, async () => void limits.push(pace.limit())),
          }),
      },
      pace,
    );
    await kube.request({ path: "/" });
    assert.deepEqual(limits, [8]);
  });
});
