import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { putBackup, type SampleApi, startApi } from "./api-sample.ts";

const JSON_TYPE = { "content-type": "application/json" };
const MIB = 1024 * 1024;

interface Case {
  what: string;
  method?: string;
  path?: string;
  json?: unknown;
  body?: RequestInit["body"];
  headers?: Record<string, string>;
  status: number;
  kind: string;
  says: RegExp;
  at?: string[];
}

const CASES: Case[] = [
  { what: "malformed JSON", body: '{"name":', headers: JSON_TYPE, status: 400, kind: "invalid", says: /JSON/ },
  { what: "JSON that is no object", json: [1], status: 400, kind: "invalid", says: /a mapping/, at: [""] },
  {
    what: "no JSON's type",
    body: "{}",
    headers: { "content-type": "text/plain" },
    status: 415,
    kind: "invalid",
    says: /that its body is JSON/,
  },
  {
    what: "a form",
    body: new URLSearchParams({ name: "x" }),
    status: 415,
    kind: "invalid",
    says: /that its body is JSON/,
  },
  { what: "an unknown field", json: { nmae: "x" }, status: 400, kind: "invalid", says: /nmae/, at: [""] },
  {
    what: "several faults at once",
    json: { name: 5, spec: { ttl: "soon", includedNamespace: ["a"] } },
    ...{ status: 400, kind: "invalid", says: /did you mean includedNamespaces/, at: ["name", "spec.ttl", "spec"] },
  },
  { what: "an unknown kind", json: { kind: "verify" }, status: 400, kind: "invalid", says: /kind/, at: ["kind"] },
  {
    what: "contradictory filters",
    json: { spec: { includedNamespaces: ["a"], excludedNamespaces: ["a"] } },
    status: 400,
    kind: "invalid",
    says: /"a" is both/,
  },
  { what: "a name that is none", json: { name: "../x" }, status: 400, kind: "invalid", says: /can't name a backup/ },
  {
    what: "a name that is too long",
    json: { name: "x".repeat(240) },
    status: 400,
    kind: "invalid",
    says: /240 characters/,
  },
  { what: "a name that is taken", json: { name: "full" }, status: 409, kind: "conflict", says: /already exists/ },
  { what: "an unknown cluster", json: { cluster: "b" }, status: 400, kind: "invalid", says: /no cluster "b"/ },
  {
    what: "a cluster by an inherited name",
    json: { cluster: "constructor" },
    status: 400,
    kind: "invalid",
    says: /no cluster/,
  },
  { what: "an unknown schedule", json: { schedule: "x" }, status: 400, kind: "invalid", says: /no schedule "x"/ },
  {
    what: "a Velero Backup whose data can't be moved",
    json: { apiVersion: "velero.io/v1", kind: "Backup", metadata: { name: "m" }, spec: { snapshotMoveData: true } },
    status: 400,
    kind: "invalid",
    says: /snapshotMoveData copies the files of snapshots: the configuration has no volumes\.restic/,
  },
  {
    what: "a restore of nothing",
    path: "/v1/restores",
    json: { spec: {} },
    status: 400,
    kind: "invalid",
    says: /backupName and scheduleName/,
  },
  {
    what: "a restore of two things",
    path: "/v1/restores",
    json: { spec: { backupName: "full", scheduleName: "s" } },
    status: 400,
    kind: "invalid",
    says: /backupName and scheduleName/,
  },
  {
    what: "a restore without a spec",
    path: "/v1/restores",
    json: {},
    status: 400,
    kind: "invalid",
    says: /spec: is missing/,
    at: ["spec"],
  },
  { what: "a restore without a body", path: "/v1/restores", status: 400, kind: "invalid", says: /./ },
  {
    what: "a restore of an unknown backup",
    path: "/v1/restores",
    json: { spec: { backupName: "none" } },
    status: 404,
    kind: "missing",
    says: /no backup "none"/,
  },
  {
    what: "a restore of a failed backup",
    path: "/v1/restores",
    json: { spec: { backupName: "failed" } },
    status: 400,
    kind: "invalid",
    says: /is Failed/,
  },
  {
    what: "a restore of what is never restored",
    path: "/v1/restores",
    json: { spec: { backupName: "full", includedResources: ["nodes"] } },
    status: 400,
    kind: "invalid",
    says: /nodes/,
  },
  {
    what: "a mapping to what can't be a namespace",
    path: "/v1/restores",
    json: { spec: { backupName: "full", namespaceMapping: { a: "A!" } } },
    status: 400,
    kind: "invalid",
    says: /can't be a namespace/,
  },
  {
    what: "a backup's path that is no name",
    method: "GET",
    path: "/v1/backups/..%2Fx",
    status: 400,
    kind: "invalid",
    says: /can't name/,
  },
  {
    what: "a backup that isn't there",
    method: "GET",
    path: "/v1/backups/none",
    status: 404,
    kind: "missing",
    says: /no backup "none"/,
  },
  {
    what: "an unknown parameter",
    method: "GET",
    path: "/v1/backups?pretty=1",
    status: 400,
    kind: "invalid",
    says: /pretty/,
  },
  {
    what: "a parameter where there is none",
    method: "GET",
    path: "/healthz?x=1",
    status: 400,
    kind: "invalid",
    says: /"x"/,
  },
  {
    what: "a limit of nothing",
    method: "GET",
    path: "/v1/backups?limit=0",
    status: 400,
    kind: "invalid",
    says: /limit/,
    at: ["limit"],
  },
  {
    what: "a limit given twice",
    method: "GET",
    path: "/v1/backups?limit=1&limit=2",
    status: 400,
    kind: "invalid",
    says: /limit/,
  },
  {
    what: "a limit above the highest",
    method: "GET",
    path: "/v1/backups?limit=1001",
    status: 400,
    kind: "invalid",
    says: /1000/,
  },
  {
    what: "a broken continue",
    method: "GET",
    path: "/v1/backups?continue=%20",
    status: 400,
    kind: "invalid",
    says: /continue/,
  },
  {
    what: "a list's continue for a log",
    method: "GET",
    path: "/v1/backups/full/logs?continue=YQ",
    status: 400,
    kind: "invalid",
    says: /continue/,
  },
  {
    what: "an unknown path",
    method: "GET",
    path: "/v1/backup",
    status: 404,
    kind: "missing",
    says: /nothing at this path/,
  },
];

describe("the API refuses, writes nothing and tells why:", () => {
  let api: SampleApi;
  let untouched: (string | undefined)[];
  before(async () => {
    api = await startApi();
    await putBackup(api, "full");
    await putBackup(api, "failed", { phase: "Failed" });
    untouched = await api.keys();
  });
  after(() => api?.stop());

  for (const { what, method = "POST", path = "/v1/backups", status, kind, says, at, ...request } of CASES) {
    it(what, async () => {
      const answer = await api.send(method, path, request);
      assert.equal(answer.headers.get("content-type"), "application/problem+json");
      assert.equal(answer.headers.get("cache-control"), "no-store");
      assert.deepEqual([answer.status, answer.body.status, answer.body.kind], [status, status, kind]);
      assert.match(`${answer.body.detail} ${answer.body.hint}`, says);
      if (at)
        assert.deepEqual(
          answer.body.errors.map((error: { path: string }) => error.path),
          at,
        );
      assert.deepEqual([await api.keys(), api.jobs, api.lines], [untouched, [], []]);
    });
  }

  for (const [path, allow] of [
    ["/healthz", "GET, HEAD"],
    ["/v1/backups", "GET, HEAD, POST"],
    ["/v1/restores/x", "GET, HEAD, DELETE"],
    ["/v1/backups/x/logs", "GET, HEAD"],
  ]) {
    for (const method of ["PUT", "OPTIONS"]) {
      it(`${method} ${path}`, async () => {
        const { status, headers } = await api.send(method, path!);
        assert.deepEqual([status, headers.get("allow")], [405, allow]);
      });
    }
  }

  for (const announced of [true, false]) {
    it(`a body larger than 1 MiB, ${announced ? "announced" : "in chunks without a length, and reads no more of it"}`, async () => {
      let given = 0;
      const endless = new ReadableStream({
        pull(controller) {
          given += 65_536;
          controller.enqueue(Buffer.alloc(65_536, " "));
        },
      });
      const headers = { ...JSON_TYPE, ...(announced && { "content-length": String(MIB + 1) }) };
      const init = { body: endless, duplex: "half", headers } as RequestInit;
      const { status, body } = await api.send("POST", "/v1/backups", init);
      assert.deepEqual([status, body.kind], [413, "invalid"]);
      assert(given <= MIB + 4 * 65_536, `${given} bytes were read`);
      assert.deepEqual(await api.keys(), untouched);
    });
  }

  it("a body of 1 MiB is taken, whatever length was announced", async () => {
    const json = JSON.stringify({ name: "big" }).padEnd(MIB);
    const { status } = await api.send("POST", "/v1/backups", {
      body: json,
      headers: { ...JSON_TYPE, "content-length": "5" },
    });
    assert.equal(status, 202);
    const { status: more } = await api.send("POST", "/v1/backups", { body: `${json} `, headers: JSON_TYPE });
    assert.equal(more, 413);
  });
});

describe("an unexpected error", () => {
  it("is logged under the name that the answer gives, and not told", async () => {
    const made = await startApi();
    const list = () => {
      throw new Error("password=hunter2");
    };
    const api = await startApi({ bucket: { ...made.bucket, list } });
    try {
      const lines: string[] = api.lines;
      const { status, body, text } = await api.send("GET", "/v1/backups");
      assert.deepEqual([status, body.kind], [500, "unexpected"]);
      assert.doesNotMatch(text, /hunter2/);
      assert.equal(lines.length, 1);
      assert(lines[0]!.includes(body.instance));
      assert.match(lines[0]!, /hunter2/);
    } finally {
      await made.stop();
      await api.stop();
    }
  });
});

describe("a token", () => {
  let api: SampleApi;
  before(async () => {
    api = await startApi({ token: "correct horse" });
  });
  after(() => api?.stop());

  it("is not wanted for /healthz", async () => {
    assert.equal((await api.send("GET", "/healthz")).status, 200);
  });

  for (const path of ["/v1/backups", "/openapi.json", "/nothing"]) {
    for (const authorization of [undefined, "Bearer wrong", "Bearer correct", "Basic correct horse", "Bearer"]) {
      it(`is wanted for ${path}, and "${authorization ?? ""}" is none`, async () => {
        const headers: Record<string, string> = authorization ? { authorization } : {};
        const { status, headers: given, text } = await api.send("GET", path, { headers });
        assert.deepEqual([status, given.get("www-authenticate")], [401, "Bearer"]);
        assert.doesNotMatch(text, /correct|horse/);
      });
    }
  }

  it("comes before the body is read", async () => {
    const { status } = await api.send("POST", "/v1/backups", { body: "x".repeat(2 * MIB), headers: JSON_TYPE });
    assert.equal(status, 401);
  });

  it("that is the right one opens the API", async () => {
    const headers = { authorization: "bearer correct horse" };
    assert.equal((await api.send("GET", "/v1/backups", { headers })).status, 200);
  });
});
