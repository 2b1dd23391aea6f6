import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, beforeEach, describe, test } from "node:test";
import { type ServerType, serve } from "@hono/node-server";
import { createService, deliver } from "../../core/index.ts";
import { gcp } from "../../functions/gcp/platform.ts";
import { pythonWith } from "../rig/pythontool.ts";
import { requireOrSkip } from "../rig/require.ts";

const WORKFLOW = join(import.meta.dirname, "../../infra/modules/gcp/workflow.yaml");
const TOPIC = "projects/acme/topics/dead-letters";
const RETRIES = 2;

/** What a run of the workflow did. */
interface Told {
  calls: { url: string; auth: unknown; timeout: number }[];
  returned?: unknown;
  raised?: string;
}

interface Letter {
  function: string;
  job: object;
  error: { code: number };
}

describe("the workflow of the gcp module", { skip: requireOrSkip("rig", ["workflows"]) }, () => {
  const env = { LIFEBOAT_LOCATION: "gs://acme-backups" };
  const lifeboat = createService(gcp, { env, listen: () => {} });
  let dir: string;
  let server: ServerType;
  let address: string;
  /** How the function answers, one after the other and the last one from then on. */
  let answers: ((request: Request) => Promise<Response> | Response)[];
  let jobs: unknown[];
  let letters: Letter[];

  const good = () => Response.json({ kind: "backup", phase: "Completed" });
  const bad = () => new Response("no", { status: 502 });

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "lifeboat-workflow-"));
    const template = await readFile(WORKFLOW, "utf8");
    // As Terraform's templatefile does.
    const values: Record<string, number> = { retries: RETRIES, concurrency: 2 };
    const source = template
      .replace(/(?<!\$)\$\{(\w+)\}/g, (_, name) => String(values[name]))
      .replace(/\$\$(?=\{)/g, "$$");
    await writeFile(join(dir, "workflow.yaml"), source);
    server = serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: async (request) => {
        if (new URL(request.url).pathname === `/v1/${TOPIC}:publish`) {
          const { messages } = (await request.json()) as { messages: { data: string }[] };
          for (const { data } of messages) letters.push(JSON.parse(Buffer.from(data, "base64").toString()));
          return Response.json({ messageIds: ["1"] });
        }
        jobs.push(await request.clone().json());
        const [answer = good] = answers;
        if (answers.length > 1) answers.shift();
        return answer(request);
      },
    });
    await new Promise((listening) => server.once("listening", listening));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(async () => {
    await new Promise((closed) => server.close(closed));
    await rm(dir, { recursive: true });
  });
  beforeEach(() => {
    answers = [good];
    jobs = [];
    letters = [];
  });

  async function start(argument: object): Promise<Told> {
    const urls = { URL_backup: `${address}/backup`, URL_retention: `${address}/retention`, DEAD_LETTERS: TOPIC };
    const script = join(import.meta.dirname, "../rig/python/workflow.py");
    const child = spawn(await pythonWith("workflows"), [script], { env: { ...process.env, ...urls } });
    child.stdin.end(JSON.stringify({ path: join(dir, "workflow.yaml"), argument, pubsub: address }));
    const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
    assert(output, errors);
    return JSON.parse(output);
  }

  const hourly = { kind: "backup", schedule: "hourly" };

  test("calls the function with an identity, for as long as it may run, and returns its answer", async () => {
    const { calls, ...told } = await start({ function: "retention", job: { kind: "retention" } });
    assert.deepEqual(told, { returned: { kind: "backup", phase: "Completed" } });
    const url = `${address}/retention`;
    assert.deepEqual(calls, [{ url, auth: { type: "OIDC", audience: url }, timeout: 1800 }]);
    assert.deepEqual(jobs, [{ kind: "retention" }]);
    assert.deepEqual(letters, []);
  });

  test("gives a schedule's job the minute, also where it is repeated", async () => {
    answers = [bad, good];
    const before = Date.now() - 60_000;
    const { returned } = await start({ function: "backup", job: hourly, slotted: true });
    assert(returned);
    const [{ slot }] = jobs as [{ slot: string }];
    const time = Date.parse(slot);
    assert(time > before && time <= Date.now() && time % 60_000 === 0, slot);
    assert.deepEqual(jobs, Array(2).fill({ ...hourly, slot }));
    assert.deepEqual(letters, []);
  });

  test("runs what is left of a job, until nothing is, each as often as it may", async () => {
    const rest = (slice: number) => ({ kind: "backup", schedule: "hourly", name: `hourly-1-${slice}` });
    const more = (slice: number) => (request: Request) => {
      assert.equal(request.headers.get("lifeboat-loops"), "true");
      return Response.json({ kind: "backup", duplicate: false, next: rest(slice), items: slice });
    };
    answers = [more(1), bad, more(2), good];
    const { returned } = await start({ function: "backup", job: hourly });
    assert.deepEqual(returned, { kind: "backup", phase: "Completed" });
    assert.deepEqual(jobs, [hourly, rest(1), rest(1), rest(2)]);
    assert.deepEqual(letters, []);
  });

  test("runs parts, and parts of parts, and then what is left, though one failed", async () => {
    const backup = (name: string) => ({ kind: "backup", cluster: name, name });
    const next = { kind: "verify", name: "last" };
    const given: Record<string, object> = {
      fleet: { parts: ["one", "two", "many", "dead"].map(backup), next },
      many: { parts: ["shard-1", "shard-2"].map(backup), next: backup("finisher") },
    };
    answers = [
      async (request) => {
        const { name } = (await request.json()) as { name: string };
        return name === "dead" ? bad() : Response.json(given[name] ?? { phase: "Completed", name });
      },
    ];
    const { returned } = await start({ function: "backup", job: backup("fleet") });
    assert.deepEqual(returned, { phase: "Completed", name: "last" });
    const names = (jobs as { name: string }[]).map(({ name }) => name);
    const parts = ["one", "two", "many", "shard-1", "shard-2", "finisher", "dead", "dead", "dead"];
    assert.deepEqual([names[0], names.at(-1)], ["fleet", "last"]);
    assert.deepEqual(names.slice(1, -1).sort(), parts.sort());
    assert(names.indexOf("finisher") > Math.max(names.indexOf("shard-1"), names.indexOf("shard-2")));
    assert.deepEqual(
      letters.map((letter) => [letter.function, letter.job]),
      [["backup", backup("dead")]],
    );
  });

  test("waits until a job may begin, without the function", async () => {
    const earliest = Date.now() + 4000;
    let at = 0;
    answers = [
      () => {
        at = Date.now();
        return good();
      },
    ];
    await start({ function: "backup", job: { ...hourly, notBefore: new Date(earliest).toISOString() } });
    assert(at >= earliest - 10, `${earliest - at} ms too early`);
    assert((await start({ function: "backup", job: jobs[0] as object })).returned);
  });

  test("leaves what failed as often as it may as a dead letter, which does the same job when it is given again", async () => {
    answers = [bad];
    const { raised } = await start({ function: "backup", job: hourly, slotted: true });
    assert(raised);
    assert.equal(jobs.length, 1 + RETRIES);
    const [letter, ...others] = letters;
    assert(letter && others.length === 0);
    assert.deepEqual([letter.function, letter.job, letter.error.code], ["backup", jobs[0], 502]);

    answers = [good];
    assert((await start(letter)).returned);
    assert.deepEqual(jobs.at(-1), letter.job);
  });

  test("repeats nothing of which Lifeboat says that it will fail again", async () => {
    answers = [(request) => deliver(lifeboat, request, {})];
    const { raised } = await start({ function: "backup", job: hourly, slotted: true });
    assert(raised);
    assert.equal(jobs.length, 1);
    assert.deepEqual(
      letters.map(({ error }) => error.code),
      [400],
    );
  });
});
