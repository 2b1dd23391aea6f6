import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { FINDINGS } from "../../core/catalog.ts";
import { writeSideFile } from "../../core/contents.ts";
import { LifeboatError } from "../../core/errors.ts";
import { noteVerification } from "../../core/integrity/verified.ts";
import { verifyBackup } from "../../core/integrity/verify.ts";
import { backupKeys, lockFolder, runKeys } from "../../core/layout.ts";
import { lockState } from "../../core/lock.ts";
import type { Bucket } from "../../core/ports.ts";
import { settleRequest } from "../../core/runs.ts";
import { putBackup, putRestore, type SampleApi, startApi } from "./api-sample.ts";
import { putBackup as putWhole } from "./location-sample.ts";
import { DAY_MS, putBackup as putRetained } from "./retention-sample.ts";

describe("the API", () => {
  let api: SampleApi;
  before(async () => {
    api = await startApi();
    await putBackup(api, "full");
    await putBackup(api, "broken", { phase: "Failed" });
  });
  after(() => api?.stop());

  it("answers that it is there", async () => {
    const { status, body, headers } = await api.send("GET", "/healthz");
    assert.deepEqual([status, body], [200, { status: "ok", version: "1.2.3" }]);
    assert.equal(headers.get("cache-control"), "no-store");
    assert.equal(headers.get("x-content-type-options"), "nosniff");
    assert.equal(headers.get("access-control-allow-origin"), null);
  });

  describe("a pin", () => {
    it("keeps a backup from being deleted until it is taken off", async () => {
      await putBackup(api, "pinned");
      const pin = await api.send("PUT", "/v1/backups/pinned/pin", { json: { reason: "the audit" } });
      assert.equal(pin.status, 200);
      const { at, ...pinned } = pin.body.pinned;
      assert.deepEqual(pinned, { by: "someone", reason: "the audit" });
      assert.deepEqual((await api.send("GET", "/v1/backups/pinned")).body, pin.body);
      const { backups } = (await api.send("GET", "/v1/backups")).body;
      assert.deepEqual(
        backups.flatMap((backup: { name: string; pinned?: object }) => (backup.pinned ? [backup.name] : [])),
        ["pinned"],
      );
      const { status, body } = await api.send("DELETE", "/v1/backups/pinned");
      assert.deepEqual(
        [status, body.kind, body.detail],
        [409, "conflict", `backup "pinned" is pinned by someone at ${at}: the audit`],
      );
      const { pinned: _, ...unpinned } = pin.body;
      assert.deepEqual((await api.send("DELETE", "/v1/backups/pinned/pin")).body, unpinned);
      assert.equal((await api.send("DELETE", "/v1/backups/pinned")).status, 204);
      assert.equal((await api.send("PUT", "/v1/backups/pinned/pin")).status, 404);
      assert.equal((await api.send("DELETE", "/v1/backups/pinned/pin")).status, 404);
    });

    it("needs no reason, and takes no other field", async () => {
      assert.equal((await api.send("PUT", "/v1/backups/broken/pin", { json: { why: "x" } })).status, 400);
      assert.equal((await api.send("PUT", "/v1/backups/broken/pin")).status, 200);
      assert.equal((await api.send("PUT", "/v1/backups/broken/pin")).status, 200);
      assert.equal((await api.send("DELETE", "/v1/backups/broken/pin")).status, 200);
      assert.equal((await api.send("DELETE", "/v1/backups/broken/pin")).status, 200);
    });
  });

  describe("POST /v1/backups", () => {
    it("answers 202, hands over the job and records who asked for it", async () => {
      const spec = { includedNamespaces: ["shop"], ttl: "720h" };
      const asked = await api.send("POST", "/v1/backups", { json: { name: "asked", spec } });
      assert.equal(asked.status, 202);
      assert.equal(asked.headers.get("location"), "/v1/backups/asked");
      const { requestTimestamp, ...document } = asked.body;
      assert.deepEqual(document, {
        ...{ schemaVersion: 1, kind: "backup", name: "asked", phase: "New", location: api.bucket.location },
        ...{ caller: "someone", spec, warnings: [], errors: [] },
      });
      const job = { kind: "backup", name: "asked", spec, caller: "someone" };
      assert.deepEqual(api.jobs.at(-1), job);
      const key = (await api.keys()).find((key) => key?.startsWith("metadata/lifeboat/runs/backups/asked/"))!;
      assert.match(key, new RegExp(`/${requestTimestamp}-[-0-9a-f]{36}-job\\.json$`));
      const record = JSON.parse(Buffer.concat(await Array.fromAsync(await api.bucket.get(key))).toString());
      assert.deepEqual(record, { schemaVersion: 1, job, caller: "someone", at: requestTimestamp });
      assert.deepEqual((await api.send("GET", "/v1/backups/asked")).body, asked.body);
    });

    it("needs no body: it names the backup, and two in one second differently", async () => {
      const asked = await Promise.all([api.send("POST", "/v1/backups"), api.send("POST", "/v1/backups")]);
      const names = asked.map(({ body }) => body.name);
      for (const name of names) assert.match(name, /^backup-\d{14}-[0-9a-f]{8}$/);
      assert.equal(new Set(names).size, 2);
    });

    it("of a schedule is named by it, and leaves template and cluster to the run", async () => {
      const { body } = await api.send("POST", "/v1/backups", { json: { schedule: "hourly" } });
      assert.match(body.name, /^hourly-\d{14}$/);
      assert.deepEqual(api.jobs.at(-1), { kind: "backup", name: body.name, schedule: "hourly", caller: "someone" });
    });

    it("takes a Velero Backup as it is, and says what of it has no effect", async () => {
      const spec = { includedNamespaces: ["shop"], ttl: "1h0m0s", storageLocation: "default", snapshotVolumes: false };
      const metadata = { name: "manifest", annotations: { "lifeboat/cluster": "a" } };
      const json = { apiVersion: "velero.io/v1", kind: "Backup", metadata, spec };
      const { status, body } = await api.send("POST", "/v1/backups", { json });
      assert.equal(status, 202);
      assert.match(body.warnings[0].message, /without effect.*: storageLocation$/);
      const { storageLocation: _, ...kept } = spec;
      assert.deepEqual(api.jobs.at(-1), {
        kind: "backup",
        name: "manifest",
        cluster: "a",
        spec: kept,
        caller: "someone",
      });
    });

    it("leaves nothing where the job can't be handed over", async () => {
      const jobs = { enqueue: () => Promise.reject(new LifeboatError("unreachable", "the queue is away")) };
      const other = await startApi({ jobs });
      try {
        const { status, body } = await other.send("POST", "/v1/backups", { json: { name: "lost" } });
        assert.deepEqual([status, body.detail], [502, "the queue is away"]);
        assert.deepEqual(await other.keys(), []);
      } finally {
        await other.stop();
      }
    });

    it("with a credential that can only create leaves a failed run there", async () => {
      const jobs = { enqueue: () => Promise.reject(new LifeboatError("unreachable", "the queue is away")) };
      const made = await startApi();
      const bucket = { ...made.bucket, delete: () => Promise.reject(new LifeboatError("denied", "no")) };
      const other = await startApi({ jobs, bucket });
      try {
        assert.equal((await other.send("POST", "/v1/backups", { json: { name: "lost" } })).status, 502);
        const { body } = await other.send("GET", "/v1/backups/lost");
        assert.deepEqual([body.phase, body.errors], ["Failed", [{ message: "the queue is away" }]]);
      } finally {
        await made.stop();
        await other.stop();
      }
    });
  });

  describe("POST /v1/restores", () => {
    it("answers 202 and hands over the job, named by its backup", async () => {
      const spec = { backupName: "full", namespaceMapping: { shop: "shop-2" }, existingResourcePolicy: "update" };
      const { status, body, headers } = await api.send("POST", "/v1/restores", { json: { cluster: "a", spec } });
      assert.equal(status, 202);
      assert.match(body.name, /^full-\d{14}-[0-9a-f]{8}$/);
      assert.equal(headers.get("location"), `/v1/restores/${body.name}`);
      const job = { kind: "restore", name: body.name, cluster: "a", spec, caller: "someone" };
      assert.deepEqual(api.jobs.at(-1), job);
      assert.deepEqual((await api.send("GET", `/v1/restores/${body.name}`)).body, body);
    });

    it("from a schedule is of its newest completed backup, as of when it is asked for", async () => {
      const json = { name: "newest", spec: { scheduleName: "hourly" } };
      assert.equal((await api.send("POST", "/v1/restores", { json })).status, 404);
      await putBackup(api, "hourly-20261123020000", { labels: { "velero.io/schedule-name": "hourly" } });
      assert.equal((await api.send("POST", "/v1/restores", { json })).status, 202);
      const asked = api.jobs.at(-1) as { spec?: object };
      assert.deepEqual(asked.spec, { backupName: "hourly-20261123020000" });
    });
  });

  describe("POST /v1/backups/{name}/verify", () => {
    const path = "/v1/backups/verified/verify";

    it("answers 202 and hands over the job; what that found is what a GET then gives", async () => {
      await putBackup(api, "verified");
      assert.equal((await api.send("GET", path)).status, 404);
      const { status, headers, body } = await api.send("POST", path, { json: { sample: "5%" } });
      assert.deepEqual([status, headers.get("location"), body.phase], [202, path, "New"]);
      assert.deepEqual(api.jobs.at(-1), { kind: "verify", name: "verified", sample: "5%", caller: "someone" });
      assert.deepEqual((await api.send("GET", path)).body, body);
      assert.equal((await api.send("POST", path)).status, 409);
      const document = await verifyBackup(api.bucket, "verified");
      await noteVerification(api.bucket, document, 0);
      await settleRequest(api.bucket, { kind: "verify", name: "verified" });
      assert.deepEqual((await api.send("GET", path)).body, JSON.parse(JSON.stringify(document)));
      assert.equal((await api.send("POST", path)).status, 202);
      assert.equal((await api.send("GET", path)).body.phase, "New");
    });

    it("takes a backup whose record is damaged, and none that isn't there", async () => {
      await api.bucket.put(backupKeys("torn").metadata, Buffer.from("{"));
      assert.equal((await api.send("POST", "/v1/backups/torn/verify")).status, 202);
      assert.equal((await api.send("POST", "/v1/backups/none/verify")).status, 404);
      assert.equal((await api.send("POST", path, { json: { sample: "5" } })).status, 400);
      assert.equal((await api.send("POST", path, { json: { sample: "5%", readData: true } })).status, 400);
    });
  });

  describe("/v1/retention", () => {
    const path = "/v1/retention";

    it("tells in pages what would go, and hands over the job that does it", async () => {
      const day = (days: number) => new Date(Date.now() - days * DAY_MS);
      for (const days of [3, 2, 1])
        await putRetained(api.bucket, { name: `aged-${days}`, start: day(days), schedule: "aged", ttl: "24h" });
      const { status, body } = await api.send("GET", `${path}?limit=1`);
      assert.deepEqual(
        [status, body.kind, body.dryRun, body.counts.delete, body.rows.length],
        [200, "retention", true, 2, 1],
      );
      const rest = await api.send("GET", `${path}?continue=${body.continue}`);
      const rows = [...body.rows, ...rest.body.rows] as { name: string; action: string; reason: string }[];
      const going = rows.filter(({ action }) => action === "delete").map(({ name }) => name);
      assert.deepEqual(going, ["aged-2", "aged-3"]);
      const asked = await api.send("POST", path, { json: { schedule: "hourly" } });
      assert.deepEqual([asked.status, asked.headers.get("location")], [202, `${path}?schedule=hourly`]);
      assert.deepEqual([asked.body.name, asked.body.phase], ["hourly", "New"]);
      assert.deepEqual(api.jobs.at(-1), { kind: "retention", schedule: "hourly", caller: "someone" });
      const own = await api.send("GET", `${path}?schedule=hourly`);
      assert.ok((own.body.rows as { schedule: string }[]).every(({ schedule }) => schedule === "hourly"));
    });

    for (const [what, method, query, json] of [
      ["an unknown schedule", "GET", "?schedule=hurly", undefined],
      ["an unknown schedule", "POST", "", { schedule: "hurly" }],
      ["an unknown field", "POST", "", { shedule: "hourly" }],
      ["an unknown parameter", "GET", "?shedule=hourly", undefined],
    ] as const) {
      it(`refuses ${what} of a ${method}`, async () => {
        const { length } = api.jobs;
        assert.equal((await api.send(method, `${path}${query}`, { json })).status, 400);
        assert.equal(api.jobs.length, length);
      });
    }
  });

  describe("the status of a run", () => {
    const path = "/v1/restores/staged";
    const phase = async () => (await api.send("GET", path)).body.phase;
    const run = (at: string) => runKeys("restores", "staged", `${at}-00000000-0000-0000-0000-000000000000`);
    const json = { name: "staged", spec: { backupName: "full" } };
    const lock = (number: number, state: string) =>
      api.bucket.put(`${lockFolder("restores", "staged")}00000${number}.json`, Buffer.from(JSON.stringify({ state })));

    it("is New, InProgress, Failed, New again and then what was committed", async () => {
      assert.equal((await api.send("GET", path)).status, 404);
      assert.equal((await api.send("POST", "/v1/restores", { json })).status, 202);
      assert.equal(await phase(), "New");
      assert.equal((await api.send("POST", "/v1/restores", { json })).status, 409);

      await lock(1, "held");
      assert.equal(await phase(), "InProgress");
      assert.equal((await api.send("POST", "/v1/restores", { json })).status, 409);
      assert.equal((await api.send("GET", "/v1/restores/staged/logs")).status, 404);

      const failed = run(new Date(Date.now() + 1).toISOString());
      const result = { schemaVersion: 1, kind: "restore", phase: "Failed", errors: [{ message: "it sank" }] };
      await writeSideFile(api.bucket, failed.log, "it sank\n");
      await api.bucket.put(failed.result, Buffer.from(JSON.stringify(result)));
      await lock(2, "released");
      const { body } = await api.send("GET", path);
      assert.deepEqual([body.phase, body.errors, body.spec], ["Failed", [{ message: "it sank" }], json.spec]);
      assert.equal((await api.send("GET", "/v1/restores/staged/logs")).text, "it sank\n");

      await new Promise((resolve) => setTimeout(resolve, 5));
      assert.equal((await api.send("POST", "/v1/restores", { json })).status, 202);
      assert.equal(await phase(), "New");

      await putRestore(api, "staged");
      const committed = await api.send("GET", path);
      assert.deepEqual([committed.body.phase, committed.body.counts.created], ["Completed", 2]);
      assert.equal((await api.send("POST", "/v1/restores", { json })).status, 409);
    });

    it("of a backup that a schedule began has no request", async () => {
      await api.bucket.put(`${lockFolder("backups", "clock")}000001.json`, Buffer.from('{"state":"held"}'));
      const { body } = await api.send("GET", "/v1/backups/clock");
      assert.deepEqual([body.phase, body.requestTimestamp, body.caller], ["InProgress", undefined, undefined]);
      assert.equal((await api.send("DELETE", "/v1/backups/clock")).status, 423);
    });
  });

  describe("DELETE", () => {
    it("removes a backup with all that belongs to it", async () => {
      await putBackup(api, "old");
      const { status, text } = await api.send("DELETE", "/v1/backups/old");
      assert.deepEqual([status, text], [204, ""]);
      assert.deepEqual(
        (await api.keys()).filter((key) => key?.includes("/old/")),
        [],
      );
      assert.equal((await api.send("DELETE", "/v1/backups/old")).status, 404);
    });

    it("of a backup with copies of volumes is refused where they can't be removed, unless they are to be kept", async () => {
      const claim = { namespace: "shop", name: "db", uid: "u" };
      const native = { snapshotHandle: "snap-01", volumeId: "vol-1", volumeType: "gp3", volumeAZ: "eu-west-1a" };
      await putWhole(api.bucket, "db", [], { volumes: [{ volume: "v", claim, method: "NativeSnapshot", native }] });
      const { status, body } = await api.send("DELETE", "/v1/backups/db");
      assert.equal(status, 409);
      assert.match(JSON.stringify(body), /1 volume copy.*keepVolumeData=true/);
      assert.equal((await api.send("GET", "/v1/backups/db")).status, 200);
      assert.equal((await api.send("DELETE", "/v1/backups/db?keepVolumeData=maybe")).status, 400);
      assert.equal((await api.send("DELETE", "/v1/backups/db?keepVolumeData=true")).status, 204);
    });

    it("cancels a restore that runs, in the name of who asks", async () => {
      const folder = lockFolder("restores", "running");
      await api.bucket.put(`${folder}000001.json`, Buffer.from('{"run":"x","state":"held"}'));
      const { status, body } = await api.send("DELETE", "/v1/restores/running");
      assert.deepEqual([status, body.phase], [202, "InProgress"]);
      const asked = Buffer.concat(await Array.fromAsync(await api.bucket.get(`${folder}cancel-000001.json`)));
      assert.equal(JSON.parse(asked.toString()).caller, "someone");
    });

    it("refuses to call off a restore that has ended, or is not there", async () => {
      await putRestore(api, "ended");
      const ended = await api.send("DELETE", "/v1/restores/ended");
      assert.deepEqual(
        [ended.status, ended.body.detail],
        [409, 'restore "ended" is Completed: there is nothing to call off'],
      );
      assert.equal((await api.send("DELETE", "/v1/restores/none")).status, 404);
    });

    it("calls off a restore that has not begun, until it is asked for again", async () => {
      const json = { name: "waiting", spec: { backupName: "full" } };
      const scope = { bucket: api.bucket, kind: "restores", name: "waiting" } as const;
      await api.send("POST", "/v1/restores", { json });
      const { status, body } = await api.send("DELETE", "/v1/restores/waiting");
      assert.deepEqual([status, body.phase, body.errors[0].message], [202, "Failed", "cancelled by someone"]);
      assert.equal((await lockState(scope)).state, "cancelled");
      assert.equal((await api.send("POST", "/v1/restores", { json })).status, 202);
      assert.equal((await lockState(scope)).state, "free");
      assert.equal((await api.send("GET", "/v1/restores/waiting")).body.phase, "New");
    });
  });

  it("of two that ask for one name at once, one is refused", async () => {
    const json = { name: "both", spec: { backupName: "full" } };
    const answers = await Promise.all([0, 1].map(() => api.send("POST", "/v1/restores", { json })));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [202, 409]);
  });

  it("a run that was killed is Failed, and can be asked for again", async () => {
    const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000);
    const at = minutesAgo(20).toISOString();
    const job = { kind: "restore", name: "killed", spec: { backupName: "full" } };
    const request = JSON.stringify({ schemaVersion: 1, job, at });
    await api.bucket.put(runKeys("restores", "killed", `${at}-x`).job, Buffer.from(request));
    const rung = `${lockFolder("restores", "killed")}000001.json`;
    await api.bucket.put(rung, Buffer.from('{"run":"dead","state":"held"}'));
    const bucket: Bucket = {
      ...api.bucket,
      async *list(...args) {
        for await (const listed of api.bucket.list(...args)) {
          yield listed.key === rung ? { ...listed, modified: minutesAgo(10) } : listed;
        }
      },
    };
    const later = await startApi({ bucket });
    try {
      const { body } = await later.send("GET", "/v1/restores/killed");
      assert.equal(body.phase, "Failed");
      assert.match(body.errors[0].message, /was killed/);
      const { kind: _, ...json } = job;
      assert.equal((await later.send("POST", "/v1/restores", { json })).status, 202);
    } finally {
      await later.stop();
    }
  });

  it("the items of a backup come in pages, Velero's too", async () => {
    const list = { "apps/v1/Deployment": ["shop/web", "shop/db"], "v1/Namespace": ["shop"] };
    await writeSideFile(api.bucket, backupKeys("full").resourceList, JSON.stringify(list));
    const first = (await api.send("GET", "/v1/backups/full/items?limit=2")).body;
    assert.deepEqual(first.items, [
      { apiVersion: "apps/v1", kind: "Deployment", namespace: "shop", name: "web" },
      { apiVersion: "apps/v1", kind: "Deployment", namespace: "shop", name: "db" },
    ]);
    const rest = (await api.send("GET", `/v1/backups/full/items?limit=2&continue=${first.continue}`)).body;
    assert.deepEqual([rest.items, rest.continue], [[{ apiVersion: "v1", kind: "Namespace", name: "shop" }], undefined]);
    assert.equal((await api.send("GET", "/v1/backups/broken/items")).status, 404);
    assert.equal((await api.send("GET", "/v1/backups/none/items")).status, 404);
  });

  it("the findings of a backup come in pages; of one that has none, none", async () => {
    const findings = ["a", "b", "c"].map((name) => ({
      ...{ resource: "secrets", namespace: "shop", name },
      ...{ rule: "absent-secret", message: "it is not there" },
    }));
    await putBackup(api, "linted", { annotations: { [FINDINGS]: "3" } });
    await writeSideFile(api.bucket, backupKeys("linted").findings, JSON.stringify(findings));
    assert.equal((await api.send("GET", "/v1/backups/linted")).body.findingCount, 3);
    const first = (await api.send("GET", "/v1/backups/linted/findings?limit=2")).body;
    assert.deepEqual(first.findings, findings.slice(0, 2));
    const rest = (await api.send("GET", `/v1/backups/linted/findings?continue=${first.continue}`)).body;
    assert.deepEqual([rest.findings, rest.continue], [findings.slice(2), undefined]);
    assert.deepEqual((await api.send("GET", "/v1/backups/full/findings")).body.findings, []);
    assert.equal((await api.send("GET", "/v1/backups/none/findings")).status, 404);
  });

  it("a log longer than 4 MiB comes in parts that end with a line", async () => {
    const log = Array.from({ length: 60_000 }, (_, at) => `level=info msg="ü ${at} ${"x".repeat(80)}"\n`).join("");
    await putBackup(api, "wordy", { log });
    const parts: string[] = [];
    for (let path: string | undefined = "/v1/backups/wordy/logs"; path; ) {
      const { text, headers } = await api.send("GET", path);
      assert.equal(headers.get("content-type"), "text/plain; charset=UTF-8");
      assert(Buffer.byteLength(text) <= 4 * 1024 * 1024);
      assert(text.endsWith('"\n'));
      parts.push(text);
      path = /^<(.+)>; rel="next"$/.exec(headers.get("link") ?? "")?.[1];
    }
    assert.equal(parts.length, 2);
    assert.equal(parts.join(""), log);
  });
});

