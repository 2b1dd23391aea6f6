import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import type { KubernetesObject } from "../../core/archive/item.ts";
import type { BackupSpec } from "../../core/backup/scope.ts";
import { isLifeboatError } from "../../core/errors.ts";
import type { VerifyDocument } from "../../core/integrity/document.ts";
import { verifyBackup, verifyLocation } from "../../core/integrity/verify.ts";
import { backupKeys, lockFolder } from "../../core/layout.ts";
import { startRunLog } from "../../core/log.ts";
import type { Bucket } from "../../core/ports.ts";
import { runRestore } from "../../core/restore/run.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { tarOf } from "./archive-sample.ts";
import { backedUp, backupOf, bucketWith, filesIn, settings, signal } from "./integrity-sample.ts";
import { watchedKube } from "./restore-sample.ts";

const keys = backupKeys("b");
const otherKeys = backupKeys("a");
let files: Map<string, Buffer>;
/** Of another cluster's backup, by the same keys. */
let others: Map<string, Buffer>;

before(async () => {
  files = await filesIn(await backedUp(settings(160)), keys.folder);
  const another = await filesIn(await backedUp(settings(200, 1), "a"), otherKeys.folder);
  const here = (key: string) => keys.folder + key.slice(otherKeys.folder.length).replace(/^a(?=[-.])/, "b");
  others = new Map([...another].map(([key, body]) => [here(key), body]));
});

type Change = { what: string; key: string; body: Buffer | undefined };

const changed = ({ key, body }: Pick<Change, "key" | "body">): Promise<Bucket> => {
  const left = new Map(files);
  if (body) left.set(key, body);
  else left.delete(key);
  return bucketWith(left);
};

function flipped(body: Buffer, at: number): Buffer {
  const copy = Buffer.from(body);
  copy[at]! ^= 1 << Math.floor(Math.random() * 8);
  return copy;
}

/** A byte changed in so many places all over a file, its first and last twenty among them. */
function flips(key: string, count: number): Change[] {
  const body = files.get(key)!;
  const edges = [...Array(20).keys()].flatMap((i) => [i, body.length - 1 - i]);
  const spread = [...Array(count).keys()].map((i) => Math.floor(((i + Math.random()) * body.length) / count));
  return [...edges, ...spread].map((at) => ({ what: `a flip at ${at}`, key, body: flipped(body, at) }));
}

/** What can befall each file: it is cut off, is that of another backup, or is gone. */
function mishaps(): Change[] {
  return [...files].flatMap(([key, body]) => {
    const cuts = [0, 1, Math.floor(body.length / 2), body.length - 1].map((end) => ({
      ...{ what: `cut off at ${end}`, key, body: body.subarray(0, end) },
    }));
    const other = others.get(key)!;
    const swapped = other.equals(body) ? [] : [{ what: "another backup's", key, body: other }];
    const gone = key === keys.metadata ? [] : [{ what: "gone", key, body: undefined }];
    return [...cuts, ...swapped, ...gone, { what: "longer", key, body: Buffer.concat([body, Buffer.from("\n")]) }];
  });
}

/** An index that says something else, in gzip as good as any. */
function editedIndexes(): Change[] {
  const text = gunzipSync(files.get(keys.index)!).toString();
  const edited = text.replace('"name":"settings-7"', '"name":"settings-x"');
  assert.notEqual(edited, text);
  const key = keys.index;
  return [
    { what: "edited", key, body: gzipSync(edited) },
    { what: "compressed anew", key, body: gzipSync(text) },
  ];
}

/** That the file, and no other, is named, and no place in it twice. */
function checkNamed({ what, key }: Change, { ok, damaged }: VerifyDocument): void {
  const places = damaged.map((damage) => `${damage.key} ${damage.path}`);
  assert.equal(new Set(places).size, places.length, JSON.stringify(damaged));
  const named = [...new Set(damaged.map((damage) => damage.key))];
  assert.deepEqual({ ok, named }, { ok: false, named: [key] }, `${key} ${what}: ${JSON.stringify(damaged)}`);
}

