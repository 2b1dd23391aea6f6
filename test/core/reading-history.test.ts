import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import fc from "fast-check";
import type { IndexEntry } from "../../core/archive/index.ts";
import type { KubernetesObject } from "../../core/archive/item.ts";
import type { Bucket } from "../../core/ports.ts";
import { foldSightings, type HistoryRequest, history, type Sighting } from "../../core/reading/history.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { putBackup, putVelero, WIDGETS } from "./location-sample.ts";
import { refusal } from "./refusal.ts";
import { sample, uid } from "./restore-sample.ts";

const at = (hour: number) => `2026-11-01T0${hour}:00:00Z`;

describe("the history of an object", () => {
  let bucket: Bucket;
  const put = (name: string, hour: number, objects: KubernetesObject[], more = {}) =>
    putBackup(bucket, name, objects, { at: at(hour), ...more });
  const web = (number: number, replicas: number, more: Partial<KubernetesObject> = {}) =>
    sample("apps/v1", "Deployment", "shop/web", {
      metadata: { uid: uid(number), resourceVersion: `${replicas}` } as KubernetesObject["metadata"],
      spec: { replicas },
      ...more,
    });
  const ready = (count: number) => ({ status: { readyReplicas: count } });
  const secret = (password: string) => sample("v1", "Secret", "shop/db", { data: { password } });
  const gear = sample("example.com/v1", "Widget", "shop/gear");

  before(async () => {
    bucket = memoryBucket();
    await put("h0", 0, [secret("MQ==")]);
    await put("h1", 1, [web(1, 1, ready(0)), secret("MQ==")]);
    await put("h2", 2, [web(1, 1, ready(1)), secret("Mg==")]);
    await put("h3", 3, [web(1, 2), sample("v1", "Node", "shop")]);
    await put("limited", 4, [], { spec: { includedNamespaces: ["blog"] } });
    await put("h5", 5, [WIDGETS, gear]);
    await put("h6", 6, [web(2, 2), WIDGETS, gear]);
    await put("h7", 7, [web(3, 2), WIDGETS, gear]);
    await put("partial", 8, [], { errors: [{ message: "x" }] });
    await putVelero(bucket, "velero", [web(9, 9)], { at: at(9) });
  });
  const ask = async (item: string, request: Partial<HistoryRequest> = {}) => history(bucket, { item, ...request });
  const told = async (item: string, request: Partial<HistoryRequest> = {}) =>
    (await ask(item, request)).events.map(
      ({ change, backup, previous, backups, last, versions = 0 }) =>
        `${change} ${previous?.backup ?? "…"}-${backup}: ${backups} until ${last.backup}, ${versions}`,
    );

  it("tells what became of it, with unchanged spans folded, and what servers write counted", async () => {
    assert.deepEqual(await told("shop/deploy/web"), [
      "appeared h0-h1: 2 until h2, 2",
      "changed h2-h3: 1 until h3, 1",
      "disappeared h3-h5: 1 until h5, 0",
      "appeared h5-h6: 1 until h6, 1",
      "recreated h6-h7: 1 until h7, 1",
    ]);
    const { searched, silent, warnings } = await ask("shop/deploy/web");
    assert.deepEqual([searched, silent], [9, 2]);
    assert.deepEqual(warnings, [{ message: "without an index, as Velero's, and so not looked into: velero" }]);
  });

  it("tells of what servers write too, where that is asked for", async () => {
    assert.deepEqual((await told("shop/deploy/web", { all: true })).slice(0, 3), [
      "appeared h0-h1: 1 until h1, 1",
      "changed h1-h2: 1 until h2, 1",
      "changed h2-h3: 1 until h3, 1",
    ]);
  });

  it("tells which fields were changed, of a Secret no values", async () => {
    const { events } = await ask("shop/deploy/web", { diff: true });
    assert.deepEqual(
      events.map(({ diff }) => diff),
      [undefined, [{ path: "spec.replicas", from: 1, to: 2 }], undefined, undefined, undefined],
    );
    const { events: secretive } = await ask("shop/secrets/db", { diff: true });
    assert.deepEqual(secretive[1]!.diff, [{ path: "data.password", from: "(hidden)", to: "(hidden)" }]);
    assert.deepEqual(await told("shop/secret/db"), [
      "appeared …-h0: 2 until h1, 1",
      "changed h1-h2: 1 until h2, 1",
      "disappeared h2-h3: 4 until h7, 0",
    ]);
  });

  const names: [item: string, first: string][] = [
    ["deployments.apps/web", "appeared h0-h1: 2 until h2, 2"],
    ["no/shop", "appeared h2-h3: 1 until h3, 1"],
    ["shop/wd/gear", "appeared h3-h5: 3 until h7, 1"],
    ["shop/Widget/gear", "appeared h3-h5: 3 until h7, 1"],
    ["widgets.example.com/gear", "appeared h3-h5: 3 until h7, 1"],
  ];
  for (const [item, first] of names) it(`is found as ${item}`, async () => assert.equal((await told(item))[0], first));

  it("is that of some backups, or of a schedule's", async () => {
    assert.deepEqual(await told("shop/deploy/web", { backups: ["h7", "h1"] }), [
      "appeared …-h1: 1 until h1, 1",
      "recreated h1-h7: 1 until h7, 1",
    ]);
    assert.match(await refusal(ask("shop/deploy/web", { schedule: "x" })), /^missing \| schedule "x" has no backup/);
  });

  it("is one across API versions", async () => {
    const other = memoryBucket();
    const definition = (version: string) => ({
      ...WIDGETS,
      spec: { ...(WIDGETS.spec as object), versions: [{ name: version, served: true, storage: true }] },
    });
    await putBackup(other, "a", [definition("v1beta1"), sample("example.com/v1beta1", "Widget", "shop/gear")], {
      at: at(1),
    });
    await putBackup(other, "b", [definition("v1"), gear], { at: at(2) });
    const { events } = await history(other, { item: "shop/widgets/gear", diff: true });
    assert.deepEqual(
      events.map(({ change, apiVersion, diff }) => [change, apiVersion, diff]),
      [
        ["appeared", "example.com/v1beta1", undefined],
        ["changed", "example.com/v1", [{ path: "apiVersion", from: "example.com/v1beta1", to: "example.com/v1" }]],
      ],
    );
  });

  it("is one where its resource has moved to another API group", async () => {
    const other = memoryBucket();
    const names = { plural: "ingresses", singular: "ingress", kind: "Ingress", listKind: "IngressList" };
    const versions = [{ name: "v1beta1", served: true, storage: true }];
    const old: KubernetesObject = {
      ...{ apiVersion: "apiextensions.k8s.io/v1", kind: "CustomResourceDefinition", metadata: { name: "old" } },
      spec: { group: "extensions", scope: "Namespaced", names, versions },
    };
    await putBackup(other, "a", [old, sample("extensions/v1beta1", "Ingress", "shop/web")], { at: at(1) });
    await putBackup(other, "b", [sample("networking.k8s.io/v1", "Ingress", "shop/web")], { at: at(2) });
    const { events, resource } = await history(other, { item: "shop/ing/web" });
    assert.equal(resource, "ingresses.networking.k8s.io");
    assert.deepEqual(
      events.map(({ change, apiVersion }) => `${change} ${apiVersion}`),
      ["appeared extensions/v1beta1", "changed networking.k8s.io/v1"],
    );
  });

  const refusals: [item: string, says: RegExp][] = [
    ["web", /^invalid \| "web" names no object/],
    [
      "shop/deploy/wbe",
      /^missing \| backup "partial" doesn't hold "shop\/deploy\/wbe"|^missing \| backup "partial" holds no/,
    ],
    ["shop/nonsense/web", /^missing \| backup "partial" holds no kind "nonsense"/],
  ];
  for (const [item, says] of refusals)
    it(`is refused as ${item}`, async () => assert.match(await refusal(ask(item)), says));
});

