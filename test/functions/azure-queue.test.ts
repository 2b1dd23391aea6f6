import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import { type Azurite, startAzurite } from "../rig/azurite.ts";
import { type Bundle, makeBundle } from "../rig/bundles.ts";
import { until } from "../rig/process.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type AzureHost, startAzureHost } from "../rig/runtimes/azure.ts";
import { listenToQueue, type QueueListener } from "../rig/runtimes/azure-queue.ts";
import { type SlowApi, startSlowApi } from "../rig/slowapi.ts";

/** Sixteen pages, for which there is no time in one run of `functionTimeout`. */
const OBJECTS = 8000;
const PAGE_MS = 250;

describe("the Azure function and its queue", { skip: requireOrSkip("rig", ["npm:azurite"]) }, () => {
  let azurite: Azurite;
  let bundle: Bundle;
  let server: ApiServer;
  let slow: SlowApi;
  let host: AzureHost;
  let hurried: AzureHost;
  let listener: QueueListener | undefined;

  before(async () => {
    const objects = Array.from({ length: OBJECTS }, (_, index) => ({
      ...{ apiVersion: "v1", kind: "ConfigMap" },
      metadata: { name: `settings-${index}`, namespace: "default" },
    }));
    [azurite, bundle, server] = await Promise.all([startAzurite(), makeBundle("azure"), startApiServer({ objects })]);
    slow = await startSlowApi(server, PAGE_MS);
    const dead = await startApiServer();
    await dead.stop();
    const env = {
      ...azurite.env,
      LIFEBOAT_LOCATION: azurite.location(""),
      KUBECONFIG_A: slow.kubeconfig,
      LIFEBOAT_CLUSTERS_A_KUBECONFIG: "env:KUBECONFIG_A",
      KUBECONFIG_DEAD: dead.kubeconfig,
      LIFEBOAT_CLUSTERS_DEAD_KUBECONFIG: "env:KUBECONFIG_DEAD",
    };
    host = await startAzureHost({ dir: bundle.dir, env });
    const timeout = { AzureFunctionsJobHost__functionTimeout: "00:00:04" };
    hurried = await startAzureHost({ dir: bundle.dir, env: { ...env, ...timeout } });
  });
  afterEach(async () => {
    await listener?.stop();
  });
  after(async () => {
    for (const part of [host, hurried, slow, server, azurite]) await part?.stop();
    await bundle?.[Symbol.asyncDispose]();
  });

  const phaseOf = async (name: string) => {
    const { status, body } = await host.http({ method: "GET", path: `/v1/backups/${name}` });
    return status === 200 ? JSON.parse(body).phase : undefined;
  };
  const completed = (name: string) =>
    until(`backup ${name}`, async () => (await phaseOf(name)) === "Completed", { seconds: 120, everyMs: 200 });

  it("makes a backup for which a run has no time by as many messages as it takes, one at a time", async () => {
    listener = await listenToQueue(hurried, { azurite, dir: bundle.dir });
    const asked = { method: "POST", path: "/v1/backups", headers: { "content-type": "application/json" } };
    const body = JSON.stringify({ name: "cut", cluster: "a" });
    assert.equal((await hurried.http({ ...asked, body })).status, 202);
    await completed("cut");
    const { delivered } = listener;
    assert(delivered.filter(({ dequeueCount }) => dequeueCount === 1).length > 1, "one message was enough");
    assert.deepEqual([...new Set(delivered.map(({ job }) => job.name))], ["cut"]);
    assert.equal(listener.most(), 1);
    assert.deepEqual(await listener.poison(), []);
  });

  it("reads shards beside each other; a rest that comes before they have ended is hidden until it may begin", async () => {
    listener = await listenToQueue(host, { azurite, dir: bundle.dir, instances: 3 });
    await listener.send({ kind: "backup", name: "sharded", cluster: "a", shards: 2 });
    await completed("sharded");
    const jobs = listener.delivered.map(({ job }) => job);
    assert.deepEqual(jobs.flatMap(({ shard }) => shard ?? []).sort(), [1, 2]);
    assert(listener.most() > 1, "one after the other");
    assert(
      jobs.some(({ notBefore }) => notBefore !== undefined),
      "the rest never came early",
    );
    assert.deepEqual(await listener.poison(), []);
  });

  it("puts a job into the poison queue that failed as often as host.json says", async () => {
    listener = await listenToQueue(host, { azurite, dir: bundle.dir });
    const job = { kind: "backup", name: "failing", cluster: "dead" };
    await listener.send(job);
    await until("the poison queue", async () => (await listener!.poison()).length > 0);
    assert.deepEqual(await listener.poison(), [job]);
    assert.deepEqual(
      listener.delivered.map(({ dequeueCount }) => dequeueCount),
      [1, 2, 3],
    );
  });
});
