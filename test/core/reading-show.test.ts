import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { type IndexEntry, readFooter, writeIndex } from "../../core/archive/index.ts";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { openArchive } from "../../core/archive/reader.ts";
import { bucketSource } from "../../core/archive/source.ts";
import { readBackup } from "../../core/catalog.ts";
import { unlocked } from "../../core/encryption/buckets.ts";
import { backupKeys } from "../../core/layout.ts";
import type { Bucket } from "../../core/ports.ts";
import { findItem, readItem } from "../../core/reading/find.ts";
import { showItem } from "../../core/reading/show.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { collect } from "./archive-sample.ts";
import { backedUp } from "./integrity-sample.ts";
import { putBackup, putVelero, WIDGETS } from "./location-sample.ts";
import { refusal } from "./refusal.ts";
import { sample } from "./restore-sample.ts";

const SECRET = sample("v1", "Secret", "shop/db", {
  metadata: {
    ...{ name: "db", namespace: "shop", uid: "u", labels: { app: "db" } },
    annotations: { "kubectl.kubernetes.io/last-applied-configuration": '{"data":{"password":"c2VjcmV0"}}' },
    managedFields: [{ manager: "kubectl" }],
  },
  type: "Opaque",
  data: { password: "c2VjcmV0", user: "cm9vdA==" },
  stringData: { more: "secret" },
  odd: ["secret"],
});
const OBJECTS: KubernetesObject[] = [
  SECRET,
  WIDGETS,
  sample("apps/v1", "Deployment", "shop/web"),
  sample("apps/v1", "Deployment", "blog/web"),
  sample("apps/v1", "Deployment", "shop/cart", { spec: { big: JSON.rawJSON("12345678901234567890") } }),
  sample("rbac.authorization.k8s.io/v1", "ClusterRole", "admin"),
  sample("example.com/v1", "Widget", "shop/gear"),
];

describe("an object of a backup", () => {
  let bucket: Bucket;
  before(async () => {
    bucket = memoryBucket();
    await putBackup(bucket, "full", OBJECTS);
  });
  const show = async (item: string, options = {}) => showItem(bucket, { backup: "full", item }, options);

  const names: [item: string, shown: string][] = [
    ["shop/deployments.apps/web", "Deployment shop/web"],
    ["shop/deployments/web", "Deployment shop/web"],
    ["shop/deploy/web", "Deployment shop/web"],
    ["blog/Deployment/web", "Deployment blog/web"],
    ["deploy/cart", "Deployment shop/cart"],
    ["clusterroles/admin", "ClusterRole undefined/admin"],
    ["crd/widgets.example.com", "CustomResourceDefinition undefined/widgets.example.com"],
    ["shop/widgets.example.com/gear", "Widget shop/gear"],
    ["shop/widgets/gear", "Widget shop/gear"],
    ["shop/Widget/gear", "Widget shop/gear"],
    ["wd/gear", "Widget shop/gear"],
  ];
  for (const [item, shown] of names) {
    it(`is found as ${item}`, async () => {
      const { kind, metadata } = (await show(item)).object;
      assert.equal(`${kind} ${metadata.namespace}/${metadata.name}`, shown);
    });
  }

  const refusals: [item: string, says: string][] = [
    [
      "web",
      'invalid | "web" names no object | write it like shop/deployments.apps/web, a cluster-scoped one like clusterroles/admin',
    ],
    [
      "deploy/web",
      'invalid | "web" is in several namespaces | say which: blog/deployments.apps/web, shop/deployments.apps/web',
    ],
    [
      "shop/deploy/webb",
      `missing | backup "full" doesn't hold "shop/deploy/webb" | it holds shop/deploy/web, shop/deploy/cart`,
    ],
    ["nope/wd/gear", `missing | backup "full" doesn't hold "nope/wd/gear" | it holds shop/wd/gear`],
    ["shop/deploymnt/web", 'missing | backup "full" holds no kind "deploymnt" | did you mean deployment?'],
    ["pods/web", 'missing | backup "full" holds no pods'],
  ];
  for (const [item, says] of refusals) {
    it(`is refused as ${item}`, async () => assert.equal(await refusal(show(item)), says));
  }

  it("tells digits as they are", async () => {
    assert.match(JSON.stringify((await show("deploy/cart")).object), /"big":12345678901234567890/);
  });

  it("shows a Secret's values only where asked", async () => {
    const { object, hidden } = await show("shop/secrets/db");
    assert.ok(hidden);
    assert.deepEqual(object, {
      ...{ apiVersion: "v1", kind: "Secret", type: "Opaque" },
      metadata: {
        ...{ name: "db", namespace: "shop", resourceVersion: "1", uid: "u", labels: { app: "db" } },
        annotations: { "kubectl.kubernetes.io/last-applied-configuration": "(hidden)" },
      },
      data: { password: "(hidden)", user: "(hidden)" },
      stringData: { more: "(hidden)" },
      odd: "(hidden)",
    });
    assert.deepEqual(await show("shop/secrets/db", { secrets: true, managedFields: true }), {
      object: SECRET,
      hidden: false,
    });
  });

  it("is read out of Velero's archives too, which are read whole, and one is told so", async () => {
    const velero = memoryBucket();
    await putVelero(velero, "full", OBJECTS);
    const told: string[] = [];
    const { object } = await showItem(
      velero,
      { backup: "full", item: "shop/deploy/web" },
      { whole: (name, bytes) => told.push(`${name} ${bytes > 0}`) },
    );
    assert.deepEqual(object, OBJECTS[2]);
    assert.deepEqual(told, ["full true"]);
  });

  it("is no Secret where they were left out of the backup, or are encrypted to others", async () => {
    const identity = await generateX25519Identity();
    const recipients = [await identityToRecipient(identity)];
    const at = { backup: "full", item: "shop/secrets/db" };
    const web = { backup: "full", item: "shop/deploy/web" };
    const readable = (bucket: Bucket, ...identities: string[]) => unlocked(bucket, async () => identities);
    const omitted = await backedUp(OBJECTS, "full", undefined, { spec: { secrets: "omit" } });
    assert.equal(await refusal(showItem(omitted, at)), 'missing | Secrets were left out of backup "full"');
    const sealed = await backedUp(OBJECTS, "full", undefined, { spec: { secrets: "encrypt" }, recipients });
    assert.match(
      await refusal(showItem(readable(sealed), at)),
      /^denied \| backups.full.full-secrets.tar.gz.age is encrypted/,
    );
    assert.equal((await showItem(readable(sealed), web)).object.metadata.name, "web");
    const opened = readable(sealed, identity);
    assert.equal((await showItem(opened, at, { secrets: true })).object.type, "Opaque");
    const whole = await backedUp(OBJECTS, "full", undefined, { recipients });
    assert.match(await refusal(showItem(readable(whole), web)), /^denied/);
    assert.equal((await showItem(readable(whole, identity), web)).object.metadata.name, "web");
  });

  it("of a backup that isn't there, or in another format, is not", async () => {
    assert.match(
      await refusal(showItem(bucket, { backup: "none", item: "a/b" })),
      /^missing \| there is no backup "none"/,
    );
    const newer = memoryBucket();
    const record = { kind: "Backup", metadata: { name: "b" }, status: { formatVersion: "2.0.0" } };
    await newer.put(backupKeys("b").metadata, Buffer.from(JSON.stringify(record)));
    assert.match(
      await refusal(showItem(newer, { backup: "b", item: "a/b" })),
      /^invalid \| backup "b" is in format 2.0.0/,
    );
  });
});

