import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import fc from "fast-check";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { unlocked } from "../../core/encryption/buckets.ts";
import { backupKeys } from "../../core/layout.ts";
import type { Bucket } from "../../core/ports.ts";
import type { BackupChoice } from "../../core/reading/backups.ts";
import { type Criteria, search } from "../../core/reading/search.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { backedUp } from "./integrity-sample.ts";
import { putBackup, putVelero, WIDGETS } from "./location-sample.ts";
import { refusal } from "./refusal.ts";
import { sample } from "./restore-sample.ts";

const labelled = (labels: Record<string, string>) => ({ metadata: { labels } as KubernetesObject["metadata"] });
const running = (image: string, labels = {}) => ({
  ...labelled(labels),
  spec: { template: { spec: { containers: [{ image }] } } },
});
const at = (hour: number) => `2026-11-01T0${hour}:00:00Z`;

describe("a search of backups", () => {
  let bucket: Bucket;
  before(async () => {
    bucket = memoryBucket();
    const web = (image: string) => sample("apps/v1", "Deployment", "shop/web", running(image, { app: "web" }));
    const cart = sample("v1", "ConfigMap", "shop/Cart", labelled({ tier: "back", app: "cart" }));
    const gear = sample("example.com/v1", "Widget", "blog/gear");
    await putBackup(bucket, "c", [web("acme/web:2"), cart, WIDGETS, gear], { at: at(3) });
    await putBackup(bucket, "a", [web("acme/web:1"), cart], {
      at: at(1),
      labels: { "velero.io/schedule-name": "hourly" },
    });
    await putBackup(bucket, "b", [web("acme/web:2"), sample("v1", "Node", "web-1")], { at: at(2) });
  });
  const found = async (criteria: Criteria, choice: BackupChoice = {}) =>
    (await search(bucket, { criteria, ...choice })).objects.map(
      ({ resource, namespace, name, backups, first, last }) =>
        `${resource} ${namespace}/${name} ${backups} ${first.backup}-${last.backup}`,
    );

  const WEB = "deployments.apps shop/web 3 a-c";
  const CART = "configmaps shop/Cart 2 a-c";
  const GEAR = "widgets.example.com blog/gear 1 c-c";
  const DEFINITION = "customresourcedefinitions.apiextensions.k8s.io /widgets.example.com 1 c-c";
  const cases: [Criteria, BackupChoice, string[]][] = [
    [{ text: "web" }, {}, [WEB, "nodes /web-1 1 b-b"]],
    [{ text: "cArT" }, {}, [CART]],
    [{ text: "web:1" }, {}, ["deployments.apps shop/web 1 a-a"]],
    [{ text: "tier=ba" }, {}, [CART]],
    [{ text: "shop" }, {}, [CART, WEB]],
    [{ text: "sho", kind: "deploy" }, {}, [WEB]],
    [{ kind: "Deployment.apps" }, {}, [WEB]],
    [{ kind: "wd" }, {}, [GEAR]],
    [{ kind: "Widget" }, {}, [GEAR]],
    [{ kind: "crd" }, {}, [DEFINITION]],
    [{ name: "web" }, {}, [WEB]],
    [{ name: "web*" }, {}, [WEB, "nodes /web-1 1 b-b"]],
    [{ name: "?eb-[0-9]" }, {}, ["nodes /web-1 1 b-b"]],
    [{ namespace: "blog" }, {}, [GEAR]],
    [{ namespace: "b*", kind: "cm" }, {}, []],
    [{ image: "ACME/web:2" }, {}, ["deployments.apps shop/web 2 b-c"]],
    [{ label: "app=cart,tier!=front" }, {}, [CART]],
    [{ label: "app in (cart, web)" }, {}, [CART, WEB]],
    [{ text: "web" }, { backups: ["b", "a"] }, ["deployments.apps shop/web 2 a-b", "nodes /web-1 1 b-b"]],
    [{ text: "web" }, { schedule: "hourly" }, ["deployments.apps shop/web 1 a-a"]],
    [{ text: "uid-widgets" }, {}, []],
  ];
  for (const [criteria, choice, objects] of cases) {
    it(`finds ${JSON.stringify({ ...criteria, ...choice })}`, async () =>
      assert.deepEqual(await found(criteria, choice), objects));
  }

  const refusals: [Criteria, BackupChoice, string][] = [
    [{}, {}, "invalid | nothing is looked for | give a text, or a kind, a name, a namespace, an image or a label"],
    [
      { text: "" },
      {},
      "invalid | nothing is looked for | give a text, or a kind, a name, a namespace, an image or a label",
    ],
    [
      { text: "web" },
      { schedule: "nightly" },
      'missing | schedule "nightly" has no backup in memory:// | "lifeboat backup get" lists what there is',
    ],
    [
      { text: "web" },
      { backups: ["d"] },
      'missing | there is no backup "d" in memory:// | "lifeboat backup get" lists what there is',
    ],
  ];
  for (const [criteria, choice, says] of refusals) {
    it(`refuses ${JSON.stringify({ ...criteria, ...choice })}`, async () =>
      assert.equal(await refusal(search(bucket, { criteria, ...choice })), says));
  }

  it("says which kind may have been meant", async () => {
    const { objects, warnings } = await search(bucket, { criteria: { kind: "deploymnt" } });
    assert.deepEqual(
      [objects, warnings],
      [[], [{ message: 'no kind "deploymnt" is known here: did you mean deployment?' }]],
    );
  });

  it("tells of no more objects than it may, those of the newest backups", async () => {
    const { objects, cut } = await search(bucket, { criteria: { text: "web" } }, { most: 1 });
    assert.deepEqual([objects.map(({ name }) => name), cut], [["web"], true]);
  });
});

