import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { rootCertificates, setDefaultCACertificates } from "node:tls";
import type { AksReference } from "../../core/ports.ts";
import { aksClusters } from "../../functions/azure/clusters.ts";
import { type Azure, startAzure } from "../rig/azure.ts";
import { requireOrSkip } from "../rig/require.ts";
import { rejects } from "./bucket.ts";
import { assertNotQuoted, troubleTests } from "./troubles.ts";

const signal = AbortSignal.timeout(60_000);
const authority = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
const password = "the-token-of-the-cluster-user";

describe("AKS clusters", { skip: requireOrSkip("rig", []) }, () => {
  let azure: Azure;
  before(async () => {
    azure = await startAzure();
    Object.assign(process.env, azure.env);
    setDefaultCACertificates([...rootCertificates, azure.ca]);
    azure.clusters.set(pathOf("known"), Buffer.from(kubeconfig("https://known.azmk8s.io:443")).toString("base64"));
  });
  after(() => azure?.stop());
  const subscription = randomUUID();
  const reference = (name: string) => ({ subscription, resourceGroup: "group.(1)", name });
  const pathOf = (name: string) =>
    `/subscriptions/${subscription}/resourceGroups/group.(1)/providers/Microsoft.ContainerService/managedClusters/${name}`;

  test("a cluster's server and authority are found, by a token for the manager", async () => {
    const endpoint = await aksClusters().endpoint(reference("known"), signal);
    assert.deepEqual(endpoint, { server: "https://known.azmk8s.io:443", ca: authority });
    assert.equal(azure.tokens.at(-1)?.resource, azure.env.LIFEBOAT_AZURE_RESOURCE_MANAGER);
  });

  test("one that isn't there is missing", async () => {
    const error = await rejects("missing", aksClusters().endpoint(reference("none"), signal));
    assert.match(error.message, /AKS cluster none: ResourceNotFound/);
  });

  for (const name of ["../known", "..", "", "a?b", "a#b", "a/b"]) {
    test(`${JSON.stringify(name)} is no name`, async () => {
      await rejects("invalid", aksClusters().endpoint(reference(name), signal));
    });
  }

  const odd: [what: string, text: string][] = [
    ["is no kubeconfig", password],
    ["has a server that is no URL", kubeconfig(password)],
  ];
  for (const [index, [what, text]] of odd.entries()) {
    test(`a kubeconfig of Azure's that ${what} is invalid, and not quoted`, async () => {
      azure.clusters.set(pathOf(`odd-${index}`), Buffer.from(text).toString("base64"));
      const error = await rejects("invalid", aksClusters().endpoint(reference(`odd-${index}`), signal));
      assert.match(error.message, /kubeconfig/);
      assertNotQuoted(error, password);
    });
  }

  troubleTests(
    (given) => aksClusters().endpoint(reference("known"), given ?? signal),
    async (trouble, run) => {
      azure.trouble = trouble;
      await run().finally(() => {
        azure.trouble = undefined;
      });
    },
    {},
    (error) => {
      for (const { token } of azure.tokens) assertNotQuoted(error, token);
    },
  );

  describe("are listed", () => {
    const tags = { backup: "yes" };
    const fullPath = (group: string, name: string) =>
      `/subscriptions/${subscription}/resourceGroups/${group}/providers/Microsoft.ContainerService/managedClusters/${name}`;
    before(() => {
      azure.managedClusters.set(fullPath("Group", "a"), { tags, properties: { provisioningState: "Succeeded" } });
      azure.managedClusters.set(fullPath("other", "a"), { properties: { provisioningState: "Updating" } });
      azure.managedClusters.set(fullPath("other", "new"), { tags, properties: { provisioningState: "Creating" } });
      azure.managedClusters.set(fullPath("other", "gone"), { tags, properties: { provisioningState: "Deleting" } });
      azure.managedClusters.set(fullPath("other", "b"), { tags });
      azure.managedClusters.set(fullPath("other", "c").replace(subscription, randomUUID()), { tags });
    });
    const listed = (known: Partial<AksReference>) => Array.fromAsync(aksClusters().list(known, signal));

    test("page by page, with their tags, but for those that are being made or deleted", async () => {
      assert.deepEqual(await listed({ subscription }), [
        { reference: { subscription, resourceGroup: "Group", name: "a" }, tags },
        { reference: { subscription, resourceGroup: "other", name: "a" }, tags: {} },
        { reference: { subscription, resourceGroup: "other", name: "b" }, tags },
      ]);
    });

    test("as the identity that is named, which then is the clusters' too", async () => {
      const clientId = randomUUID();
      const [{ reference } = assert.fail()] = await listed({ subscription, clientId });
      assert.deepEqual([reference.clientId, azure.tokens.at(-1)?.clientId], [clientId, clientId]);
    });

    test("one alone, in whatever case it is named", async () => {
      const reference = { subscription, resourceGroup: "Group", name: "a" };
      assert.deepEqual(await listed({ subscription, resourceGroup: "group", name: "A" }), [{ reference, tags }]);
      assert.deepEqual(await listed({ subscription, resourceGroup: "group", name: "none" }), []);
      assert.deepEqual(await listed({ subscription, resourceGroup: "other", name: "new" }), []);
    });

    test("not where a part of the name would lead elsewhere", async () => {
      await rejects("invalid", listed({ subscription: "../.." }));
      await rejects("invalid", listed({ subscription, resourceGroup: "..", name: "a" }));
    });

    troubleTests(
      (given) => Array.fromAsync(aksClusters().list({ subscription }, given ?? signal)),
      async (trouble, run) => {
        azure.trouble = trouble;
        await run().finally(() => {
          azure.trouble = undefined;
        });
      },
      {},
    );
  });

  test("a token is of the identity asked for, for the AKS application, and says when it ends", async () => {
    const clientId = randomUUID();
    const { token, expires } = await aksClusters().token({ clientId }, signal);
    const given = azure.tokens.at(-1);
    assert.deepEqual(given, { token, clientId, by: "function", resource: "6dae42f8-4368-4678-94ff-3960e28e3630" });
    assert(Math.abs(expires.getTime() - Date.now() - 24 * 3600 * 1000) < 60_000, expires.toISOString());
  });

  for (const trouble of ["denied", "unreachable"] as const) {
    test(`an identity that is ${trouble}`, async (t) => {
      t.after(() => {
        azure.identityTrouble = undefined;
      });
      azure.identityTrouble = trouble;
      await rejects(trouble, aksClusters().token({ clientId: randomUUID() }, signal));
    });
  }
});

function kubeconfig(server: string): string {
  const data = Buffer.from(authority).toString("base64");
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "a",
    contexts: [{ name: "a", context: { cluster: "a", user: "a" } }],
    clusters: [{ name: "a", cluster: { server, "certificate-authority-data": data } }],
    users: [{ name: "a", user: { token: password } }],
  });
}
