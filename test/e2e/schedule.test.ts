import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, it } from "node:test";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { startS3Proxy } from "../rig/s3proxy.ts";
import { applyShop } from "../rig/shop.ts";
import { type BackupDocument, document, lifeboat } from "./lifeboat.ts";

const TIMING = { renew: 2_000, valid: 6_000, poll: 250 };

/** What the tests read of an outcome. */
interface Outcome {
  duplicate: boolean;
  skipped?: string;
  phase?: string;
}

describe("scheduled backups", { skip: requireOrSkip("rig", [...CONTROL_PLANE, "versitygw"]) }, () => {
  let a: Cluster;
  let b: Cluster;
  let s3: S3;
  let dir: string;
  let config: string;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "lifeboat-schedule-"));
    config = join(dir, "lifeboat.yaml");
    [a, b, s3] = await Promise.all([startCluster(), startCluster(), startS3()]);
    await writeConfig(s3.location("article"));
    await applyShop(a);
  });
  after(async () => {
    await Promise.all([a?.stop(), b?.stop(), s3?.stop()]);
    await rm(dir, { recursive: true, force: true });
  });

  const writeConfig = (location: string) =>
    writeFile(
      config,
      `location: ${JSON.stringify(location)}
clusters:
  a: { kubeconfig: ${JSON.stringify(`file:${a.kubeconfigPath}`)} }
  b: { kubeconfig: ${JSON.stringify(`file:${b.kubeconfigPath}`)} }
schedules:
  hourly: { schedule: "0 */1 * * *", cluster: a, template: { includedNamespaces: ["*"], ttl: 720h0m0s } }
`,
    );

  /** A process to which the job of a slot is delivered so many times at once. */
  const trigger = (slot: string, times = 1) => {
    const job = JSON.stringify({ kind: "backup", schedule: "hourly", slot });
    const args = [join(import.meta.dirname, "trigger.ts"), job, JSON.stringify(TIMING), String(times)];
    const child = spawn(process.execPath, args, {
      env: { PATH: process.env.PATH, ...s3.env, LIFEBOAT_CONFIG: `file:${config}` },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const ended = Promise.all([
      new Promise<number | null>((resolve) => child.on("close", resolve)),
      text(child.stdout),
      text(child.stderr),
    ]).then(([code, stdout, stderr]) => ({
      code,
      stderr,
      outcomes: code === 0 ? (JSON.parse(stdout) as Outcome[]) : [],
    }));
    return { kill: () => child.kill("SIGKILL"), ended };
  };
  const backups = async (location: string) =>
    (await document<{ backups: BackupDocument[] }>(["backup", "get", "--location", location], s3.env)).backups;
  const INGRESS = "/apis/networking.k8s.io/v1/namespaces/shop/ingresses/web";

  it("are restored into another cluster, the newest one, without what is excluded there", async () => {
    for (const slot of ["2026-11-23T01:00:00Z", "2026-11-23T02:00:00Z"]) {
      const { code, stderr } = await trigger(slot).ended;
      assert.equal(code, 0, stderr);
    }
    await b.kubectl(["create", "namespace", "shop"]);
    await b.kubectl(["-n", "shop", "create", "ingress", "web", "--rule=b.example.com/=shop:80"]);
    const before = await b.api.request("GET", INGRESS);

    const restore = ["restore", "create", "r", "--from-schedule", "hourly", "--config", config, "--cluster", "b"];
    const restored = await document<{ backup: string; phase: string }>(restore, s3.env);

    assert.deepEqual([restored.backup, restored.phase], ["hourly-20261123020000", "Completed"]);
    assert.deepEqual(await b.api.request("GET", INGRESS), before);
    const deployments = await b.kubectl(["-n", "shop", "get", "deployments", "-o", "name"]);
    assert.equal(deployments, await a.kubectl(["-n", "shop", "get", "deployments", "-o", "name"]));
    assert.notEqual(deployments, "");
  });

  it("triggered 20 times at once are one backup, and all 20 deliveries end well", async () => {
    await writeConfig(s3.location("twenty"));
    const ends = await Promise.all(Array.from({ length: 4 }, () => trigger("2026-11-23T03:00:00Z", 5).ended));
    const failed = ends.find(({ code }) => code !== 0);
    assert.equal(failed, undefined, failed?.stderr);
    const outcomes = ends.flatMap(({ outcomes }) => outcomes);
    assert.equal(outcomes.length, 20);
    assert.equal(outcomes.filter(({ duplicate }) => !duplicate).length, 1);
    assert.deepEqual(
      (await backups(s3.location("twenty"))).map(({ name, phase }) => [name, phase]),
      [["hourly-20261123030000", "Completed"]],
    );
  });

  it("killed half-way are taken over by the next delivery once the lock has expired, and finished", async () => {
    const victim: { run?: ReturnType<typeof trigger> } = {};
    const proxy = await startS3Proxy(s3, (request) => {
      if (request.method !== "PUT" || !request.url?.includes("/backups/hourly-")) return "pass";
      victim.run?.kill();
      return "swallow";
    });
    await writeConfig(proxy.location("killed"));
    victim.run = trigger("2026-11-23T04:00:00Z");
    assert.equal((await victim.run.ended).code, null);
    await proxy.stop();
    assert.deepEqual(await backups(s3.location("killed")), []);

    await writeConfig(s3.location("killed"));
    const { code, outcomes, stderr } = await trigger("2026-11-23T04:00:00Z").ended;
    assert.equal(code, 0, stderr);
    assert.deepEqual([outcomes[0]?.duplicate, outcomes[0]?.phase], [false, "Completed"]);
    const folder = await lifeboat(
      ["backup", "describe", "hourly-20261123040000", "--location", s3.location("killed")],
      s3.env,
    );
    assert.equal(folder.code, 0);
  });
});