it("a search names the backups that it can't read, and answers for the others", async () => {
  const bucket = memoryBucket();
  const web = sample("apps/v1", "Deployment", "shop/web");
  await putBackup(bucket, "whole", [web]);
  await putVelero(bucket, "velero", [web]);
  await putBackup(bucket, "damaged", [web]);
  const { index } = backupKeys("damaged");
  const bytes = Buffer.concat(await Array.fromAsync(await bucket.get(index)));
  bytes[100]! ^= 1;
  await bucket.delete(index);
  await bucket.put(index, bytes);
  const identity = await generateX25519Identity();
  const recipients = [await identityToRecipient(identity)];
  await backedUp([web], "sealed", bucket, { recipients });
  const secret = sample("v1", "Secret", "shop/db", { type: "Opaque" });
  await backedUp([web, secret], "secretive", bucket, { recipients, spec: { secrets: "encrypt" } });
  await bucket.put(backupKeys("odd").metadata, Buffer.from("{}"));

  const { objects, searched, warnings } = await search(
    unlocked(bucket, async () => []),
    { criteria: { name: "web" } },
  );
  assert.deepEqual(
    objects.map(({ name, backups }) => [name, backups]),
    [["web", 2]],
  );
  assert.equal(searched, 2);
  const messages = warnings.map(({ message }) => message).sort();
  assert.equal(messages.length, 5);
  assert.match(messages[0]!, /^Secrets were not looked at in secretive: backups.secretive.*is encrypted/);
  assert.match(messages[1]!, /^backup "damaged" can't be read: the index .* is damaged: a part of it differs/);
  assert.match(messages[2]!, /^backup "odd" can't be read: /);
  assert.match(messages[3]!, /^backup "sealed" can't be read: .*is encrypted/);
  assert.equal(messages[4], "without an index, as Velero's, and so not looked into: velero");

  const opened = unlocked(bucket, async () => [identity]);
  const { objects: all } = await search(opened, { criteria: { namespace: "shop" } });
  assert.deepEqual(
    all.map(({ name, backups }) => [name, backups]),
    [
      ["web", 3],
      ["db", 1],
    ],
  );
});

describe("a search by scanning", () => {
  const text = fc.string({ unit: fc.constantFrom(...'aAbB"\\é=,:{}İ\u{1f600}\u0001n/u'), minLength: 1, maxLength: 5 });
  const name = text.map((one) => `x${one.replaceAll("/", "-").replaceAll("\u0001", "-")}`);
  const labels = fc.dictionary(
    fc.oneof(text, fc.constantFrom("uid", "labels", "segment", "images", "__proto__")),
    text,
    { maxKeys: 3 },
  );
  const item = fc.record({ name, namespace: name, labels, image: text });
  const criteria = fc.record(
    { text, name, namespace: name, image: text, kind: fc.constantFrom("pods", "Pod", "cm") },
    { requiredKeys: [] },
  );

  it("finds what looking at every object finds", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(item, { maxLength: 6 }), { minLength: 1, maxLength: 3 }),
        criteria,
        fc.nat(),
        fc.boolean(),
        async (all, drawn, which, fromOne) => {
          const bucket = memoryBucket();
          const some = all.flat();
          const one = some[which % Math.max(1, some.length)];
          // Mostly something that is there.
          const wanted: Criteria =
            fromOne && one
              ? { text: [...one.image].slice(0, 2).join(""), ...pick(one, which) }
              : { text: "a", ...drawn };
          for (const [hour, items] of all.entries()) {
            const pods = items.map(({ image, labels, ...place }) =>
              sample("v1", "Pod", "", { metadata: { ...place, labels }, spec: { containers: [{ image }] } }),
            );
            await putBackup(bucket, `b${hour}`, [...new Map(pods.map((pod) => [placeOf(pod), pod])).values()], {
              at: at(hour),
            });
          }
          const { objects } = await search(bucket, { criteria: wanted });
          const counted = new Map<string, number>();
          for (const items of all)
            for (const one of new Map(items.map((item) => [`${item.namespace}/${item.name}`, item])).values())
              if (isWanted(one, wanted)) {
                const place = `${one.namespace}/${one.name}`;
                counted.set(place, (counted.get(place) ?? 0) + 1);
              }
          assert.deepEqual(
            new Map(objects.map(({ namespace, name, backups }) => [`${namespace}/${name}`, backups])),
            new Map(counted),
          );
        },
      ),
      { numRuns: 300 },
    );
  });

  interface Item {
    name: string;
    namespace: string;
    labels: Record<string, string>;
    image: string;
  }
  const placeOf = ({ metadata }: KubernetesObject) => `${metadata.namespace}/${metadata.name}`;
  const pick = ({ name, namespace }: Item, which: number) => [{}, { name }, { namespace }][which % 3];
  const lower = (one: string) => [...one].map((char) => (/[A-Z]/.test(char) ? char.toLowerCase() : char)).join("");
  function isWanted({ name, namespace, labels, image }: Item, wanted: Criteria): boolean {
    const pairs = Object.keys(labels).map((key) => `${key}=${labels[key]}`);
    return (
      wanted.kind !== "cm" &&
      [name, namespace, image, ...pairs].some((one) => lower(one).includes(lower(wanted.text!))) &&
      (wanted.image === undefined || lower(image).includes(lower(wanted.image))) &&
      (wanted.name === undefined || name === wanted.name) &&
      (wanted.namespace === undefined || namespace === wanted.namespace)
    );
  }
});
