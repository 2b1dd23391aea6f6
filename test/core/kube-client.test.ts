import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { getEventListeners } from "node:events";
import { suite, type TestContext, test } from "node:test";
import { inspect } from "node:util";
import { isLifeboatError } from "../../core/errors.ts";
import { connect, expectOk } from "../../core/kube/client.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import { RETRIES, retryAfterMs, retryDelay, type Trouble, troubleOf } from "../../core/kube/retry.ts";
import { type Answer, client, cut, hang, json, kubeconfig, serve, status } from "./kube-server.ts";

const ok = json(200, { ok: true });
const path = "/api/v1/pods";

suite("a request", () => {
  test("carries method, query, body, types and credentials, and gives back the raw bytes", async () => {
    const raw = '{"big": 12345678901234567890}\n';
    await using server = await serve((_, response) => response.setHeader("X-Kind", "a").end(raw));
    await using kube = client(server);
    const response = await kube.request({
      method: "PATCH",
      path: "/api/v1/namespaces/a%20b/pods",
      query: { fieldManager: "life boat", dryRun: undefined },
      body: '{"a":1}',
      contentType: "application/merge-patch+json",
      accept: "application/json;as=Table",
    });
    assert.equal(response.body.toString(), raw);
    assert.equal(response.headers["x-kind"], "a");
    assert.deepEqual([response.status, response.attempts], [200, 1]);
    const [sent] = server.requests;
    assert.deepEqual(
      [sent!.method, sent!.url, sent!.body],
      ["PATCH", "/api/v1/namespaces/a%20b/pods?fieldManager=life+boat", '{"a":1}'],
    );
    assert.equal(sent!.headers.authorization, "Bearer secret-token");
    assert.equal(sent!.headers["content-type"], "application/merge-patch+json");
    assert.equal(sent!.headers.accept, "application/json;as=Table");
    assert.equal(sent!.headers["user-agent"], "lifeboat");
  });

  test("keeps the path of the server's URL, as Rancher's has one", async () => {
    await using server = await serve(ok);
    await using kube = client({ url: `${server.url}/k8s/clusters/c-1/` });
    await kube.request({ path });
    assert.equal(server.requests[0]!.url, "/k8s/clusters/c-1/api/v1/pods");
  });

  test("shares a few kept-alive connections with all others", async () => {
    const sockets = new Set<unknown>();
    await using server = await serve((request, response) => {
      sockets.add(request.socket);
      setTimeout(() => response.end("{}"), 1);
    });
    await using kube = client(server, { connections: 4 });
    await Promise.all(Array.from({ length: 100 }, () => kube.request({ path })));
    assert.equal(server.requests.length, 100);
    assert.ok(sockets.size <= 4, `${sockets.size} connections`);
  });
});

