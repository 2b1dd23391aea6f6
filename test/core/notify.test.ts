import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import { listFolder, readObject } from "../../core/contents.ts";
import type { BackupDocument } from "../../core/documents.ts";
import { LifeboatError } from "../../core/errors.ts";
import { backupKeys } from "../../core/layout.ts";
import { notify } from "../../core/notify.ts";
import type { Platform } from "../../core/ports.ts";
import { openSecrets } from "../../core/secrets.ts";
import { createService } from "../../core/service.ts";
import { failureDocument } from "../../core/tell.ts";
import { directoryBucket } from "../../functions/cli/bucket.ts";

interface Told {
  event: string;
  body: Partial<Omit<BackupDocument, "kind">> & { kind?: string; text?: string };
}

let dir: string;
let cluster: ApiServer;
let webhook: Server;
let url: string;
let told: Told[];
/** What the webhook answers, the first of them first; 200 after the last. */
let answers: number[];
let locations = 0;

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "lifeboat-notify-"));
  cluster = await startApiServer();
  await writeFile(join(dir, "good.yaml"), cluster.kubeconfig);
  await writeFile(join(dir, "bad.yaml"), "no kubeconfig");
  webhook = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const status = answers.shift() ?? 200;
      if (status === 200)
        told.push({
          event: String(request.headers["lifeboat-event"]),
          body: JSON.parse(Buffer.concat(chunks).toString()),
        });
      response.writeHead(status, status === 302 ? { location: "http://127.0.0.1:1/" } : {}).end();
    });
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => webhook.once("listening", resolve));
  url = `http://127.0.0.1:${(webhook.address() as AddressInfo).port}/hook-with-a-secret`;
});
after(async () => {
  webhook.close();
  await cluster.stop();
  await rm(dir, { recursive: true });
});
beforeEach(() => {
  told = [];
  answers = [];
  process.env.NOTIFY_TEST_URL = url;
});
afterEach(() => {
  delete process.env.NOTIFY_TEST_URL;
});

/** Runs jobs of an hourly schedule, whose kubeconfig can be changed between them. */
function service(notification: Record<string, string>) {
  const bucket = directoryBucket(join(dir, `location-${++locations}`));
  const lines: string[] = [];
  const platform: Platform = {
    buckets: { "file:": async () => bucket },
    secrets: {},
    clusters: {},
    jobs: () => assert.fail("no queue"),
  };
  const variables = Object.entries({ url: "env:NOTIFY_TEST_URL", ...notification });
  const at = (kubeconfig: string) =>
    createService(platform, {
      env: {
        LIFEBOAT_LOCATION: "file:///anywhere",
        LIFEBOAT_CLUSTERS_A_KUBECONFIG: `file:${join(dir, `${kubeconfig}.yaml`)}`,
        LIFEBOAT_SCHEDULES_HOURLY_SCHEDULE: "0 */1 * * *",
        LIFEBOAT_SCHEDULES_HOURLY_CLUSTER: "a",
        ...Object.fromEntries(
          variables.map(([key, value]) => [`LIFEBOAT_NOTIFICATIONS_OPS_${key.toUpperCase()}`, value]),
        ),
      },
      listen: (line) => lines.push(line),
    });
  const run = (kubeconfig: "good" | "bad", hour: number) =>
    at(kubeconfig)
      .run({ kind: "backup", schedule: "hourly", slot: `2026-11-23T0${hour}:00:00Z` })
      .catch(() => {});
  const restore = (kubeconfig: "good" | "bad", job: object) =>
    at(kubeconfig)
      .run({ kind: "restore", cluster: "a", ...job })
      .catch(() => {});
  const verify = (more: object = { schedule: "hourly" }) =>
    at("bad")
      .run({ kind: "verify", ...more })
      .catch(() => {});
  return { run, restore, verify, bucket, lines };
}

const events = () => told.map(({ event }) => event);

