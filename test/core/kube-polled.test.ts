import assert from "node:assert/strict";
import { test } from "node:test";
import { createObject, deleteObject, getObject, patchObject } from "../../core/kube/object.ts";
import { polledObjects } from "../../core/kube/polled.ts";
import { client, cut, json, serve, status } from "./kube-server.ts";

const KIND = { group: "snapshot.storage.k8s.io", version: "v1", name: "volumesnapshots", kind: "VolumeSnapshot" };
const never = new AbortController().signal;

function listed(...names: string[]) {
  const items = names.map((name) => ({ metadata: { namespace: "shop", name } }));
  return json(200, { kind: "VolumeSnapshotList", metadata: { resourceVersion: "1" }, items });
}

test("one LIST after the other tells all who wait, until nobody does", async () => {
  await using server = await serve(listed(), listed("one"), listed("one", "two"));
  await using kube = client(server);
  const looking = polledObjects(kube, KIND, { labelSelector: "run=1", pollMs: 1 });
  const names = ["shop/one", "shop/two"].map((place) => looking.until(place, (live) => live?.metadata.name, never));
  assert.deepEqual(await Promise.all(names), ["one", "two"]);
  assert.equal(server.requests.length, 3);
  assert(
    server.requests.every(({ url }) =>
      url.startsWith("/apis/snapshot.storage.k8s.io/v1/volumesnapshots?labelSelector=run%3D1"),
    ),
  );
  assert.equal(await looking.until("shop/none", (live) => !live, never), true, "it begins anew for who comes later");
});

test("who waits is told what the judge throws, what LISTs are answered, and when to end", async () => {
  await using server = await serve(listed("one"), status(403, "Forbidden", "not for you"), listed());
  await using kube = client(server);
  const looking = polledObjects(kube, KIND, { labelSelector: "run=1", pollMs: 1 });
  const judge = () => {
    throw new Error("judged");
  };
  await assert.rejects(looking.until("shop/one", judge, never), { message: "judged" });
  await assert.rejects(
    looking.until("shop/one", () => undefined, never),
    { kind: "denied" },
  );
  const ending = new AbortController();
  const waiting = looking.until("shop/one", () => void ending.abort(new Error("ended")), ending.signal);
  await assert.rejects(waiting, { message: "ended" });
});

const object = {
  apiVersion: "snapshot.storage.k8s.io/v1",
  kind: "VolumeSnapshot",
  metadata: { namespace: "shop", name: "one" },
};
const place = { namespace: "shop", name: "one" };
const conflict = status(409, "AlreadyExists", "it exists");

const CASES: {
  title: string;
  answers: Parameters<typeof serve>;
  act: (kube: Parameters<typeof getObject>[0]) => Promise<unknown>;
  want: unknown;
}[] = [
  {
    title: "an object that isn't there",
    answers: [status(404, "NotFound", "no")],
    act: (kube) => getObject(kube, KIND, place, never),
    want: undefined,
  },
  {
    title: "a change of none",
    answers: [status(404, "NotFound", "no")],
    act: (kube) => patchObject(kube, KIND, place, {}, never),
    want: undefined,
  },
  {
    title: "a deletion of none",
    answers: [status(404, "NotFound", "no")],
    act: (kube) => deleteObject(kube, KIND, place, never),
    want: undefined,
  },
  {
    title: "a deletion of another of that name",
    answers: [conflict],
    act: (kube) => deleteObject(kube, KIND, { ...place, uid: "1" }, never),
    want: undefined,
  },
  {
    title: "a creation whose answer was lost",
    answers: [cut, conflict, json(200, object)],
    act: (kube) => createObject(kube, KIND, object, never),
    want: object,
  },
];

for (const { title, answers, act, want } of CASES)
  test(`${title} is no failure`, async () => {
    await using server = await serve(...answers);
    await using kube = client(server);
    assert.deepEqual(await act(kube), want);
    assert.equal(server.requests.length, answers.length);
  });

test("an object of that name from before is a conflict", async () => {
  await using server = await serve(conflict);
  await using kube = client(server);
  await assert.rejects(createObject(kube, KIND, object, never), { kind: "conflict" });
});
