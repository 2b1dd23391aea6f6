import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { CheckDocument } from "../../core/index.ts";
import { type Cluster, startCluster } from "../rig/cluster.ts";
import { requireOrSkip } from "../rig/require.ts";
import { applyShop } from "../rig/shop.ts";
import { type Deployment, deployAws, deployAzure, deployGcp } from "./clouds.ts";

const PASSWORD = "hunter2-is-nobodys-password";
/** A kubeconfig that would have the function run a program. */
const PROGRAM = JSON.stringify({
  "current-context": "x",
  contexts: [{ name: "x", context: { cluster: "x", user: "x" } }],
  clusters: [{ name: "x", cluster: { server: "https://127.0.0.1:1" } }],
  users: [{ name: "x", user: { exec: { command: "/bin/sh", args: ["-c", PASSWORD] } } }],
});

const deployments = { "AWS Lambda": deployAws, "Cloud Functions": deployGcp, "Azure Functions": deployAzure };

describe("the bundle of each cloud, in its own runtime", { skip: requireOrSkip("rig") }, () => {
  let a: Cluster;
  before(async () => {
    a = await startCluster();
    await applyShop(a);
  });
  after(() => a?.stop());

  for (const [cloud, deploy] of Object.entries(deployments)) {
    describe(cloud, () => {
      let b: Cluster;
      let deployed: Deployment;
      let slot: Date;
      let name: string;

      before(async () => {
        b = await startCluster();
        const secrets = { a: a.kubeconfig, b: b.kubeconfig, text: `password: ${PASSWORD}`, program: PROGRAM };
        deployed = await deploy(secrets);
        // As late as can be: Azure's clock takes no slot, but the last full hour.
        slot = new Date(Math.floor(Date.now() / 3_600_000) * 3_600_000);
        name = `hourly-${slot.toISOString().slice(0, 19).replace(/\D/g, "")}`;
      });
      after(async () => {
        await deployed?.stop();
        await b?.stop();
      });

      const get = async <T>(path: string) => {
        const { status, body } = await deployed.http({ method: "GET", path });
        assert.equal(status, 200, body);
        return JSON.parse(body) as T;
      };
      const post = async (path: string, body: unknown) => {
        const text = typeof body === "string" ? body : JSON.stringify(body);
        const { status, body: answer } = await deployed.http({ method: "POST", path, body: text });
        return {
          status,
          document: JSON.parse(answer) as { name: string; phase: string; kind: string; detail: string },
        };
      };

      it("makes a scheduled backup into its platform's bucket, with the kubeconfig of its platform's secret store", async () => {
        await deployed.trigger(slot);
        await deployed.trigger(slot);
        const { backups } = await get<{ backups: { name: string; phase: string; schedule: string }[] }>("/v1/backups");
        assert.deepEqual(
          backups.map(({ name, phase, schedule }) => [name, phase, schedule]),
          [[name, "Completed", "hourly"]],
        );
        assert.match(
          deployed.logs(),
          /^.*level=info.* job=backup schedule=hourly phase=Completed /m,
          "what alarms look for",
        );
      });

      it("restores it by HTTP into a second cluster", async () => {
        const request = { name: "r", cluster: "b", spec: { scheduleName: "hourly" } };
        const { status, document } = await post("/v1/restores", request);
        assert.deepEqual([status, document.name, document.phase], [202, "r", "New"]);
        assert.equal(await deployed.deliver(), undefined);
        const { phase, caller } = await get<{ phase: string; caller?: string }>("/v1/restores/r");
        assert.equal(phase, "Completed");
        if (cloud !== "Cloud Functions") assert.match(caller ?? "", /alice|key/);
        const names = (cluster: Cluster) =>
          cluster.kubectl(["-n", "shop", "get", "deployments,services,configmaps,secrets", "-o", "name"]);
        assert.equal(await names(b), await names(a));
        assert.match((await deployed.http({ method: "GET", path: "/v1/restores/r/logs" })).body, /Restore ends/);
      });

      it("answers whether backups can be made: of the wrong secrets' clusters not", async () => {
        const { status, body } = await deployed.http({ method: "POST", path: "/v1/checks", body: "{}" });
        assert.equal(status, 200, body);
        const { checks } = JSON.parse(body) as CheckDocument;
        const failed = checks
          .filter(({ state }) => state === "failed")
          .map(({ name, question }) => `${name} ${question}`);
        assert.deepEqual(failed.sort(), ["program access", "text access"]);
        for (const asked of ["create", "list"])
          assert.ok(checks.some(({ question, state }) => question === asked && state === "ok"));
        assert.doesNotMatch(body, /hunter2/);
      });

      const bad: (readonly [what: string, path: string, body: unknown, status: number])[] = [
        // The Functions Framework reads bodies that say they are JSON before the function does.
        ...(cloud === "Cloud Functions" ? [] : [["malformed JSON", "/v1/restores", "{", 400] as const]),
        ["an unknown field", "/v1/backups", { colour: "red" }, 400],
        ["a wrong type", "/v1/backups", { name: 7 }, 400],
        ["a body of 2 MiB", "/v1/backups", { name: "x".repeat(2 << 20) }, 413],
        ["an unknown backup", "/v1/restores", { cluster: "b", spec: { backupName: "nothing" } }, 404],
        ["an unknown cluster", "/v1/backups", { cluster: "c" }, 400],
      ];
      for (const [what, path, body, status] of bad) {
        it(`answers ${what} with a problem document, and enqueues nothing`, async () => {
          const answer = await post(path, body);
          assert.equal(answer.status, status, JSON.stringify(answer.document));
          assert.equal(typeof answer.document.detail, "string");
        });
      }

      for (const cluster of ["text", "program"]) {
        it(`fails for good where the secret is ${cluster === "text" ? "no kubeconfig" : "a kubeconfig that would run a program"}, and quotes nothing of it`, async () => {
          const { status, document } = await post("/v1/backups", { name: cluster, cluster });
          assert.equal(status, 202, JSON.stringify(document));
          const failure = (await deployed.deliver()) ?? "";
          assert.match(failure, /kubeconfig/);
          const run = await get<{ phase: string; errors: { message: string }[] }>(`/v1/backups/${cluster}`);
          assert.equal(run.phase, "Failed");
          for (const text of [failure, JSON.stringify(run), deployed.logs()]) assert.doesNotMatch(text, /hunter2/);
        });
      }

      it("leaves no secret in what it logs", () => {
        const logs = deployed.logs();
        for (const secret of [a, b].flatMap(({ credentials }) => [
          credentials.key,
          Buffer.from(credentials.key).toString("base64"),
        ])) {
          assert(!logs.includes(secret.slice(40, 100)));
        }
      });
    });
  }
});