describe("verify", () => {
  it("finds nothing in a backup that is as it was made, however much is read, and says what it left out", async () => {
    const bucket = await changed({ key: "x", body: undefined });
    const all = await verifyBackup(bucket, "b", { read: 1 });
    assert.deepEqual([all.ok, all.damaged, all.unchecked], [true, [], []]);
    assert.equal(all.files, files.size);
    assert.ok(all.segments!.total > 1 && all.segments!.read === all.segments!.total);
    const half = await verifyBackup(bucket, "b", { read: 0.5 });
    assert.deepEqual(half.unchecked, ["the data of 1 of 2 segments"]);
    const none = await verifyBackup(bucket, "b");
    assert.deepEqual([none.ok, none.unchecked], [true, ["the data of 2 of 2 segments"]]);
  });

  it("names every file but the archive in which a byte was changed, and without reading the archive", async () => {
    for (const key of [...files.keys()].filter((key) => key !== keys.tar))
      for (const change of flips(key, 20)) checkNamed(change, await verifyBackup(await changed(change), "b"));
  });

  it("names the archive in which a byte was changed, and what of it is lost, where its data is read", async () => {
    for (const change of flips(keys.tar, 160)) {
      const document = await verifyBackup(await changed(change), "b", { read: 1 });
      checkNamed(change, document);
      assert.ok(document.damaged.some(({ path }) => path?.startsWith("resources/")));
    }
  });

  it("finds the changed byte of an archive in a sample that holds it", async () => {
    const change = { what: "", key: keys.tar, body: flipped(files.get(keys.tar)!, 1000) };
    const bucket = await changed(change);
    const found = new Set<boolean>();
    while (found.size < 2) found.add((await verifyBackup(bucket, "b", { read: 0.5 })).ok);
  });

  it("names every file that is cut off, longer, gone, or another backup's", async () => {
    for (const change of mishaps()) {
      const read = change.what.startsWith("another") ? 1 : 0;
      checkNamed(change, await verifyBackup(await changed(change), "b", { read }));
    }
  });

  it("names an index that was edited, though it is good gzip", async () => {
    for (const change of editedIndexes()) checkNamed(change, await verifyBackup(await changed(change), "b"));
  });

  it("names files that don't belong there", async () => {
    for (const name of ["b-extra.json.gz", "velero-backup.json.bak", "a/b.tar.gz", "b-csi-volumesnapshots.json.gz"]) {
      const change = { what: "extra", key: keys.folder + name, body: gzipSync("[]") };
      checkNamed(change, await verifyBackup(await changed(change), "b"));
    }
  });

  it("names all that is damaged at once", async () => {
    const bucket = await bucketWith([...files].map(([key, body]) => [key, flipped(body, body.length - 1)]));
    const { damaged } = await verifyBackup(bucket, "b", { read: 1 });
    assert.ok(new Set(damaged.map(({ key }) => key)).has(keys.metadata));
    const left = new Map([...files].map(([key, body]) => [key, key === keys.metadata ? body : flipped(body, 9)]));
    const named = new Set((await verifyBackup(await bucketWith(left), "b")).damaged.map(({ key }) => key));
    assert.deepEqual(
      [...named].sort(),
      [...files.keys()].filter((key) => key !== keys.metadata && key !== keys.tar),
    );
  });

  it("throws missing where the record is gone, and names the folder", async () => {
    const bucket = await changed({ key: keys.metadata, body: undefined });
    await assert.rejects(verifyBackup(bucket, "b"), {
      kind: "missing",
      message: /backups\/b\/ holds \d+ files, but no /,
    });
    await assert.rejects(verifyBackup(memoryBucket(), "b"), { kind: "missing", message: /there is no backup "b"/ });
  });
});

describe("verify of a location", () => {
  it("tells of every backup, and of folders that are none, unless a run is at work on them", async () => {
    const bucket = await changed({ key: keys.log, body: Buffer.from("x") });
    for (const [key, body] of await filesIn(await backedUp(settings(1), "good"))) await bucket.put(key, body);
    for (const folder of ["orphan", "busy", "Not_A-Name"])
      await bucket.put(`backups/${folder}/x.tar.gz`, Buffer.from("x"));
    const rung = Buffer.from(JSON.stringify({ run: "r", state: "held" }));
    await bucket.put(`${lockFolder("backups", "busy")}000001.json`, rung);
    const { ok, backups, orphans } = await verifyLocation(bucket);
    assert.equal(ok, false);
    assert.deepEqual(
      backups.map(({ name, ok, damaged }) => [name, ok, damaged.map(({ key }) => key)]),
      [
        ["b", false, [keys.log]],
        ["good", true, []],
      ],
    );
    assert.deepEqual(
      orphans.map(({ folder }) => folder),
      ["backups/Not_A-Name/", "backups/orphan/"],
    );
  });
});

