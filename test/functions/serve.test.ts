import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { thisProcess } from "../../core/holder.ts";
import { backupKeys, runFolder } from "../../core/layout.ts";
import { directoryBucket } from "../../functions/cli/bucket.ts";
import { ENVIRONMENT, lifeboat, MAIN } from "../e2e/lifeboat.ts";
import { makeScratch, type Scratch, shop, startCluster, startGate } from "./cli-sample.ts";

const TOKEN = "correct-horse-battery-staple";

/** `lifeboat serve`, once it listens. */
async function startServe(args: string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [MAIN, "serve", "--listen", "127.0.0.1:0", ...args], {
    env: { ...ENVIRONMENT, ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  child.stderr.on("data", (chunk) => {
    log += chunk;
  });
  const ended = once(child, "exit").then(([code]) => code as number | null);
  const until = async (pattern: RegExp): Promise<RegExpExecArray> => {
    for (let tries = 0; tries < 400; tries++) {
      const found = pattern.exec(log);
      if (found) return found;
      if (child.exitCode !== null) break;
      await sleep(50);
    }
    return assert.fail(`${pattern} did not come:\n${log}`);
  };
  const [, url = ""] = await until(/msg="listens" url="([^"]+)"/);
  const send = async (method: string, path: string, json?: unknown, headers: Record<string, string> = {}) => {
    const body = json === undefined ? undefined : JSON.stringify(json);
    const type: Record<string, string> = body ? { "content-type": "application/json" } : {};
    const answer = await fetch(`${url}${path}`, { method, body, headers: { ...type, ...headers } });
    const text = await answer.text();
    const document = text.startsWith("{") ? JSON.parse(text) : {};
    return { status: answer.status, location: answer.headers.get("location"), text, document };
  };
  return {
    url,
    send,
    until,
    log: () => log,
    /** What a backup or restore has become once it is neither New nor InProgress. */
    async outcome(path: string) {
      for (;;) {
        const { status, document } = await send("GET", path);
        assert.equal(status, 200);
        if (!["New", "InProgress"].includes(document.phase)) return document;
        await sleep(50);
      }
    },
    signal: (signal: NodeJS.Signals = "SIGTERM") => child.kill(signal),
    ended,
    async stop() {
      child.kill("SIGTERM");
      const code = await Promise.race([ended, sleep(10_000, "late", { ref: false })]);
      child.kill("SIGKILL");
      return code;
    },
  };
}

describe("lifeboat serve", () => {
  let scratch: Scratch;
  let source: Awaited<ReturnType<typeof startCluster>>;
  let target: Awaited<ReturnType<typeof startCluster>>;

  before(async () => {
    scratch = await makeScratch();
    source = await startCluster(scratch, "source", shop());
    target = await startCluster(scratch, "target");
  });
  after(async () => {
    await source?.stop();
    await target?.stop();
    await scratch?.remove();
  });

  /** A configuration with both clusters and a location of its own. */
  async function configure(name: string, rest: object = {}) {
    const location = scratch.path(`${name}-bucket`);
    const clusters = { a: { kubeconfig: `file:${source.file}` }, b: { kubeconfig: `file:${target.file}` } };
    const file = await scratch.write(
      `${name}.yaml`,
      JSON.stringify({ location: `file://${location}`, clusters, ...rest }),
    );
    return { file, bucket: directoryBucket(location) };
  }

  it("backs up one cluster and restores it into another, by HTTP, and ends well on SIGTERM", async () => {
    const { file } = await configure("flow");
    const server = await startServe(["--config", file]);
    try {
      assert.equal((await server.send("GET", "/healthz")).status, 200);
      assert.equal((await server.send("POST", "/v1/backups", {})).document.hint, "name one of: a, b");
      const asked = await server.send("POST", "/v1/backups", { cluster: "a" });
      assert.equal(asked.status, 202);
      const backup = await server.outcome(asked.location!);
      assert.deepEqual([backup.phase, backup.errors, backup.caller], ["Completed", [], "127.0.0.1"]);
      assert.match((await server.send("GET", `${asked.location}/logs`)).text, /Backup ends/);
      const verifying = await server.send("POST", `${asked.location}/verify`, { readData: true });
      const { kind, ok, segments } = await server.outcome(verifying.location!);
      assert.deepEqual([kind, ok, segments], ["verify", true, { total: 1, read: 1 }]);
      const { items } = (await server.send("GET", `${asked.location}/items`)).document;
      assert(items.some(({ kind, namespace }: Record<string, string>) => kind === "Secret" && namespace === "shop"));

      const spec = { backupName: backup.name, includedNamespaces: ["shop"], namespaceMapping: { shop: "shop-2" } };
      const restored = await server.send("POST", "/v1/restores", { cluster: "b", spec });
      const restore = await server.outcome(restored.location!);
      assert.deepEqual([restore.phase, restore.errors, restore.caller], ["Completed", [], "127.0.0.1"]);
      const { objects } = (await server.send("GET", `${restored.location}/objects?limit=1000`)).document;
      assert.ok(
        objects.some(({ name, action }: Record<string, string>) => name === "password" && action === "created"),
      );
      assert.match((await server.send("GET", `${restored.location}/report`)).text, /<h1>Restore .*: Completed<\/h1>/);
      const secret = await fetch(`${target.url}/api/v1/namespaces/shop-2/secrets/password`);
      assert.deepEqual(((await secret.json()) as { data: object }).data, { password: "c2VjcmV0" });
    } finally {
      assert.equal(await server.stop(), 0);
    }
    assert.match(server.log(), /msg="has stopped"\n$/);
    for (const line of server.log().trim().split("\n")) assert.match(line, /^time="[^"]+" level=\w+ msg="/);
  });

  it("tells what a restore would do, by HTTP, and does exactly that", async () => {
    const { file } = await configure("plan");
    const server = await startServe(["--config", file]);
    const inTarget = async () => (await fetch(`${target.url}/api/v1/namespaces/planned`)).status;
    try {
      const backup = await server.send("POST", "/v1/backups", { cluster: "a" });
      const { name: backupName } = await server.outcome(backup.location!);
      const spec = { backupName, includedNamespaces: ["shop"], namespaceMapping: { shop: "planned" } };
      const asked = await server.send("POST", "/v1/restores", { name: "plan-1", cluster: "b", dryRun: true, spec });
      assert.deepEqual([asked.status, asked.location], [202, "/v1/plans/plan-1"]);
      const plan = await server.outcome("/v1/plans/plan-1?limit=2");
      assert.deepEqual([plan.kind, plan.counts.update, plan.counts.blocked, plan.steps.length], ["plan", 0, 0, 2]);
      assert.ok(plan.counts.create > 2);
      const next = (await server.send("GET", `/v1/plans/plan-1?limit=1000&continue=${plan.continue}`)).document;
      assert.equal(next.steps.length + 2, plan.counts.create + plan.counts.skip);
      assert.equal(await inTarget(), 404);
      const again = await server.send("POST", "/v1/restores", { name: "plan-1", cluster: "b", dryRun: true, spec });
      assert.equal(again.status, 409);

      const restored = await server.send("POST", "/v1/restores", { cluster: "b", plan: "plan-1" });
      assert.equal(restored.location, "/v1/restores/plan-1", restored.text);
      const restore = await server.outcome(restored.location!);
      assert.equal(restore.phase, "Completed");
      assert.equal(restore.counts.created + restore.counts.skipped, plan.counts.create + plan.counts.skip);
      assert.ok(restore.counts.created > 2);
      assert.equal(await inTarget(), 200);
    } finally {
      assert.equal(await server.stop(), 0);
    }
  });

  it("cancels a restore that runs, which then is Failed and can be asked for again", async () => {
    let waits = true;
    const gate = await startGate(target, (path) =>
      waits && path.endsWith("/namespaces/shop/configmaps") ? new Promise<undefined>(() => {}) : undefined,
    );
    const slow = await scratch.write("cancel.kubeconfig", gate.kubeconfig);
    const clusters = { a: { kubeconfig: `file:${source.file}` }, slow: { kubeconfig: `file:${slow}` } };
    const { file } = await configure("cancel", { clusters });
    const server = await startServe(["--config", file]);
    try {
      const backup = await server.send("POST", "/v1/backups", { name: "shop", cluster: "a" });
      assert.equal((await server.outcome(backup.location!)).phase, "Completed");
      const json = { name: "again", cluster: "slow", spec: { backupName: "shop", includedNamespaces: ["shop"] } };
      const { location } = await server.send("POST", "/v1/restores", json);
      while ((await server.send("DELETE", location!)).status !== 202) await sleep(50);
      const cancelled = await server.outcome(location!);
      assert.deepEqual([cancelled.phase, cancelled.errors], ["Failed", [{ message: "cancelled by 127.0.0.1" }]]);
      waits = false;
      assert.equal((await server.send("POST", "/v1/restores", json)).status, 202);
      assert.equal((await server.outcome(location!)).phase, "Completed");
    } finally {
      await server.stop();
      await gate.stop();
    }
  });

  it("with a token serves only who bears it, and never tells it", async () => {
    const { file } = await configure("token");
    const tokenFile = await scratch.write("token", `${TOKEN}\n`);
    const server = await startServe(["--config", file, "--token-file", tokenFile]);
    try {
      assert.equal((await server.send("GET", "/healthz")).status, 200);
      const refused = await server.send("POST", "/v1/backups", { cluster: "a" });
      assert.equal(refused.status, 401);
      assert.doesNotMatch(refused.text, new RegExp(TOKEN));
      const headers = { authorization: `Bearer ${TOKEN}` };
      assert.equal((await server.send("GET", "/v1/backups", undefined, headers)).status, 200);
    } finally {
      await server.stop();
    }
    assert.doesNotMatch(server.log(), new RegExp(TOKEN));
  });

  it("without a token refuses what a web page could send", async () => {
    const { file, bucket } = await configure("pages");
    const server = await startServe(["--config", file]);
    try {
      const foreign = { origin: "http://evil.example" };
      assert.equal((await server.send("POST", "/v1/backups", { cluster: "a" }, foreign)).status, 403);
      assert.equal((await server.send("GET", "/healthz", undefined, { origin: server.url })).status, 200);
      assert.equal((await server.send("GET", "/healthz", undefined, { origin: "null" })).status, 403);
      assert.deepEqual(await Array.fromAsync(bucket.list("")), []);
    } finally {
      await server.stop();
    }
  });

  it("takes no more of a body than 1 MiB, in chunks too", async () => {
    const { file, bucket } = await configure("large");
    const server = await startServe(["--config", file]);
    try {
      const chunks = new ReadableStream({
        pull: (controller) => controller.enqueue(Buffer.alloc(65_536, " ")),
      });
      const init = { method: "POST", body: chunks, duplex: "half", headers: { "content-type": "application/json" } };
      const answer = await fetch(`${server.url}/v1/backups`, init as RequestInit).catch(() => undefined);
      // The connection may be closed before the client has read why.
      if (answer) assert.equal(answer.status, 413);
      await server.until(/POST \/v1\/backups" status=413/);
      assert.deepEqual(await Array.fromAsync(bucket.list("")), []);
    } finally {
      await server.stop();
    }
  });

  describe("with slots that were missed", () => {
    /** Daily, twelve hours ago: no slot comes while the tests run. */
    const hour = 3_600_000;
    const last = Math.floor(Date.now() / hour - 12) * hour;
    const slots = [5, 0].map((days) => new Date(last - days * 24 * hour));
    const [old, newest] = slots.map((slot) => `daily-${slot.toISOString().slice(0, 19).replace(/\D/g, "")}`);

    for (const skipImmediately of [false, true]) {
      it(skipImmediately ? "tells of them" : "makes the newest one up, once", async () => {
        const schedule = `0 ${new Date(last).getUTCHours()} * * *`;
        const schedules = { daily: { schedule, cluster: "a", skipImmediately } };
        const { file, bucket } = await configure(`missed-${skipImmediately}`, { schedules });
        const record = { kind: "Backup", metadata: { name: old }, status: { phase: "Completed" } };
        await bucket.put(backupKeys(old!).metadata, Buffer.from(JSON.stringify(record)));
        const server = await startServe(["--config", file]);
        try {
          await server.until(/level=warning msg="slots have no backup: (.*)" schedule=daily missed=5 /);
          if (!skipImmediately) {
            await server.until(/msg="ends" kind=backup schedule=daily /);
            const { phase, schedule } = await server.outcome(`/v1/backups/${newest}`);
            assert.deepEqual([phase, schedule], ["Completed", "daily"]);
          }
        } finally {
          assert.equal(await server.stop(), 0);
        }
        const names = (await Array.fromAsync(bucket.list("backups/", { delimiter: "/" }))).map(({ prefix }) => prefix);
        assert.deepEqual(
          names,
          [old, ...(skipImmediately ? [] : [newest])].map((name) => `backups/${name}/`),
        );
      });
    }
  });

  describe("told to stop in the middle of a backup", () => {
    /** A server that has a backup "slow" under way, which ends once `open` is called; the API of its cluster lies at `base`. */
    async function startSlow(name: string, { base = "", ...rest }: { base?: string; fleet?: object } = {}) {
      let open = () => {};
      let reached = () => {};
      const opened = new Promise<undefined>((resolve) => {
        open = () => resolve(undefined);
      });
      const arrived = new Promise<void>((resolve) => {
        reached = resolve;
      });
      const gate = await startGate(source, (path) => {
        if (path !== "/api/v1/configmaps") return undefined;
        reached();
        return opened;
      });
      const slow = await scratch.write(`${name}.kubeconfig`, gate.kubeconfig);
      const clusters = {
        slow: { kubeconfig: `file:${slow}` },
        ...(rest.fleet && { b: { kubeconfig: `file:${target.file}` } }),
      };
      const { file, bucket } = await configure(name, { clusters, ...rest });
      const server = await startServe(["--config", file]);
      assert.equal((await server.send("POST", `${base}/v1/backups`, { name: "slow" })).status, 202);
      await arrived;
      assert.equal((await server.send("GET", `${base}/v1/backups/slow`)).document.phase, "InProgress");
      const keysIn = async (folder: string) => (await Array.fromAsync(bucket.list(folder))).map(({ key }) => key!);
      const committed = async (name: string) => (await keysIn(`backups/${name}/`)).includes(backupKeys(name).metadata);
      const failure = async (name: string, { kind = "backups" as "backups" | "restores", cluster = "" } = {}) => {
        const key = (await keysIn(cluster + runFolder(kind, name))).find((key) => key.endsWith("-result.json"));
        return key && String(Buffer.concat(await Array.fromAsync(await bucket.get(key))));
      };
      return { server, file, open, committed, failure, keysIn, stop: gate.stop };
    }

    it("finishes it, and takes nothing new", async () => {
      const { server, open, committed, failure, stop } = await startSlow("graceful");
      try {
        for (const name of ["slow-2", "slow-3"]) await server.send("POST", "/v1/backups", { name });
        await server.until(/"begins" kind=backup name=slow-2/);
        server.signal();
        await server.until(/msg="stops;/);
        await assert.rejects(server.send("GET", "/healthz"));
        open();
        assert.equal(await server.ended, 0);
        assert.deepEqual(
          [await committed("slow"), await committed("slow-2"), await committed("slow-3")],
          [true, true, false],
        );
        assert.match((await failure("slow-3")) ?? "", /the server stopped before it was begun/);
      } finally {
        await server.stop();
        await stop();
      }
    });

    it("says of what it doesn't begin for a fleet's cluster so in the location that the work is of", async () => {
      const base = "/clusters/slow";
      const { server, open, failure, keysIn, stop } = await startSlow("stopped-fleet", {
        base,
        fleet: { concurrency: 2 },
      });
      try {
        const ofB = "/clusters/b/v1";
        const asked = await server.send("POST", `${ofB}/backups`, { name: "whole" });
        assert.equal((await server.outcome(asked.location!)).phase, "Completed");
        for (const name of ["slow-2", "slow-3"]) await server.send("POST", `${base}/v1/backups`, { name });
        await server.until(/"begins" kind=backup name=slow-2/);
        const restore = { name: "r", cluster: "slow", spec: { backupName: "whole" } };
        assert.equal((await server.send("POST", `${ofB}/restores`, restore)).status, 202);
        server.signal();
        await server.until(/msg="stops;/);
        open();
        assert.equal(await server.ended, 0);
        const stopped = /the server stopped before it was begun/;
        assert.match((await failure("slow-3", { cluster: "slow/" })) ?? "", stopped);
        assert.match((await failure("r", { kind: "restores", cluster: "b/" })) ?? "", stopped);
        assert.deepEqual(await keysIn("metadata/"), []);
      } finally {
        await server.stop();
        await stop();
      }
    });

    it("stops it at the second signal, and says so in the bucket", async () => {
      const { server, open, committed, failure, stop } = await startSlow("abrupt");
      try {
        server.signal();
        await server.until(/msg="stops;/);
        server.signal();
        assert.equal(await server.ended, 130);
        assert.equal(await committed("slow"), false);
        assert.match((await failure("slow")) ?? "", /cancelled by SIGTERM/);
      } finally {
        open();
        await server.stop();
        await stop();
      }
    });

    it("makes it at once when it is asked for again, if it was killed", { skip: !thisProcess() }, async () => {
      const { server, file, open, committed, stop } = await startSlow("killed");
      server.signal("SIGKILL");
      await server.ended;
      open();
      const next = await startServe(["--config", file]);
      try {
        assert.equal((await next.send("POST", "/v1/backups", { name: "slow" })).status, 202);
        await next.until(/msg="ends" kind=backup name=slow result=Completed/);
        assert.equal(await committed("slow"), true);
      } finally {
        await next.stop();
        await stop();
      }
    });
  });

  it("ends a fleet's run in its time, and tells of each cluster what became of it", async () => {
    const gate = await startGate(source, () => new Promise(() => {}));
    const hanging = `file:${await scratch.write("hanging.kubeconfig", gate.kubeconfig)}`;
    const { file } = await configure("fleet-timeout", {
      clusters: {
        a: { kubeconfig: `file:${source.file}` },
        b: { kubeconfig: hanging },
        c: { kubeconfig: hanging },
        d: { kubeconfig: `file:${source.file}` },
      },
      fleet: { timeout: "3s", concurrency: 1 },
      schedules: { nightly: { schedule: "0 2 * * *", clusters: {}, shards: 3 } },
    });
    const server = await startServe(["--config", file]);
    try {
      const asked = await server.send("POST", "/v1/fleet", { schedule: "nightly" });
      const { durationMs, clusters } = await server.outcome(asked.location!);
      assert(durationMs < 10_000, `it took ${durationMs} ms`);
      const ends = clusters.map(({ cluster, phase, message }: Record<string, string>) => [cluster, phase, message]);
      assert.deepEqual(ends, [
        ["a", "Completed", undefined],
        ["b", "Failed", "cut off by fleet.timeout 3s"],
        ["c", "Failed", "not begun before fleet.timeout 3s was over"],
        ["d", "Failed", "not begun before fleet.timeout 3s was over"],
      ]);
      await server.until(/msg="one process reads it all: shards are of functions" .*shards=3 cluster=a$/m);
      await server.until(/msg="Backup ends" backup=\S+ .*cluster=a$/m);
      await server.until(/level=error msg="failed" kind=backup .*cluster=b reason="cut off by fleet.timeout 3s"$/m);
    } finally {
      assert.equal(await server.stop(), 0);
      await gate.stop();
    }
  });

  describe("refuses to start", () => {
    const cases: [what: string, args: string[], env: Record<string, string>, code: number, says: RegExp][] = [
      [
        "beyond this machine without a token",
        ["--listen", "0.0.0.0:0"],
        {},
        2,
        /0\.0\.0\.0 can be reached from elsewhere/,
      ],
      ["beyond this machine, by IPv6", ["--listen", "[::]:0"], {}, 2, /can be reached from elsewhere/],
      ["on a name that isn't this machine's own", ["--listen", "localhost.example:0"], {}, 2, /from elsewhere/],
      ["on what is no address", ["--listen", "8080"], {}, 2, /--listen is "8080"/],
      ["on what is no port", ["--listen", "127.0.0.1:99999"], {}, 2, /--listen is/],
      ["with an empty token file", ["--token-file", "/dev/null"], {}, 2, /\/dev\/null is empty/],
      ["with a token file that isn't there", ["--token-file", "/none"], {}, 2, /\/none can't be read: ENOENT/],
      ["without a configuration", ["--config", "/none"], {}, 5, /no file \/none/],
      ["without a location", [], {}, 2, /location/],
    ];
    for (const [what, args, env, code, says] of cases) {
      it(what, async () => {
        const ended = await lifeboat(["serve", "--listen", "127.0.0.1:0", ...args], env);
        assert.deepEqual([ended.code, ended.stdout], [code, ""]);
        assert.match(ended.stderr, says);
      });
    }

    it("where something else listens", async () => {
      const { file } = await configure("taken");
      const server = await startServe(["--config", file]);
      try {
        const { code, stderr } = await lifeboat(["serve", "--config", file, "--listen", server.url.slice(7)]);
        assert.deepEqual([code, /EADDRINUSE\nhint: something else listens/.test(stderr)], [2, true]);
      } finally {
        await server.stop();
      }
    });
  });
});
