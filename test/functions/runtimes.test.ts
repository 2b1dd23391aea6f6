import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ncrontab } from "../../core/schedule/dialects.ts";
import { makeBundle } from "../rig/bundles.ts";
import { requireOrSkip } from "../rig/require.ts";
import { startAzureHost } from "../rig/runtimes/azure.ts";
import { startCloudFunction } from "../rig/runtimes/gcf.ts";
import { startLambda } from "../rig/runtimes/lambda.ts";

/** The runtimes that the end-to-end tests rely on, with functions that show what they are given. */
const sample = (cloud: "aws" | "gcp" | "azure") => makeBundle(cloud, `test/rig/runtimes/sample/${cloud}.ts`);

describe("Lambda's runtime", { skip: requireOrSkip("rig", ["npm:aws-lambda-ric"]) }, () => {
  it("invokes with a deadline, and keeps the environment for the next invocation, failed ones too", async () => {
    process.env.LIFEBOAT_TEST_SECRET = "not for the function";
    await using bundle = await sample("aws");
    await using lambda = await startLambda({ dir: bundle.dir, env: { SETTING: "set" }, timeoutMs: 60_000 });
    const { payload } = await lambda.invoke({ kind: "backup" });
    const { remaining, pid, ...rest } = payload as { remaining: number; pid: number };
    assert.ok(remaining > 50_000 && remaining <= 60_000, `${remaining} ms`);
    assert.deepEqual(rest, { event: { kind: "backup" }, inherited: null, setting: "set" });
    assert.deepEqual(await lambda.invoke({ fail: "as told" }), {
      error: { errorType: "RangeError", errorMessage: "as told" },
    });
    assert.equal((await lambda.invoke({ large: 7_000_000 })).error?.errorType, "Function.ResponseSizeTooLarge");
    assert.equal(((await lambda.invoke({})).payload as { pid: number }).pid, pid);
    assert.match(lambda.logs(), /event \{"kind":"backup"\}/);
  });

  it("kills what outstays its time, and starts anew after that and after a crash", async () => {
    await using bundle = await sample("aws");
    await using lambda = await startLambda({ dir: bundle.dir, env: {}, timeoutMs: 1000 });
    assert.deepEqual(await lambda.invoke({ ms: 60_000 }), {
      error: { errorType: "Sandbox.Timedout", errorMessage: "Task timed out after 1 seconds" },
    });
    assert.deepEqual(await lambda.invoke({ exit: 3 }), {
      error: { errorType: "Runtime.ExitError", errorMessage: "Runtime exited with error: exit code 3" },
    });
    assert.ok((await lambda.invoke({})).payload);
  });

  it("runs as many invocations at once as it may, each in an environment of its own", async () => {
    await using bundle = await sample("aws");
    await using lambda = await startLambda({ dir: bundle.dir, env: {}, concurrency: 2 });
    const all = await Promise.all([1, 2, 3, 4].map(() => lambda.invoke({ ms: 300 })));
    assert.equal(new Set(all.map(({ payload }) => (payload as { pid: number }).pid)).size, 2);
  });

  it("asks by URL: text as it is, other bodies as base64; a failing function is a 502", async () => {
    await using bundle = await sample("aws");
    await using lambda = await startLambda({ dir: bundle.dir, env: {} });
    const ask = async (type: string, body: string | Buffer) => {
      const caller = "arn:aws:iam::123456789012:user/bob";
      const headers = { "Content-Type": type };
      const query = { limit: "2" };
      const answer = await lambda.invokeUrl({ method: "POST", path: "/v1/restores", query, headers, body, caller });
      assert.deepEqual([answer.status, answer.headers["x-sample"]], [201, "yes"]);
      return JSON.parse(answer.body);
    };
    const text = await ask("application/json", '{"a":1}');
    assert.deepEqual([text.body, text.isBase64Encoded], ['{"a":1}', false]);
    assert.equal(text.requestContext.authorizer.iam.userArn, "arn:aws:iam::123456789012:user/bob");
    assert.deepEqual(
      [text.rawPath, text.rawQueryString, text.headers["content-type"]],
      ["/v1/restores", "limit=2", "application/json"],
    );
    const binary = await ask("application/octet-stream", Buffer.of(0, 255));
    assert.deepEqual([binary.body, binary.isBase64Encoded], ["AP8=", true]);
  });

  it("tells why a function does not even load", async () => {
    await using bundle = await makeBundle("aws", "functions/zip.ts");
    await using lambda = await startLambda({ dir: bundle.dir, env: {} });
    assert.equal((await lambda.invoke({})).error?.errorType, "Runtime.HandlerNotFound");
  });
});