describe("a restore from a damaged backup", () => {
  let server: ApiServer;
  let kube: ReturnType<typeof watchedKube>;
  before(async () => {
    server = await startApiServer();
    kube = watchedKube(server.kubeconfig);
  });
  after(async () => {
    await kube.close();
    await server.stop();
  });
  let runs = 0;
  const run = async (bucket: Bucket) => {
    kube.writes.length = 0;
    const input = { kube, bucket, name: `r-${++runs}`, spec: { backupName: "b" }, log: startRunLog({}), signal };
    return runRestore(input).catch((error: unknown) => {
      if (isLifeboatError(error)) return error;
      throw error;
    });
  };

  it("writes nothing, whatever befell what it reads", async () => {
    const read = [keys.metadata, keys.index, keys.tar];
    const changes = [...mishaps(), ...editedIndexes(), ...read.flatMap((key) => flips(key, 10))].filter(
      ({ key, what }) => read.includes(key) && !(key === keys.index && what === "gone"),
    );
    assert.ok(changes.length > 150);
    for (const change of changes) {
      const ended = await run(await changed(change));
      const kind = isLifeboatError(ended) ? ended.kind : "restored";
      const expected = change.what === "gone" ? "missing" : "corrupt";
      assert.deepEqual([kind, kube.writes], [expected, []], `${change.key} ${change.what}: ${ended}`);
    }
  });

  it("restores all where only what it doesn't read is damaged, or an index is gone that can be made again", async () => {
    for (const key of [keys.log, keys.index]) {
      const ended = await run(await changed({ key, body: undefined }));
      assert.ok(!isLifeboatError(ended), String(ended));
      assert.equal(ended.record.status.phase, "Completed");
    }
  });
});

describe("verify of a backup of Velero", () => {
  const record = {
    ...{ apiVersion: "velero.io/v1", kind: "Backup", metadata: { name: "b" } },
    status: { phase: "Completed", progress: { totalItems: 1, itemsBackedUp: 1 } },
  };
  const tarball = async (text = "{}") =>
    gzipSync(await tarOf({ "metadata/version": "1.1.0\n", "resources/pods/namespaces/shop/web.json": text }));
  const velero = async (change: Record<string, Buffer | undefined> = {}) => {
    const all: Record<string, Buffer | undefined> = {
      [keys.metadata]: Buffer.from(JSON.stringify(record)),
      [keys.tar]: await tarball(),
      [keys.log]: gzipSync("hello\n"),
      [keys.resourceList]: gzipSync('{"v1/Pod":["shop/web"]}'),
      ...change,
    };
    return bucketWith(Object.entries(all).filter((file): file is [string, Buffer] => file[1] !== undefined));
  };

  it("finds nothing, and says that it has no digests", async () => {
    const { ok, unchecked, items } = await verifyBackup(await velero(), "b");
    assert.deepEqual([ok, items], [true, 1]);
    assert.match(unchecked[0]!, /no digests/);
    assert.deepEqual(unchecked.slice(1), ["the data of the archive"]);
    assert.equal((await verifyBackup(await velero(), "b", { read: 0.05 })).unchecked.length, 1);
  });

  it("finds no fault in one that failed and has no archive, nor in files that are newer than what is known", async () => {
    const failed = Buffer.from(JSON.stringify({ ...record, status: { phase: "Failed" } }));
    const bucket = await velero({ [keys.metadata]: failed, [keys.tar]: undefined, [`${keys.folder}b-new.gz`]: failed });
    const { ok, unchecked } = await verifyBackup(bucket, "b", { read: 1 });
    assert.ok(ok);
    assert.match(unchecked[1]!, /b-new\.gz/);
  });

  const damages: [what: string, key: string, body: () => Buffer | undefined | Promise<Buffer>][] = [
    ["no archive", keys.tar, () => undefined],
    ["an archive cut off", keys.tar, async () => (await tarball()).subarray(0, -20)],
    ["an archive that is no gzip", keys.tar, () => Buffer.from("hello")],
    ["an item that is no JSON", keys.tar, () => tarball("{")],
    ["a log that is no gzip", keys.log, () => Buffer.from("hello")],
    ["a list that is no JSON", keys.resourceList, () => gzipSync("hello")],
    ["a record that is no Backup", keys.metadata, () => Buffer.from("{}")],
  ];
  for (const [what, key, body] of damages) {
    it(`names ${what}`, async () => {
      const change = { what, key, body: await body() };
      checkNamed(change, await verifyBackup(await velero({ [key]: change.body }), "b", { read: 1 }));
    });
  }

  it("names the record of a backup of Lifeboat that was made to look like one of Velero", async () => {
    const change = { what: "", key: keys.metadata, body: Buffer.from(JSON.stringify(record)) };
    checkNamed(change, await verifyBackup(await changed(change), "b"));
    const bucket = await changed(change);
    await bucket.delete(keys.index);
    checkNamed(change, await verifyBackup(bucket, "b"));
  });
});

