import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { LifeboatError } from "../../core/errors.ts";
import type { Secrets } from "../../core/ports.ts";
import { openSecrets } from "../../core/secrets.ts";
import { rejects } from "../conformance/bucket.ts";
import { assertNotQuoted } from "../conformance/troubles.ts";

const MINUTE = 60_000;

/** A store that counts its reads and answers what `answer` says, and the secrets opened on it with a clock of ours. */
function opened(answer: (read: number, signal?: AbortSignal) => Promise<string>) {
  const clock = { now: 1_000_000 };
  const counts = { opened: 0, read: 0 };
  const store: Secrets = { read: (_, options) => answer(++counts.read, options?.signal) };
  const open = async () => {
    counts.opened++;
    return store;
  };
  return { secrets: openSecrets({ secrets: { "aws-sm:": open } }, () => clock.now), clock, counts };
}

test("a secret is read once in five minutes, then again; its store is opened once", async () => {
  const { secrets, clock, counts } = opened(async (read) => `value ${read}`);
  assert.equal(await secrets.read("aws-sm://a"), "value 1");
  clock.now += 5 * MINUTE - 1;
  assert.equal(await secrets.read("aws-sm://a"), "value 1");
  clock.now += 1;
  assert.equal(await secrets.read("aws-sm://a"), "value 2");
  assert.equal(await secrets.read("aws-sm://b"), "value 3");
  assert.deepEqual(counts, { opened: 1, read: 3 });
});

test("fresh reads now, and what it has read is kept", async () => {
  const { secrets, counts } = opened(async (read) => `value ${read}`);
  await secrets.read("aws-sm://a");
  assert.equal(await secrets.read("aws-sm://a", { fresh: true }), "value 2");
  assert.equal(await secrets.read("aws-sm://a"), "value 2");
  assert.equal(counts.read, 2);
});

test("readers share the read that is under way, fresh ones too", async () => {
  const answer = Promise.withResolvers<string>();
  const { secrets, counts } = opened(() => answer.promise);
  const reads = [
    secrets.read("aws-sm://a"),
    secrets.read("aws-sm://a"),
    secrets.read("aws-sm://a", { fresh: true }),
    secrets.read("aws-sm://a", { signal: new AbortController().signal }),
  ];
  answer.resolve("value");
  assert.deepEqual(await Promise.all(reads), ["value", "value", "value", "value"]);
  assert.equal(counts.read, 1);
});

test("a reader that leaves does not take the others with it", async () => {
  const answer = Promise.withResolvers<string>();
  const { secrets, counts } = opened(() => answer.promise);
  const leaving = new AbortController();
  const left = secrets.read("aws-sm://a", { signal: leaving.signal });
  const staying = secrets.read("aws-sm://a");
  const reason = new Error("out of time");
  leaving.abort(reason);
  await assert.rejects(left, (thrown) => thrown === reason);
  answer.resolve("value");
  assert.equal(await staying, "value");
  assert.equal(counts.read, 1);
});

test("a failure is told to every reader and not kept, nor is what was kept before", async () => {
  const { secrets } = opened(async (read) => {
    if (read === 2) throw new LifeboatError("unreachable", "down");
    return `value ${read}`;
  });
  await secrets.read("aws-sm://a");
  const failing = [secrets.read("aws-sm://a", { fresh: true }), secrets.read("aws-sm://a")];
  for (const read of failing) await rejects("unreachable", read);
  assert.equal(await secrets.read("aws-sm://a"), "value 3");
});

test("a store that never answers is given up after a minute", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { secrets } = opened(
    (_, signal) => new Promise((_resolve, reject) => signal?.addEventListener("abort", () => reject(signal.reason))),
  );
  const failed = rejects("timeout", secrets.read("aws-sm://a"));
  await turn();
  t.mock.timers.tick(MINUTE);
  assert.match((await failed).message, /aws-sm:\/\/a .*60 s/);
});

test("a store that heeds no signal is given up after a minute all the same, and asked anew", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { secrets, counts } = opened((read) => (read === 1 ? new Promise(() => {}) : Promise.resolve("value")));
  const failed = [rejects("timeout", secrets.read("aws-sm://a")), rejects("timeout", secrets.read("aws-sm://a"))];
  await turn();
  t.mock.timers.tick(MINUTE);
  await Promise.all(failed);
  assert.equal(await secrets.read("aws-sm://a"), "value");
  assert.deepEqual(counts, { opened: 2, read: 2 });
});

const openings: [how: string, first: () => Promise<Secrets>, kind: "unreachable" | "timeout"][] = [
  ["fails", () => Promise.reject(new LifeboatError("unreachable", "down")), "unreachable"],
  [
    "throws",
    () => {
      throw new LifeboatError("unreachable", "down");
    },
    "unreachable",
  ],
  ["never ends", () => new Promise(() => {}), "timeout"],
];
for (const [how, first, kind] of openings) {
  test(`a store whose opening ${how} is opened anew by the next reader`, async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    let opened = 0;
    const open = () => (opened++ === 0 ? first() : Promise.resolve({ read: async () => "value" }));
    const secrets = openSecrets({ secrets: { "aws-sm:": open } });
    const failed = [rejects(kind, secrets.read("aws-sm://a")), rejects(kind, secrets.read("aws-sm://a"))];
    await turn();
    t.mock.timers.tick(MINUTE);
    await Promise.all(failed);
    assert.equal(await secrets.read("aws-sm://a"), "value");
    assert.equal(await secrets.read("aws-sm://b"), "value");
    assert.equal(opened, 2);
  });
}

const texts: [stored: string, text: string][] = [
  ["token\n", "token"],
  ["token\r\n", "token"],
  ["token\n\n", "token\n"],
  ["a: b\nc: d", "a: b\nc: d"],
  [" token ", " token "],
];
for (const [stored, text] of texts) {
  test(`${JSON.stringify(stored)} is the secret ${JSON.stringify(text)}`, async () => {
    assert.equal(await opened(async () => stored).secrets.read("aws-sm://a"), text);
  });
}

for (const stored of ["", "\n", "\r\n"]) {
  test(`${JSON.stringify(stored)} is no secret`, async () => {
    await rejects("invalid", opened(async () => stored).secrets.read("aws-sm://a"));
  });
}

const schemes = [
  "gcp-sm://projects/p/secrets/s",
  "the-secret-itself",
  "the-secret:itself",
  "ENV:A",
  "",
  ":",
  "__proto__",
];
for (const reference of schemes) {
  test(`${JSON.stringify(reference)} has no scheme that is known: that names those that are, and quotes nothing`, async () => {
    const { secrets } = opened(async () => "value");
    const error = await rejects("invalid", secrets.read(reference));
    assert.equal(error.hint, "known are env:, file:, aws-sm:");
    if (reference) assertNotQuoted(error.message, reference === ":" ? "::" : reference);
  });
}

test("env: and file: are everywhere", async (t) => {
  process.env.LIFEBOAT_TEST_SECRET = "value\n";
  t.after(() => delete process.env.LIFEBOAT_TEST_SECRET);
  const secrets = openSecrets({ secrets: {} });
  assert.equal(await secrets.read("env:LIFEBOAT_TEST_SECRET"), "value");
  await rejects("missing", secrets.read("file:/no/such/file"));
});
