import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { photograph } from "../../core/backup/photograph.ts";
import type { Kube, KubeRequest, KubeResponse } from "../../core/kube/client.ts";
import type { Resource } from "../../core/kube/resource.ts";
import { embeddedCluster } from "./embedded-cluster.ts";

const configMaps: Resource = {
  group: "",
  version: "v1",
  name: "configmaps",
  kind: "ConfigMap",
  singular: "configmap",
  shortNames: ["cm"],
  namespaced: true,
  verbs: ["list"],
  preferred: true,
};
const events: Resource = { ...configMaps, name: "events", kind: "Event", singular: "event" };

const { kube } = await embeddedCluster();

describe("a photograph", () => {
  let asked: (string | undefined)[];

  /** The cluster, where a list pinned to a revision is answered by `pinned`, and `asked` hears which were asked for. */
  const answering = (pinned: (request: KubeRequest) => Promise<KubeResponse>): Kube => {
    asked = [];
    return {
      ...kube,
      request(request) {
        asked.push(request.query?.resourceVersion);
        return request.query?.resourceVersionMatch === "Exact" ? pinned(request) : kube.request(request);
      },
    };
  };
  const status = (code: number, reason: string, message: string): KubeResponse => ({
    status: code,
    headers: {},
    body: Buffer.from(JSON.stringify({ kind: "Status", code, reason, message })),
    attempts: 1,
    latencyMs: 1,
  });
  const take = async (cluster: Kube, resource: Resource, revision: string) => {
    const photo = photograph(cluster, revision, { signal: new AbortController().signal });
    const pages = await Array.fromAsync(photo.pages({ resource }));
    return { items: pages.flatMap(({ items }) => items).length, consistency: photo.consistency() };
  };
  const now = async () => {
    const { body } = await kube.request({ path: "/api/v1/configmaps", query: { limit: "1" } });
    return (JSON.parse(body.toString()) as { metadata: { resourceVersion: string } }).metadata.resourceVersion;
  };

  it("is exact where every list is answered at its revision", async () => {
    const revision = await now();
    const { items, consistency } = await take(kube, configMaps, revision);
    assert.ok(items > 0);
    assert.deepEqual(consistency, { grade: "exact", resourceVersion: revision, exceptions: [] });
  });

  for (const [what, refusal] of [
    ["compacted the revision", status(410, "Expired", "The resourceVersion is too old")],
    ["does not know exact revisions", status(400, "BadRequest", "resourceVersionMatch is not supported")],
    ["is behind the revision", status(504, "Timeout", "Too large resource version")],
  ] as const) {
    it(`reads the resource as it is now where the server ${what}, and says so`, async () => {
      const { items, consistency } = await take(
        answering(async () => refusal),
        configMaps,
        "1",
      );
      assert.ok(items > 0);
      assert.equal(consistency.grade, "mixed");
      assert.deepEqual(
        consistency.exceptions.map(({ resource }) => resource),
        ["configmaps"],
      );
      assert.match(consistency.exceptions[0]!.reason, new RegExp(JSON.parse(refusal.body.toString()).message));
    });
  }

  it("does not trust an answer of another revision", async () => {
    const unpinned = answering(({ query, ...request }) => kube.request({ ...request, query: { limit: query?.limit } }));
    const { consistency } = await take(unpinned, configMaps, "1");
    assert.equal(consistency.grade, "mixed");
    assert.match(consistency.exceptions[0]!.reason, /answered with revision \d+/);
  });

  it("never pins events, and keeps its grade", async () => {
    const { consistency } = await take(
      answering(async () => status(410, "Expired", "")),
      events,
      "1",
    );
    assert.equal(consistency.grade, "exact");
    assert.deepEqual(asked, [undefined]);
  });

  it("passes on what is no refusal of the revision", async () => {
    const forbidden = answering(async () => status(403, "Forbidden", "no"));
    await assert.rejects(take(forbidden, configMaps, "1"), { kind: "denied" });
  });
});
