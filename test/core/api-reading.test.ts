import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type SampleApi, startApi } from "./api-sample.ts";
import { putBackup, putVelero } from "./location-sample.ts";
import { sample } from "./restore-sample.ts";

describe("the API over objects of many backups", () => {
  let api: SampleApi;
  before(async () => {
    api = await startApi();
    for (const hour of [1, 2, 3]) {
      const objects = [1, 2].map((name) => sample("v1", "ConfigMap", `shop/settings-${name}`, { data: { hour } }));
      await putBackup(api.bucket, `b${hour}`, objects, { at: `2026-11-01T0${hour}:00:00Z` });
    }
    await putVelero(api.bucket, "velero", [sample("v1", "ConfigMap", "shop/settings-1")]);
  });
  after(() => api?.stop());
  const get = (path: string) => api.send("GET", path);

  it("searches, page by page", async () => {
    const { status, body } = await get("/v1/search?text=SETTINGS&kind=cm&limit=1");
    assert.equal(status, 200);
    const { continue: token, ...page } = body;
    assert.deepEqual(page, {
      ...{ schemaVersion: 1, kind: "search", location: api.bucket.location },
      ...{ criteria: { text: "SETTINGS", kind: "cm" }, searched: 3 },
      objects: [
        {
          ...{ resource: "configmaps", kind: "ConfigMap", namespace: "shop", name: "settings-1", backups: 3 },
          first: { backup: "b1", timestamp: "2026-11-01T01:00:00Z" },
          last: { backup: "b3", timestamp: "2026-11-01T03:00:00Z" },
        },
      ],
      warnings: [{ message: "without an index, as Velero's, and so not looked into: velero" }],
    });
    const next = (await get(`/v1/search?text=SETTINGS&kind=cm&limit=1&continue=${token}`)).body;
    assert.deepEqual(
      [next.objects.map(({ name }: { name: string }) => name), next.continue],
      [["settings-2"], undefined],
    );
    const some = (await get("/v1/search?text=settings-1&backup=b1,b2")).body;
    assert.deepEqual([some.searched, some.objects[0].backups], [2, 2]);
  });

  it("tells an object's history, page by page", async () => {
    const { status, body } = await get("/v1/history?object=shop/cm/settings-1&diff=true&limit=2");
    assert.equal(status, 200);
    assert.deepEqual(
      body.events.map(({ change, backup, diff }: { change: string; backup: string; diff?: object }) => [
        change,
        backup,
        diff,
      ]),
      [
        ["appeared", "b1", undefined],
        ["changed", "b2", [{ path: "data.hour", from: 1, to: 2 }]],
      ],
    );
    const next = (await get(`/v1/history?object=shop/cm/settings-1&limit=2&continue=${body.continue}`)).body;
    assert.deepEqual(
      next.events.map(({ backup, diff }: { backup: string; diff?: object }) => [backup, diff]),
      [["b3", undefined]],
    );
  });

  const refusals: [path: string, status: number, detail: RegExp][] = [
    ["/v1/search", 400, /nothing is looked for/],
    ["/v1/search?text=a&kin=b", 400, /kin/],
    ["/v1/search?text=a&backup=b1,,b2", 400, /backup/],
    ["/v1/search?text=a&schedule=x", 404, /schedule "x" has no backup/],
    ["/v1/search?label=%21%21", 400, /can't understand/],
    ["/v1/history", 400, /object/],
    ["/v1/history?object=shop/cm/none", 404, /doesn't hold "shop\/cm\/none"/],
    ["/v1/history?object=shop/cm/settings-1&diff=yes", 400, /diff/],
  ];
  for (const [path, status, detail] of refusals) {
    it(`refuses ${path}`, async () => {
      const { body, ...answer } = await get(path);
      assert.equal(answer.status, status);
      assert.match(body.detail, detail);
    });
  }

  it("trusts only what one of the trusted keys has signed", async () => {
    const strict = await startApi({ bucket: api.bucket, trustedKeys: async () => ["x"] });
    try {
      const { body } = await strict.send("GET", "/v1/search?text=settings");
      assert.deepEqual([body.objects, body.searched, body.warnings.length], [[], 0, 4]);
    } finally {
      await strict.stop();
    }
  });
});