suite("a request is sent again", () => {
  const cases: { name: string; answers: Answer[]; method?: "POST"; troubles: Trouble[] }[] = [
    {
      name: "after a 429, whatever the method",
      answers: [status(429, "TooManyRequests", "slow down"), ok],
      method: "POST",
      troubles: ["throttled"],
    },
    {
      name: "after a 500 whose cause passes",
      answers: [status(500, "InternalError", "etcdserver: leader changed"), ok],
      troubles: ["failing"],
    },
    {
      name: "after a 500 that says nothing of its cause",
      answers: [status(500, "InternalError", "an error on the server"), ok],
      troubles: ["failing"],
    },
    {
      name: "after one trouble more than another allows",
      answers: [ok, cut, cut, cut, cut, status(500, "InternalError", "etcdserver: leader changed"), ok],
      troubles: ["cut", "cut", "cut", "cut", "failing"],
    },
    {
      name: "after a 502 of something in between",
      answers: [(_, response) => response.writeHead(502).end("<html>"), ok],
      troubles: ["failing"],
    },
    {
      name: "after a 503 at a write",
      answers: [status(503, "ServiceUnavailable", "starting"), status(409, "AlreadyExists", "is there")],
      method: "POST",
      troubles: ["failing"],
    },
    { name: "after a connection cut before the answer", answers: [ok, cut, ok], troubles: ["cut"] },
    {
      name: "after an answer cut in its middle",
      answers: [
        ok,
        (_, response) => {
          response.writeHead(200, { "content-length": "100" }).write("{");
          setTimeout(() => response.destroy(), 10);
        },
        ok,
      ],
      troubles: ["cut"],
    },
  ];
  for (const { name, answers, method, troubles } of cases) {
    test(name, async () => {
      await using server = await serve(...answers);
      await using kube = client(server);
      const first = answers[0] === ok ? await kube.request({ path }) : undefined;
      const met: Trouble[] = [];
      const pausing = async (trouble: Trouble) => void met.push(trouble);
      const response = await kube.request({ path, method, body: method && "{}", pausing });
      assert.deepEqual([met, response.attempts], [troubles, troubles.length + 1]);
      assert.equal(server.requests.length, response.attempts + (first ? 1 : 0));
    });
  }

  test("no sooner than Retry-After says", async () => {
    await using server = await serve(json(429, {}, { "retry-after": "1" }), ok);
    await using kube = client(server);
    const began = performance.now();
    const response = await kube.request({ path });
    assert.ok(performance.now() - began >= 990);
    assert.ok(response.latencyMs < 900, "the latency is that of the last attempt");
  });

  test("after a hang, once its time is over", async () => {
    await using server = await serve(ok, hang, ok);
    await using kube = client(server);
    await kube.request({ path });
    const response = await kube.request({ path, timeoutMs: 500 });
    assert.deepEqual([response.status, response.attempts], [200, 2]);
  });

  const final: [string, Answer][] = [
    ["a 500 that a webhook causes", status(500, "InternalError", "failed calling webhook: etcdserver: x")],
    ["a 404", status(404, "NotFound", "no such pod")],
    ["a 410", status(410, "Expired", "too old")],
  ];
  for (const [name, answer] of final) {
    test(`but not after ${name}`, async () => {
      await using server = await serve(answer);
      await using kube = client(server);
      assert.equal((await kube.request({ path })).attempts, 1);
    });
  }
});

suite("retryDelay", () => {
  test("ends each kind of trouble after its own number of attempts, and any after two minutes", () => {
    for (const [trouble, { attempts }] of Object.entries(RETRIES) as [Trouble, { attempts: number }][]) {
      assert.notEqual(retryDelay(trouble, attempts - 1, { elapsedMs: 0 }), undefined);
      assert.equal(retryDelay(trouble, attempts, { elapsedMs: 0 }), undefined);
      assert.equal(retryDelay(trouble, 1, { elapsedMs: 120_001 }), undefined);
    }
  });

  test("doubles the backoff up to ten seconds, draws from all of it, and adds at most 30 s of Retry-After", () => {
    const most = (attempts: number, retryAfterMs?: number) =>
      retryDelay("throttled", attempts, { elapsedMs: 0, retryAfterMs, random: () => 1 });
    assert.deepEqual(
      [1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => most(n)),
      [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000],
    );
    assert.equal(retryDelay("cut", 3, { elapsedMs: 0, random: () => 0 }), 0);
    assert.equal(most(1, 2000), 2250);
    assert.equal(most(1, 3_600_000), 30_250);
  });

  test("reads Retry-After as seconds and as a date", () => {
    const of = (value?: string) =>
      retryAfterMs(
        { headers: value === undefined ? {} : { "retry-after": value }, body: Buffer.of() },
        Date.UTC(2026, 0, 1),
      );
    assert.deepEqual(
      [of(), of("3"), of("Thu, 01 Jan 2026 00:00:05 GMT"), of("Thu, 01 Jan 2020 00:00:00 GMT"), of("soon")],
      [undefined, 3000, 5000, 0, undefined],
    );
  });

  test("a 500 counts as passing, one of a webhook only where the server itself says when to come back", () => {
    const of = (headers: Record<string, string>, document: object) =>
      troubleOf({ status: 500, headers, body: Buffer.from(JSON.stringify({ kind: "Status", ...document })) });
    const message = 'Internal error occurred: failed calling webhook "a.b.c": context deadline exceeded';
    assert.equal(of({ "retry-after": "1" }, { message }), "failing");
    assert.equal(of({}, { message, details: { retryAfterSeconds: 2 } }), "failing");
    assert.equal(of({}, { message }), undefined);
    assert.equal(of({}, { reason: "ServerTimeout" }), "failing");
    assert.equal(of({}, { reason: "InternalError", message: "an error on the server" }), "failing");
    assert.equal(troubleOf({ status: 500, headers: {}, body: Buffer.from("a proxy's page") }), "failing");
  });
});

