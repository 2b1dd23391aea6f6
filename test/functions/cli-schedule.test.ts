import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { document, ENVIRONMENT, lifeboat, MAIN } from "../e2e/lifeboat.ts";
import { filesIn, makeScratch, type Scratch, shop, startCluster } from "./cli-sample.ts";

const run = promisify(execFile);

interface ScheduleDocument {
  name: string;
  paused: boolean;
  next?: string;
  missed: string[];
  lastBackup?: { name: string; phase: string };
}

describe("schedules and configurations on the command line", { concurrency: 3 }, () => {
  let scratch: Scratch;
  let cluster: Awaited<ReturnType<typeof startCluster>>;
  let env: Record<string, string>;

  before(async () => {
    scratch = await makeScratch();
    cluster = await startCluster(scratch, "prod", shop());
    env = {
      LIFEBOAT_CONFIG: await scratch.write(
        "config.yaml",
        `
location: ${scratch.path("bucket")}
clusters: { prod: { kubeconfig: "file:${cluster.file}" } }
schedules:
  hourly: { schedule: "0 * * * *", template: { includedNamespaces: [shop] }, labels: { team: platform } }
  nightly: { schedule: "30 2 * * *", timeZone: Europe/Berlin, paused: true }
`,
      ),
    };
  });
  after(async () => {
    await cluster?.stop();
    await scratch?.remove();
  });

  it("run makes a backup of the schedule's template, which get then tells", async () => {
    const own = { ...env, LIFEBOAT_LOCATION: scratch.path("run") };
    const made = await document<{ name: string; phase: string }>(["schedule", "run", "hourly"], own);
    assert.match(made.name, /^hourly-\d{14}$/);
    const { spec } = await document<{ spec: { includedNamespaces: string[] } }>(["backup", "get", made.name], own);
    assert.deepEqual(spec.includedNamespaces, ["shop"]);
    const hourly = await document<ScheduleDocument>(["schedule", "get", "hourly"], own);
    assert.deepEqual([hourly.lastBackup?.name, hourly.lastBackup?.phase, hourly.missed], [made.name, "Completed", []]);
    const { stdout } = await lifeboat(["schedule", "get"], own);
    const [head = [], first = [], second = []] = stdout.split("\n").map((line) => line.split(/ {3,}/));
    assert.deepEqual(head, [
      "NAME",
      "SCHEDULE",
      "CLUSTER",
      "LAST BACKUP",
      "STATUS",
      "LAST GOOD",
      "VERIFIED",
      "EVERY",
      "NEXT",
      "MISSED",
      "PAUSED",
    ]);
    assert.deepEqual(first.slice(0, 5), ["hourly", "0 * * * *", "prod", made.name, "Completed"]);
    assert.match(first.slice(5).join(), /^\dm,-,1h,[-\d]{10} \d\d:00:00 UTC,0,false$/);
    assert.deepEqual(second, [
      "nightly",
      "30 2 * * * (Europe/Berlin)",
      "prod",
      "-",
      "-",
      "-",
      "-",
      "1d",
      "-",
      "0",
      "true",
    ]);
  });

  it("get tells what stopped the last run", async () => {
    const own = { ...env, LIFEBOAT_LOCATION: scratch.path("failed"), LIFEBOAT_CLUSTERS_PROD_KUBECONFIG: "env:UNSET" };
    assert.equal((await lifeboat(["schedule", "run", "hourly"], own)).code, 5);
    const { stdout } = await lifeboat(["schedule", "get"], own);
    const [, first = "", , blank, heading, reason] = stdout.split("\n");
    assert.deepEqual(first.split(/ {3,}/).slice(0, 6), ["hourly", "0 * * * *", "prod", "-", "Failed", "-"]);
    assert.deepEqual([blank, heading], ["", 'Failed ("npx lifeboat backup logs NAME" tells more):']);
    assert.match(reason ?? "", /^ {2}hourly-\d{14}: can't read the secret env:UNSET: the variable is not set$/);
  });

  it("run tells on stderr who could not be told, and quote no URL", async () => {
    const broken = createServer((_, response) => response.writeHead(500).end()).listen(0, "127.0.0.1");
    try {
      await once(broken, "listening");
      const host = `127.0.0.1:${(broken.address() as AddressInfo).port}`;
      const own = {
        ...env,
        LIFEBOAT_LOCATION: scratch.path("untold"),
        ...{ OPS: `http://${host}/token`, GONE: "http://127.0.0.1:1/token" },
      };
      for (const [name, url] of Object.entries({ ops: "env:OPS", gone: "env:GONE", none: "file:nope" })) {
        Object.assign(own, { [`LIFEBOAT_NOTIFICATIONS_${name.toUpperCase()}_URL`]: url });
        Object.assign(own, { [`LIFEBOAT_NOTIFICATIONS_${name.toUpperCase()}_ON`]: "always" });
      }
      const { code, stdout, stderr } = await lifeboat(["schedule", "run", "hourly", "-o", "json"], own);
      assert.equal(code, 0, stderr);
      assert.equal((JSON.parse(stdout) as { phase: string }).phase, "Completed");
      assert.deepEqual(stderr.trim().split("\n").sort(), [
        `warning: Notification "gone" could not be sent: 127.0.0.1:1 can't be reached`,
        `warning: Notification "none" could not be sent: can't read the secret file:nope: ENOENT`,
        `warning: Notification "ops" could not be sent: ${host} answered 500`,
      ]);
    } finally {
      broken.close();
    }
  });

  it("next tells when schedules are due, in their zone and in UTC", async () => {
    const { slots } = await document<{ slots: { schedule: string; slot: string; localTime: string }[] }>(
      ["schedule", "next", "nightly", "--count", "3"],
      env,
    );
    assert.equal(slots.length, 3);
    for (const { schedule, slot, localTime } of slots) {
      assert.equal(schedule, "nightly");
      assert.match(slot, /T0[01]:[03]0:00Z$/);
      assert.match(localTime, /^[-\d]{10} 0[23]:[03]0:00 GMT\+[12]$/);
    }
    const { stdout } = await lifeboat(["schedule", "next"], env);
    assert.equal(stdout.split("\n").filter((line) => line.startsWith("hourly")).length, 5);
  });

  it("pause and unpause hold over the configuration", async () => {
    const own = { ...env, LIFEBOAT_LOCATION: scratch.path("pause") };
    const paused = async (name: string) => (await document<ScheduleDocument>(["schedule", "get", name], own)).paused;
    const says = async (args: string[]) => (await lifeboat(["schedule", ...args], own)).stdout;
    assert.equal(
      await says(["pause", "hourly", "nightly"]),
      "Schedule hourly is paused\nSchedule nightly is paused already\n",
    );
    assert.equal(await says(["unpause", "nightly"]), "Schedule nightly goes on\n");
    assert.equal(await says(["unpause", "nightly"]), "Schedule nightly was not paused\n");
    assert.deepEqual([await paused("hourly"), await paused("nightly")], [true, false]);
  });

  it("a configuration gives location and clusters, to restores too", async () => {
    const target = await startCluster(scratch, "target");
    try {
      const two = { ...env, LIFEBOAT_CLUSTERS_TARGET_KUBECONFIG: "env:TARGET", TARGET: target.kubeconfig };
      const all = { ...two, LIFEBOAT_SCHEDULES_HOURLY_CLUSTER: "prod", LIFEBOAT_SCHEDULES_NIGHTLY_CLUSTER: "prod" };
      await document(["backup", "create", "whole", "--cluster", "prod"], all);
      await document(["restore", "create", "--from-backup", "whole", "--cluster", "target"], all);
      assert.equal((await fetch(`${target.url}/api/v1/namespaces/shop/secrets/password`)).status, 200);
      assert.ok((await filesIn(scratch.path("bucket"))).includes("backups/whole/velero-backup.json"));
    } finally {
      await target.stop();
    }
  });

  it("./lifeboat.yaml is the configuration where none is named", async () => {
    const folder = await makeScratch();
    try {
      await folder.write(
        "lifeboat.yaml",
        'location: ./backups\nclusters: { a: { kubeconfig: env:K } }\nschedules: { weekly: { schedule: "@weekly" } }',
      );
      const { stdout } = await run(process.execPath, [MAIN, "schedule", "next", "--count", "1"], {
        cwd: folder.dir,
        env: ENVIRONMENT,
      });
      assert.match(stdout, /\nweekly {3}/);
    } finally {
      await folder.remove();
    }
  });

  it("render writes the schedules for a cloud's clock, retention and verify too, as variables of Terraform", async () => {
    const own = {
      ...env,
      LIFEBOAT_SCHEDULES_VERIFY_SCHEDULE: "@weekly",
      LIFEBOAT_RETENTION_SCHEDULE: "45 4 * * *",
      LIFEBOAT_VERIFY_SCHEDULE: "CRON_TZ=Europe/Berlin 0 5 1 * mon",
    };
    const rendered = async (target: string) => {
      const { code, stdout, stderr } = await lifeboat(["schedule", "render", "--target", target], own);
      assert.deepEqual([code, stderr], [0, ""]);
      return JSON.parse(stdout);
    };
    const [aws, gcp, azure] = await Promise.all(["aws", "gcp", "azure"].map(rendered));
    assert.deepEqual(Object.keys(aws.schedules).sort(), ["hourly", "nightly", "retention", "verify", "verify_job"]);
    assert.deepEqual(aws.schedules.nightly, {
      expressions: ["cron(30 2 * * ? *)"],
      time_zone: "Europe/Berlin",
      job: { kind: "backup", schedule: "nightly" },
      interval_seconds: 90_000,
      paused: true,
    });
    assert.deepEqual(aws.schedules.verify_job.expressions, ["cron(0 5 1 * ? *)", "cron(0 5 ? * 2 *)"]);
    assert.deepEqual(gcp.schedules.verify_job, {
      expressions: ["0 5 1 * 1"],
      time_zone: "Europe/Berlin",
      job: { kind: "verify" },
      interval_seconds: 7 * 86_400 + 3600,
      paused: false,
    });
    assert.deepEqual(azure, {
      clock: ["0 0 * * * *", "0 30 * * * *", "0 0 0 * * 0", "0 45 4 * * *", "0 */15 * * * *"],
      schedules: Object.fromEntries(
        Object.entries<Record<string, unknown>>(aws.schedules).map(([name, { expressions, time_zone, ...rest }]) => [
          name,
          rest,
        ]),
      ),
    });
  });

  const MISTAKES: [args: string, env: Record<string, string>, code: number, says: string[]][] = [
    ["schedule get hurly", {}, 2, ['error: the configuration has no schedule "hurly"', "hint: it has hourly, nightly"]],
    [
      "schedule pause hurly",
      {},
      2,
      ['error: the configuration has no schedule "hurly"', "hint: it has hourly, nightly"],
    ],
    ["schedule next --count 0", {}, 2, ['error: --count is "0"', "hint: use a number from 1 to 10000"]],
    [
      "schedule render --target vax",
      {},
      2,
      [
        "error: option '--target <cloud>' argument 'vax' is invalid. Allowed choices are aws, gcp, azure.",
        "hint: see: lifeboat schedule render --help",
      ],
    ],
    [
      "schedule render --target aws",
      { LIFEBOAT_SCHEDULES_HOURLY_SCHEDULE: "@every 7h" },
      2,
      [
        "error: schedules can't be rendered",
        'hint: hourly: EventBridge Scheduler can\'t be told "@every 7h": it fits into no day evenly; write it as five fields, "0 */6 * * *", or @every with whole minutes that divide a day (6h, 90m), or 168h',
      ],
    ],
    ["schedule get --config /nonexistent", {}, 5, ["error: there is no configuration: no file /nonexistent"]],
    [
      "schedule get",
      { LIFEBOAT_SCHEDULES_NIGHTLY_SCHEDULE: "@nightly", LIFEBOAT_SCHEDULES_HOURLY_PAUSED: "no" },
      2,
      [
        "error: {config}: the configuration has 2 errors",
        "hint: LIFEBOAT_SCHEDULES_HOURLY_PAUSED: should be true or false, not a text",
        'hint: LIFEBOAT_SCHEDULES_NIGHTLY_SCHEDULE: "@nightly" is not a schedule: @nightly is unknown',
      ],
    ],
    ["backup create --cluster test", {}, 2, ['error: the configuration has no cluster "test"', "hint: it has prod"]],
    [
      "backup create --cluster prod --context x",
      {},
      2,
      [
        "error: both --cluster and a kubeconfig are given",
        "hint: --cluster names one of the configuration, --kubeconfig and --context any other: leave one of them out",
      ],
    ],
  ];
  for (const [args, more, code, says] of MISTAKES) {
    it(`${args}${Object.keys(more).length ? ` with ${Object.keys(more)}` : ""}: exit code ${code}`, async () => {
      const ended = await lifeboat(args.split(" "), { ...env, ...more });
      const lines = says.map((line) => `${line.replace("{config}", env.LIFEBOAT_CONFIG!)}\n`);
      assert.deepEqual([ended.code, ended.stderr], [code, lines.join("")]);
    });
  }

  it("a kubeconfig from a secret may not run a program", async () => {
    const own = { ...env, LIFEBOAT_CLUSTERS_PROD_KUBECONFIG: "env:KUBE", KUBE: cluster.kubeconfig };
    const user = "user: { exec: { apiVersion: client.authentication.k8s.io/v1, command: touch, args: [pwned] } }";
    own.KUBE = own.KUBE.replace("user: {}", user);
    const { code, stderr } = await lifeboat(["backup", "create", "--cluster", "prod"], own);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /^error: .*would run the program "touch"/);
  });
});