describe("no false alarm", () => {
  const object = (apiVersion: string, kind: string, name: string, namespace?: string, more: object = {}) =>
    ({ apiVersion, kind, metadata: { name, namespace, labels: { n: name.slice(-1) } }, ...more }) as KubernetesObject;

  /** A cluster of its own kind for each number. */
  function cluster(seed: number): KubernetesObject[] {
    const spaces = [...Array(1 + (seed % 4)).keys()].map((i) => `space-${seed}-${i}`);
    return [
      ...spaces.map((name) => object("v1", "Namespace", name)),
      ...spaces.flatMap((space, at) =>
        settings((seed * 7 + at * 3) % 12, at, 10 ** (seed % 5))
          .slice(1)
          .map((one) => ({ ...one, metadata: { ...one.metadata, namespace: space } })),
      ),
      ...spaces.map((space) => object("v1", "Secret", `ünïcödé-"${"x".repeat(seed)}`, space, { data: { a: "YQ==" } })),
      object("rbac.authorization.k8s.io/v1", "ClusterRole", `system:role:${seed}`, undefined, { rules: [] }),
      object("v1", "PersistentVolume", `volume-${seed}`, undefined, {
        spec: { claimRef: { namespace: "a", name: "b" } },
      }),
    ];
  }

  const SPECS: BackupSpec[] = [
    {},
    { includedNamespaces: ["space-*"] },
    { excludedNamespaces: ["kube-*"], ttl: "720h" },
    { includedResources: ["cm", "secrets"] },
    { includeClusterResources: false },
    { labelSelector: { matchLabels: { n: "1" } } },
    { labelSelector: { matchLabels: { n: "nothing" } } },
    { includedNamespaces: ["space-*", "missing"] },
    { excludedResources: ["misspelt"] },
  ];

  /** A bucket whose nth put fails. */
  const failing = (bucket: Bucket, nth: number): Bucket => {
    let puts = 0;
    return {
      ...bucket,
      async put(key, body, options) {
        if (!key.startsWith("backups/") || puts++ !== nth) return bucket.put(key, body, options);
        if (!Buffer.isBuffer(body)) for await (const _ of body);
        throw new Error("the bucket is gone");
      },
    };
  };

  it("in 200 backups of twenty clusters, interrupted ones and PartiallyFailed ones among them", async () => {
    let verified = 0;
    const phases = new Set<string>();
    for (let seed = 0; seed < 20; seed++) {
      const server = await startApiServer({ objects: cluster(seed) });
      try {
        const bucket = memoryBucket();
        for (const [at, spec] of SPECS.entries()) {
          const { record } = await backupOf(server, { bucket, name: `b-${at}`, spec });
          phases.add(record.status?.phase ?? "");
        }
        const interrupted = { name: "interrupted", spec: {} };
        await assert.rejects(backupOf(server, { bucket: failing(bucket, seed % 10), ...interrupted }));
        await backupOf(server, { bucket, ...interrupted });
        const { ok, backups, orphans } = await verifyLocation(bucket, { read: 1 });
        const wrong = backups.filter((backup) => !backup.ok || backup.unchecked.length > 0);
        assert.deepEqual([ok, wrong, orphans], [true, [], []], `cluster ${seed}`);
        verified += backups.length;
      } finally {
        await server.stop();
      }
    }
    assert.deepEqual([verified, [...phases].sort()], [200, ["Completed", "PartiallyFailed"]]);
  });
});