suite("a request ends", () => {
  test("with its signal's reason, in every state it can be in", async () => {
    const reason = new Error("deadline");
    const states: [string, Answer, object?][] = [
      ["waiting for an answer", hang],
      ["reading a body", (_, response) => void response.writeHead(200).write("{")],
      ["waiting to send it again", json(429, {}, { "retry-after": "20" })],
    ];
    for (const [state, answer] of states) {
      await using server = await serve(answer);
      await using kube = client(server);
      const { signal, abort } = aborter();
      setTimeout(() => abort(reason), 60);
      await assert.rejects(kube.request({ path, signal }), (error) => error === reason, state);
      assert.equal(getEventListeners(signal, "abort").length, 0, state);
      await assert.rejects(kube.request({ path, signal }), (error) => error === reason, `aborted before ${state}`);
    }
  });

  test("when the client is closed", async () => {
    await using server = await serve(hang);
    const kube = client(server);
    const asked = kube.request({ path });
    setTimeout(() => kube.close(), 30);
    await assert.rejects(asked, { kind: "unreachable", message: /closed/ });
    await assert.rejects(kube.request({ path }), { message: /closed/ });
  });

  test("soon where nothing listens, since it never answered", async (t) => {
    const server = await serve(ok);
    await server[Symbol.asyncDispose]();
    await using kube = client(server);
    const attempts = connectionsThatFail(t);
    await assert.rejects(kube.request({ path }), {
      kind: "unreachable",
      message: `the API server ${server.url} refuses connections (ECONNREFUSED)`,
      hint: /is the cluster running/,
    });
    assert.equal(attempts(), RETRIES.unreached.attempts);
  });

  test("at once where a token can't be sent, without telling it", async () => {
    await using server = await serve(ok);
    const kube = connect(readKubeconfig(kubeconfig(server.url, { token: "secret-\ntoken" })));
    await assert.rejects(kube.request({ path }), (error) => {
      assert(isLifeboatError(error, "invalid"));
      assert.match(error.message, /a header of the request can't be sent/);
      assert.match(error.hint ?? "", /token/);
      assert.doesNotMatch(inspect(error), /secret-/);
      return true;
    });
    await kube.close();
    assert.equal(server.requests.length, 0);
  });

  test("as a timeout where the server only ever hangs", async () => {
    await using server = await serve(hang);
    await using kube = client(server);
    await assert.rejects(kube.request({ path, timeoutMs: 500 }), {
      kind: "timeout",
      message: /did not answer in time \(0.5 s\)/,
    });
    assert.equal(server.requests.length, 2);
  });

  test("with a hint where the host name does not exist", async () => {
    await using kube = client({ url: "https://cluster.invalid:6443" });
    await assert.rejects(kube.request({ path }), { kind: "unreachable", message: /can't be resolved/, hint: /VPN/ });
  });

  test("with a hint where TLS is spoken to a plain server", async () => {
    await using server = await serve(ok);
    await using kube = client({ url: server.url.replace("http:", "https:") });
    await assert.rejects(kube.request({ path }), { kind: "unreachable", message: /does not speak TLS/ });
  });
});

suite("a 401", () => {
  const refuse = status(401, "Unauthorized", "Unauthorized");
  const byToken: Answer = (request, response, body) =>
    (request.headers.authorization === "Bearer new" ? ok : refuse)(request, response, body);

  test("is met by reloading the kubeconfig once, however many requests meet it", async () => {
    await using server = await serve(byToken);
    let reloads = 0;
    await using kube = client(server, {
      reload: async () => {
        reloads++;
        return readKubeconfig(kubeconfig(server.url, { token: "new" }));
      },
    });
    const responses = await Promise.all(Array.from({ length: 20 }, () => kube.request({ path })));
    assert.deepEqual([...new Set(responses.map((response) => `${response.status} ${response.attempts}`))], ["200 2"]);
    assert.equal(reloads, 1);
    assert.equal((await kube.request({ path })).attempts, 1);
  });

  test("that stays is denied, and the token is told nowhere", async () => {
    await using server = await serve(refuse);
    await using kube = client(server);
    const response = await kube.request({ path });
    assert.equal(response.attempts, 2);
    assert.throws(
      () => expectOk(response, "list pods"),
      (error) => {
        assert.ok(isLifeboatError(error, "denied"));
        assert.equal(error.message, "the API server did not list pods: Unauthorized (401)");
        assert.doesNotMatch(JSON.stringify([error.hint, error.stack, String(error.cause)]), /secret-token/);
        return true;
      },
    );
  });

  test("is avoided where the credentials say when they end", async () => {
    await using server = await serve(ok);
    let asked = 0;
    const access = readKubeconfig(kubeconfig(server.url));
    const authenticate = async () => ({
      headers: { authorization: `Bearer ${++asked}` },
      expires: new Date(Date.now() + 40),
    });
    await using kube = { ...connect({ ...access, authenticate }), [Symbol.asyncDispose]: async () => {} };
    for (const pause of [0, 60]) {
      await new Promise((wake) => setTimeout(wake, pause));
      await kube.request({ path });
    }
    await kube.close();
    assert.deepEqual(
      server.requests.map(({ headers }) => headers.authorization),
      ["Bearer 1", "Bearer 2"],
    );
  });
});

suite("expectOk", () => {
  const kinds: [number, string][] = [
    [400, "invalid"],
    [401, "denied"],
    [403, "denied"],
    [404, "missing"],
    [409, "conflict"],
    [410, "conflict"],
    [415, "invalid"],
    [422, "invalid"],
    [429, "unreachable"],
    [500, "unreachable"],
    [503, "unreachable"],
    [504, "timeout"],
  ];
  const response = (status: number, body: string) => ({
    status,
    headers: {},
    body: Buffer.from(body),
    attempts: 1,
    latencyMs: 1,
  });

  test("turns each status into the error that fits, with the server's words in one line", () => {
    for (const [status, kind] of kinds) {
      const body = JSON.stringify({ kind: "Status", message: "it said\n so" });
      assert.throws(() => expectOk(response(status, body), "get it"), {
        kind,
        message: `the API server did not get it: it said so (${status})`,
      });
      assert.throws(() => expectOk(response(status, "<html>"), "get it"), {
        kind,
        message: `the API server did not get it: it answered ${status}`,
      });
    }
  });

  test("passes every other response through", () => {
    const created = response(201, "{}");
    assert.equal(expectOk(created, "create it"), created);
  });
});

function aborter() {
  const controller = new AbortController();
  return { signal: controller.signal, abort: (reason: Error) => controller.abort(reason) };
}

/** Counts undici's connections that don't come about from now on. */
function connectionsThatFail(t: TestContext): () => number {
  let count = 0;
  const onError = () => count++;
  subscribe("undici:client:connectError", onError);
  t.after(() => unsubscribe("undici:client:connectError", onError));
  return () => count;
}