describe("lists", () => {
  let api: SampleApi;
  const names = Array.from({ length: 45 }, (_, at) => `b${String(at).padStart(2, "0")}`);
  const read = new Set<string>();
  before(async () => {
    const made = await startApi();
    const bucket = {
      ...made.bucket,
      get: (...args: Parameters<typeof made.bucket.get>) => {
        // An uncommitted one is looked for under both names that a record may have.
        read.add(args[0].split("/").slice(0, 2).join("/"));
        return made.bucket.get(...args);
      },
    };
    api = { ...(await startApi({ bucket })), bucket, stop: made.stop };
    for (const name of [...names, "b0-", "b0.a"].filter((name) => !name.endsWith("-"))) await putBackup(api, name);
    await api.bucket.put("backups/b10x/b10x.tar.gz", Buffer.from("not committed"));
    await api.bucket.put("backups/b20x/velero-backup.json", Buffer.from("not JSON"));
    await putRestore(api, "r1");
    await putRestore(api, "r2");
  });
  after(() => api?.stop());

  for (const limit of [1, 7, 16, 100, 1000]) {
    it(`with limit ${limit} bring each backup once, in the order of names, and read no record of another page`, async () => {
      const found: string[] = [];
      for (let token: string | undefined = ""; token !== undefined; ) {
        read.clear();
        const query: string = token ? `limit=${limit}&continue=${token}` : `limit=${limit}`;
        const { status, body } = await api.send("GET", `/v1/backups?${query}`);
        assert.equal(status, 200);
        assert(body.backups.length <= limit && read.size <= limit, `${body.backups.length}, ${read.size} read`);
        found.push(...body.backups.map(({ name }: { name: string }) => name));
        token = body.continue;
      }
      assert.deepEqual(found, ["b0.a", ...names, "b20x"].sort());
    });
  }

  it("show what can't be read as such", async () => {
    const { body } = await api.send("GET", "/v1/backups");
    const row = body.backups.find(({ name }: { name: string }) => name === "b20x");
    assert.equal(row.problem, "backups/b20x/velero-backup.json is not JSON");
  });

  it("of restores are like those of backups", async () => {
    const { body } = await api.send("GET", "/v1/restores?limit=1");
    assert.deepEqual([body.kind, body.restores[0].name, body.restores[0].backup], ["restoreList", "r1", "full"]);
    const rest = (await api.send("GET", `/v1/restores?continue=${body.continue}`)).body;
    assert.deepEqual([rest.restores.map(({ name }: { name: string }) => name), rest.continue], [["r2"], undefined]);
  });

  it("are cut at 4 MiB", async () => {
    const results = { errors: { velero: Array.from({ length: 20_000 }, () => "x".repeat(100)) } };
    for (const name of ["c1", "c2", "c3", "c4"]) {
      await putBackup(api, name, { phase: "PartiallyFailed" });
      const { metadata, results: key } = backupKeys(name);
      const record = JSON.parse(Buffer.concat(await Array.fromAsync(await api.bucket.get(metadata))).toString());
      record.status.errors = 20_000;
      await api.bucket.put(metadata, Buffer.from(JSON.stringify(record)));
      await writeSideFile(api.bucket, key, JSON.stringify(results));
    }
    const after = Buffer.from(names.at(-1)!).toString("base64url");
    const { body, text } = await api.send("GET", `/v1/backups?continue=${after}`);
    assert(Buffer.byteLength(text) < 4 * 1024 * 1024);
    assert.deepEqual([body.backups.length, Buffer.from(body.continue, "base64url").toString()], [1, "c1"]);
  });
});
