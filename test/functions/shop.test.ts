import assert from "node:assert/strict";
import { test } from "node:test";
import { startApiServer } from "../../core/apiserver/server.ts";
import { shopObjects } from "../../functions/cli/demo/shop.ts";

const objects = shopObjects();
const line = ({ apiVersion, kind, metadata }: (typeof objects)[number]) =>
  `${apiVersion} ${kind} ${metadata.namespace ?? ""}/${metadata.name}`;

test("the shop is always the same, and nothing in it is there twice", () => {
  assert.deepEqual(shopObjects(), objects);
  assert.equal(new Set(objects.map(line)).size, objects.length);
  assert.equal(new Set(objects.map(({ metadata }) => metadata.uid)).size, objects.length);
});

test("every owner is in it, under the uid that is referred to", () => {
  const owners = new Map(objects.map((object) => [object.metadata.uid, object]));
  const owned = objects.flatMap(({ metadata }) => metadata.ownerReferences ?? []);
  assert.ok(owned.length > 50);
  for (const { kind, name, uid } of owned) {
    const owner = owners.get(uid);
    assert.deepEqual([owner?.kind, owner?.metadata.name], [kind, name]);
  }
});

test("a server holds all of it", async () => {
  const [empty, shop] = [await startApiServer(), await startApiServer({ objects })];
  try {
    assert.ok(shop.count() > empty.count() + objects.length);
    const pods = (await (await fetch(`${shop.url}/api/v1/pods?fieldSelector=status.phase%3DRunning`)).json()) as {
      items: object[];
    };
    assert.equal(pods.items.length, objects.filter(({ kind }) => kind === "Pod").length - 1);
  } finally {
    await Promise.all([empty.stop(), shop.stop()]);
  }
});