describe("the Functions Framework", () => {
  it("serves the function that the bundle registers, with Cloud Scheduler's headers and the body as it was", async () => {
    await using bundle = await sample("gcp");
    await using started = await startCloudFunction({ dir: bundle.dir, env: {}, target: "sample" });
    const time = "2026-11-23T02:00:00Z";
    const headers = { "Content-Type": "application/json", "X-CloudScheduler-ScheduleTime": time };
    const answer = await fetch(`${started.url}/v1/x`, { method: "POST", headers, body: '{ "a": 1 }' });
    assert.equal(answer.status, 201);
    assert.deepEqual(await answer.json(), { method: "POST", path: "/v1/x", time, body: '{ "a": 1 }' });
    assert.match(started.logs(), /POST \/v1\/x/);
  });

  it("does not start with a target that the bundle doesn't register", async () => {
    await using bundle = await sample("gcp");
    await assert.rejects(
      startCloudFunction({ dir: bundle.dir, env: {}, target: "other" }),
      /"other" was not registered/,
    );
  });
});

describe("the Azure Functions library over a stand-in of its host", () => {
  it("shows what the app registers", async () => {
    await using bundle = await sample("azure");
    await using host = await startAzureHost({ dir: bundle.dir, env: {} });
    assert.deepEqual(host.functions, [
      {
        name: "clock",
        trigger: { type: "timerTrigger", schedule: "0 */5 * * * *" },
        retry: {
          strategy: "fixedDelay",
          retryStrategy: "fixedDelay",
          maxRetryCount: 2,
          delayInterval: { seconds: 10 },
        },
      },
      {
        name: "jobs",
        trigger: { type: "queueTrigger", queueName: "jobs", connection: "AzureWebJobsStorage" },
      },
      {
        name: "api",
        trigger: { type: "httpTrigger", authLevel: "function", methods: ["GET", "POST"], route: "{*path}" },
      },
      {
        name: "health",
        trigger: { type: "httpTrigger", authLevel: "anonymous", methods: ["GET"], route: "healthz" },
      },
    ]);
  });

  it("has a timer for each expression of LIFEBOAT_CLOCK, as they were rendered", async () => {
    await using bundle = await makeBundle("azure");
    const clock = ncrontab({ schedule: "30 2 1,15 * mon" });
    await using host = await startAzureHost({ dir: bundle.dir, env: { LIFEBOAT_CLOCK: clock.join("; ") } });
    assert.deepEqual(
      host.functions.filter(({ retry }) => retry).map(({ name, trigger }) => [name, trigger.schedule]),
      [
        ["clock", "0 30 2 1,15 * *"],
        ["clock2", "0 30 2 * * 1"],
      ],
    );
  });

  it("has no timer where its clock hands over nothing", async () => {
    await using bundle = await makeBundle("azure");
    await using host = await startAzureHost({ dir: bundle.dir, env: { LIFEBOAT_CLOCK_JOBS: "none" } });
    assert.deepEqual(
      host.functions.map(({ name }) => name),
      ["jobs", "api"],
    );
  });

  it("logs what a check found as one line of JSON", async () => {
    await using bundle = await makeBundle("azure");
    await using host = await startAzureHost({ dir: bundle.dir, env: {} });
    await host.queue("jobs", { kind: "check" });
    const found = /\{"schemaVersion".*\}/.exec(host.logs())?.[0] ?? "";
    const { kind, ok, checks } = JSON.parse(found);
    assert.deepEqual([kind, ok], ["check", false]);
    assert.equal(checks[0].subject, "configuration", found);
  });

  it("fires timers and delivers messages; what a function throws is a failure", async () => {
    await using bundle = await sample("azure");
    await using host = await startAzureHost({ dir: bundle.dir, env: {} });
    await host.timer("clock", { last: new Date("2026-11-23T02:00:00Z") });
    await host.timer("clock");
    await host.queue("jobs", { kind: "backup" }, { dequeueCount: 2 });
    await assert.rejects(host.timer("clock", { isPastDue: true }), { name: "RangeError", message: "past due" });
    assert.match(host.logs(), /last 2026-11-23T02:00:00.000Z/);
    assert.match(host.logs(), /last 0001-01-01T00:00:00/);
    assert.match(host.logs(), /job \{"kind":"backup"\}, delivery 2/);
  });

  it("routes requests as the front end does, and asks for the key", async () => {
    await using bundle = await sample("azure");
    await using host = await startAzureHost({ dir: bundle.dir, env: {} });
    const answer = await host.http({ method: "POST", path: "/v1/restores", query: { limit: "2" }, body: "{}" });
    assert.deepEqual([answer.status, answer.headers["x-sample"]], [201, "yes"]);
    assert.deepEqual(JSON.parse(answer.body), {
      method: "POST",
      url: "https://lifeboat.azurewebsites.net/v1/restores?limit=2",
      params: { path: "v1/restores" },
      body: "{}",
    });
    const statuses: [number, Parameters<typeof host.http>[0]][] = [
      [200, { method: "GET", path: "/healthz", key: null }],
      [401, { method: "GET", path: "/v1/backups", key: null }],
      [401, { method: "GET", path: "/v1/backups", key: "wrong" }],
      [404, { method: "DELETE", path: "/v1/backups" }],
      [500, { method: "GET", path: "/v1/backups", query: { fail: "1" } }],
    ];
    for (const [status, request] of statuses)
      assert.equal((await host.http(request)).status, status, `${request.method} ${request.path}`);
  });
});