describe("notifications", () => {
  const cases: [on: string, events: string[]][] = [
    ["failure", ["failure", "failure"]],
    ["change", ["failure", "recovery", "failure", "recovery"]],
    ["always", ["success", "failure", "recovery", "success", "failure", "recovery"]],
  ];
  for (const [on, expected] of cases) {
    it(`on ${on} tell of ${[...new Set(expected)].join(", ")}`, async () => {
      const { run } = service({ on });
      await run("good", 1);
      await run("bad", 2);
      await run("good", 3);
      await run("good", 4);
      await run("bad", 5);
      // The platform tries the slot again.
      await run("bad", 5);
      await run("good", 5);
      assert.deepEqual(events(), expected);
    });
  }

  it("send the job's document", async () => {
    const { run } = service({ on: "always" });
    await run("good", 1);
    await run("bad", 2);
    const [good, bad] = told.map(({ body }) => body);
    assert.deepEqual(
      [good?.schemaVersion, good?.kind, good?.name, good?.phase, good?.schedule, good?.cluster],
      [1, "backup", "hourly-20261123010000", "Completed", "hourly", "a"],
    );
    assert.deepEqual(
      [bad?.kind, bad?.name, bad?.phase, bad?.cluster],
      ["backup", "hourly-20261123020000", "Failed", "a"],
    );
    assert.match(bad?.errors?.[0]?.message ?? "", /kubeconfig/);
  });

  it("tell of a restore from a plan that fails, and of the first success after it", async () => {
    const { run, restore, bucket } = service({ on: "always" });
    await run("good", 1);
    await restore("good", { name: "green", dryRun: true, spec: { backupName: "hourly-20261123010000" } });
    await restore("bad", { name: "green", plan: "green" });
    await restore("bad", { name: "green", plan: "green" });
    await restore("good", { name: "green", plan: "green" });
    assert.deepEqual(
      told.map(({ event, body }) => [event, body.kind, body.name]),
      [
        ["success", "backup", "hourly-20261123010000"],
        ["failure", "restore", "green"],
        ["recovery", "restore", "green"],
      ],
    );
    const rows = await listFolder(bucket, "metadata/lifeboat/told/");
    assert.deepEqual(
      [...rows.keys()],
      [1, 2].map((at) => `metadata/lifeboat/told/restore-green/00000${at}.json`),
    );
  });

  it("hold no more than the first 100 entries of a list", async () => {
    const many = Array.from({ length: 150 }, (_, at) => ({ message: `error ${at}` }));
    const document = { ...failureDocument({ kind: "backup", name: "b", location: "file:///x" }, "x"), errors: many };
    const secrets = openSecrets({ secrets: {} });
    const notifications = { ops: { url: "env:NOTIFY_TEST_URL", format: "json", on: "always" } } as const;
    await notify("failure", document, { notifications, secrets, warn: assert.fail });
    assert.deepEqual(told[0]?.body.errors, many.slice(0, 100));
  });

  it("tell of a verification that found damage, every time", async () => {
    const { run, verify, bucket } = service({ on: "failure" });
    await run("good", 1);
    await verify();
    const { log } = backupKeys("hourly-20261123010000");
    await bucket.put(log, Buffer.from("torn"));
    await verify();
    await verify();
    assert.deepEqual(events(), ["failure", "failure"]);
    const { kind, phase, errors } = told[0]!.body;
    assert.deepEqual([kind, phase, errors], ["verify", "Failed", [{ message: `${log}: it differs from its digest` }]]);
  });

  it("tell of the verification of a location as of others, and of the first that is well after one that was not", async () => {
    const { run, verify, bucket } = service({ on: "change" });
    const { log } = backupKeys("hourly-20261123010000");
    const { list } = bucket;
    await run("good", 1);
    const whole = await readObject(bucket, log);
    await verify({});
    await bucket.put(log, Buffer.from("torn"));
    await verify({});
    await bucket.put(log, whole);
    await verify({ readData: true });
    await verify({});
    bucket.list = (prefix, options) => {
      if (prefix.startsWith("backups/")) throw new LifeboatError("unreachable", "the bucket is away");
      return list(prefix, options);
    };
    await verify({});
    bucket.list = list;
    await verify({});
    assert.deepEqual(events(), ["failure", "recovery", "failure", "recovery"]);
    const errors = told.map(({ body }) => body.errors?.map(({ message }) => message));
    const damage = `backup hourly-20261123010000: ${log}: it differs from its digest`;
    assert.deepEqual(errors, [[damage], [], ["the bucket is away"], []]);
    assert.deepEqual([...new Set(told.map(({ body }) => `${body.kind} ${body.name}`))], ["verifyList all"]);
  });

  it("tell of a backup's verification that is well again", async () => {
    const { run, verify, bucket } = service({ on: "change" });
    const { log } = backupKeys("hourly-20261123010000");
    await run("good", 1);
    const whole = await readObject(bucket, log);
    await bucket.put(log, Buffer.from("torn"));
    await verify();
    await bucket.put(log, whole);
    await verify();
    await verify({ schedule: "hourly", readData: true });
    await verify({ schedule: "hourly", readData: true });
    assert.deepEqual(events(), ["failure", "recovery"]);
  });

  it("send Slack a line of text", async () => {
    const { run } = service({ on: "always", format: "slack" });
    await run("good", 1);
    await run("bad", 2);
    assert.match(
      told[0]?.body.text ?? "",
      /^:white_check_mark: backup hourly-20261123010000 of cluster a: Completed \(\d+ objects, [\d.]+ s\)$/,
    );
    assert.match(told[1]?.body.text ?? "", /^:x: backup hourly-20261123020000.*: Failed: .*kubeconfig/);
  });

  it("are tried again, and tell nothing of a trigger delivered twice", async () => {
    const { run } = service({ on: "always" });
    answers = [503];
    await run("good", 1);
    await run("good", 1);
    assert.deepEqual(events(), ["success"]);
  });

  it("that can't be sent are a warning without the URL, and the job ends as it would", async () => {
    const { run, lines } = service({ on: "always" });
    for (const [status, hour] of [
      [404, 1],
      [302, 2],
    ] as const) {
      answers = Array(3).fill(status);
      await run("good", hour);
      const line = lines.findLast((text) => text.includes("could not be sent")) ?? "";
      assert.match(
        line,
        /level=warning .*Notification \\"ops\\" could not be sent: 127\.0\.0\.1:\d+ (answered 404|can't be reached)/,
      );
    }
    process.env.NOTIFY_TEST_URL = "hook-with-a-secret";
    await run("good", 3);
    assert.match(lines.join("\n"), /the secret env:NOTIFY_TEST_URL holds no URL/);
    assert.doesNotMatch(lines.join("\n"), /hook-with-a-secret/);
    assert.deepEqual(events(), []);
  });
});
