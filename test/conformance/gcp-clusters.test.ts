import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { GkeReference } from "../../core/ports.ts";
import { gkeClusters } from "../../functions/gcp/clusters.ts";
import { type Gcp, startGcp } from "../rig/gcp.ts";
import { rejects } from "./bucket.ts";
import { assertNotQuoted, troubleTests } from "./troubles.ts";

const signal = AbortSignal.timeout(60_000);
const authority = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
const masterAuth = { clusterCaCertificate: Buffer.from(authority).toString("base64") };
const dns = (allowExternalTraffic: boolean) => ({
  controlPlaneEndpointsConfig: { dnsEndpointConfig: { endpoint: "gke-1.europe-west1.gke.goog", allowExternalTraffic } },
});

describe("GKE clusters", () => {
  let gcp: Gcp;
  before(async () => {
    gcp = await startGcp();
    Object.assign(process.env, gcp.env);
    gcp.clusters.set(fullName("known"), { endpoint: "192.0.2.1", masterAuth });
  });
  after(() => gcp?.stop());
  const reference = (name: string) => ({ project: gcp.project, location: "europe-west1", name });
  const fullName = (name: string) => `projects/${gcp.project}/locations/europe-west1/clusters/${name}`;

  const byIp = { server: "https://192.0.2.1", ca: authority };
  const found: [what: string, cluster: object, endpoint: object][] = [
    ["without a DNS endpoint, by its IP and authority", { endpoint: "192.0.2.1", masterAuth }, byIp],
    ["with a DNS endpoint for inside only, by its IP", { endpoint: "192.0.2.1", masterAuth, ...dns(false) }, byIp],
    [
      "with a DNS endpoint for outside, by that and the public authorities",
      { endpoint: "192.0.2.1", masterAuth, ...dns(true) },
      { server: "https://gke-1.europe-west1.gke.goog" },
    ],
  ];
  for (const [index, [what, cluster, endpoint]] of found.entries()) {
    test(`a cluster is found ${what}`, async () => {
      gcp.clusters.set(fullName(`c${index}`), cluster);
      assert.deepEqual(await gkeClusters().endpoint(reference(`c${index}`), signal), endpoint);
    });
  }

  test("one that isn't ready has no endpoint", async () => {
    gcp.clusters.set(fullName("new"), { status: "PROVISIONING" });
    const error = await rejects("unreachable", gkeClusters().endpoint(reference("new"), signal));
    assert.match(error.message, /PROVISIONING/);
  });

  test("one that isn't there is missing; its name can't lead elsewhere", async () => {
    await rejects("missing", gkeClusters().endpoint(reference("none"), signal));
    await rejects("missing", gkeClusters().endpoint(reference("x/../known"), signal));
  });

  troubleTests(
    (given) => gkeClusters().endpoint(reference("known"), given ?? signal),
    async (trouble, run) => {
      gcp.trouble = trouble;
      await run().finally(() => {
        gcp.trouble = undefined;
      });
    },
    {},
    (error) => {
      for (const token of gcp.tokens) assertNotQuoted(error, token);
    },
  );

  describe("are listed", () => {
    const tags = { backup: "yes" };
    const at = (location: string, name: string) => ({ project: "acme", location, name });
    const put = (location: string, name: string, cluster: object) =>
      gcp.clusters.set(`projects/acme/locations/${location}/clusters/${name}`, cluster);
    before(() => {
      put("europe-west1", "a", { status: "RUNNING", resourceLabels: tags });
      put("europe-west1-b", "a", { status: "DEGRADED" });
      put("europe-west1", "new", { status: "PROVISIONING", resourceLabels: tags });
      put("europe-west1", "gone", { status: "STOPPING", resourceLabels: tags });
    });
    const listed = (known: Partial<GkeReference>) => Array.fromAsync(gkeClusters().list(known, signal));

    test("of all locations or of one, with their labels, but for those that are being made or deleted", async () => {
      const regional = { reference: at("europe-west1", "a"), tags };
      assert.deepEqual(await listed({ project: "acme" }), [
        regional,
        { reference: at("europe-west1-b", "a"), tags: {} },
      ]);
      assert.deepEqual(await listed({ project: "acme", location: "europe-west1" }), [regional]);
    });

    test("one alone", async () => {
      assert.deepEqual(await listed(at("europe-west1", "a")), [{ reference: at("europe-west1", "a"), tags }]);
      for (const name of ["none", "new", "x/../a"]) assert.deepEqual(await listed(at("europe-west1", name)), []);
    });

    test("as far as Google can tell: then it says where it can't", async (t) => {
      gcp.missingZones = ["europe-west1-b"];
      t.after(() => {
        gcp.missingZones = [];
      });
      const found: string[] = [];
      const listing = async () => {
        for await (const { reference } of gkeClusters().list({ project: "acme" }, signal)) found.push(reference.name);
      };
      assert.match((await rejects("unreachable", listing())).message, /europe-west1-b/);
      assert.deepEqual(found, ["a", "a"]);
    });

    troubleTests(
      (given) => Array.fromAsync(gkeClusters().list({ project: "acme" }, given ?? signal)),
      async (trouble, run) => {
        gcp.trouble = trouble;
        await run().finally(() => {
          gcp.trouble = undefined;
        });
      },
      {},
    );
  });

  test("a token is the service account's, says when it ends, and is renewed before", async () => {
    const clusters = gkeClusters();
    const { token, expires } = await clusters.token({}, signal);
    assert.equal(token, gcp.tokens.at(-1));
    assert(Math.abs(expires.getTime() - Date.now() - 3_599_000) < 10_000, expires.toISOString());
    assert.deepEqual(await clusters.token({}, signal), { token, expires });

    gcp.tokenSeconds = 60;
    const other = gkeClusters();
    const first = await other.token({}, signal);
    gcp.tokenSeconds = 3599;
    const second = await other.token({}, signal);
    assert.notEqual(second.token, first.token);
    assert.equal(second.token, gcp.tokens.at(-1));
  });

  test("a token tells the cluster the account's e-mail address", async () => {
    await gkeClusters().token({}, signal);
    assert.deepEqual(gcp.scopes.map((scope) => scope.split("/").at(-1)).sort(), ["cloud-platform", "userinfo.email"]);
  });

  test("a token obeys its signal", async () => {
    const reason = new Error("out of time");
    await assert.rejects(gkeClusters().token({}, AbortSignal.abort(reason)), (thrown) => thrown === reason);
  });
});