describe("folded sightings", () => {
  /** What a backup tells: nothing, that it wasn't there, or a state of an object: uid and content. */
  const drawn = fc.oneof(
    fc.constant("silent" as const),
    fc.constant("absent" as const),
    fc.record({ uid: fc.constantFrom("1", "2"), sha256: fc.constantFrom("a", "b", "c") }),
  );
  type Drawn = "silent" | "absent" | { uid: string; sha256: string };
  const sightingOf = (one: Drawn, i: number): Sighting => ({
    time: { backup: `b${i}` },
    ...(typeof one === "object" ? { entry: one as IndexEntry } : { tells: () => one === "absent" }),
  });

  it("unfold to what the backups told", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(drawn, { maxLength: 12 }), async (all: Drawn[]) => {
        const sightings = all.map(sightingOf);
        const entryAt = new Map(sightings.map(({ time, entry }) => [time.backup, entry]));
        const { events, silent } = await foldSightings(sightings, async (from, to) => ({
          changed: from.entry!.sha256 !== to.entry!.sha256,
        }));
        const unfolded = events.flatMap(({ backup, backups }) => {
          const entry = entryAt.get(backup);
          return Array<string>(backups).fill(entry ? `${entry.uid} ${entry.sha256}` : "absent");
        });
        const first = all.findIndex((one) => typeof one === "object");
        const expected = (first < 0 ? [] : all.slice(first))
          .filter((one) => one !== "silent")
          .map((one) => (typeof one === "object" ? `${one.uid} ${one.sha256}` : "absent"));
        assert.deepEqual(unfolded, expected);
        if (first >= 0) assert.equal(silent, all.filter((one) => one === "silent").length);
        for (const [i, event] of events.entries()) {
          const before = events[i - 1];
          assert.equal(event.change === "appeared", !before || before.change === "disappeared");
          if (before) assert.deepEqual(event.previous, before.last);
          if (event.change === "recreated") assert.notEqual(event.uid, before!.uid);
          if (event.change === "changed") assert.equal(event.uid, before!.uid);
        }
      }),
    );
  });
});