it("one object of an archive of 200 MB costs less than 3 MB", async () => {
  const FILLER = 200 << 20;
  const keys = backupKeys("big");
  const small = memoryBucket();
  const many = Array.from({ length: 20_000 }, (_, i) =>
    sample("v1", "ConfigMap", `ns-${i % 40}/settings-${i}`, { data: { i } }),
  );
  await putBackup(small, "big", many);
  const archive = await openArchive(small, keys);
  const { segments, files } = await readFooter((await bucketSource(small, keys.index))!);

  // The same items behind a first segment that nobody reads.
  const index = writeIndex(() => {});
  const bytes = collect(index.out);
  for await (const entry of archive.entries())
    await index.add({ ...entry, segment: entry.segment + 1 } satisfies IndexEntry);
  const filler = { offset: 0, length: FILLER, raw: FILLER, sha256: "" };
  const behind = segments.map((segment) => ({ ...segment, offset: segment.offset + FILLER }));
  await index.finish({ ...archive.totals, segments: [filler, ...behind], files });
  await small.delete(keys.index);
  await small.put(keys.index, await bytes);

  let read = 0;
  const bucket: Bucket = {
    ...small,
    async get(key, options = {}) {
      const { range } = options;
      const shift = key === keys.tar ? FILLER : 0;
      const moved = range && { start: range.start - shift, end: range.end - shift };
      const body = await collect(await small.get(key, { ...options, range: moved }));
      read += body.length;
      return [body] as unknown as AsyncIterable<Buffer>;
    },
    async *list(prefix, options) {
      for await (const listed of small.list(prefix, options))
        yield listed.key === keys.tar ? { ...listed, size: listed.size + FILLER } : listed;
    },
  };
  for (const item of ["ns-7/cm/settings-7", "configmaps/settings-19999"]) {
    read = 0;
    const big = { record: await readBackup(small, "big"), archive: await openArchive(bucket, keys) };
    const body = await readItem(big.archive, await findItem(big, item));
    assert.match(JSON.parse(String(body)).metadata.name, /^settings-/);
    assert.ok(read < 3e6, `${item} cost ${read} bytes`);
  }
});
