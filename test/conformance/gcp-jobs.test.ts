import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { cloudTasksJobs } from "../../functions/gcp/jobs.ts";
import { type Gcp, startGcp } from "../rig/gcp.ts";
import { jobsConformance } from "./jobs.ts";

interface Delivery {
  job: unknown;
  at: Date;
  headers: NodeJS.Dict<string | string[]>;
}

const account = "caller@rig-project.iam.gserviceaccount.com";

describe("Cloud Tasks", () => {
  let gcp: Gcp;
  let handler: Server;
  let url: string;
  const deliveries: Delivery[] = [];
  const deliveriesOf = (name: string) => deliveries.filter(({ job }) => (job as { name: string }).name === name);
  before(async () => {
    gcp = await startGcp();
    Object.assign(process.env, gcp.env);
    handler = createServer(async (request, response) => {
      const job: unknown = JSON.parse(Buffer.concat(await Array.fromAsync(request)).toString());
      deliveries.push({ job, at: new Date(), headers: request.headers });
      response.writeHead(deliveriesOf("again").length === 1 ? 503 : 200).end();
    });
    await new Promise<void>((resolve) => handler.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(handler.address() as AddressInfo).port}/jobs`;
  });
  after(async () => {
    await gcp?.stop();
    handler?.closeAllConnections();
    handler?.close();
  });
  const jobs = (queue = gcp.queue) => cloudTasksJobs({ queue, url, serviceAccount: account });

  jobsConformance(
    "Cloud Tasks' stand-in",
    async () => ({
      jobs: jobs(),
      received: async () => deliveries,
      nowhere: jobs(gcp.queue.replace(/[^/]+$/, "another")),
      inTrouble: async (trouble, run) => {
        gcp.trouble = trouble;
        await run().finally(() => {
          gcp.trouble = undefined;
        });
      },
    }),
    { largest: 990_000 },
  );

  test("a delivery carries a token of the service account for the function; a failed one is repeated", async () => {
    await jobs().enqueue({ kind: "backup", name: "again" });
    while (deliveriesOf("again").length < 2) await sleep(20);
    for (const { headers } of deliveriesOf("again")) {
      assert.equal(headers["content-type"], "application/json");
      const claims = String(headers.authorization).split(".")[1] ?? "";
      const { aud, email } = JSON.parse(Buffer.from(claims, "base64url").toString()) as Record<string, string>;
      assert.deepEqual({ aud, email }, { aud: new URL(url).origin, email: account });
    }
    const tasks = [...gcp.tasks.values()];
    assert(tasks.every(({ dispatchDeadline }) => dispatchDeadline === "1800s"));
  });

  const wrong: [what: string, change: object][] = [
    ["no queue", { queue: "" }],
    ["a queue by its short name", { queue: "lifeboat" }],
    ["no URL", { url: "" }],
    ["another URL than http's", { url: "file:///etc" }],
    ["no service account", { serviceAccount: "" }],
  ];
  for (const [what, change] of wrong) {
    test(`${what} is invalid`, () => {
      const environment = { queue: gcp.queue, url, serviceAccount: account, ...change };
      assert.throws(() => cloudTasksJobs(environment), { name: "LifeboatError", kind: "invalid" });
    });
  }
});
