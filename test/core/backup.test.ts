import assert from "node:assert/strict";
import { generateKeyPairSync, hash, sign } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { pack } from "tar-stream";
import { startApiServer } from "../../core/apiserver/server.ts";
import type { IndexEntry } from "../../core/archive/index.ts";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { openArchive, readTar } from "../../core/archive/reader.ts";
import { backup } from "../../core/backup/backup.ts";
import type { BackupSpec } from "../../core/backup/scope.ts";
import { listBackups, readBackup, readLog } from "../../core/catalog.ts";
import { listFolder, readObject, readSideFile } from "../../core/contents.ts";
import { deleteBackup } from "../../core/delete.ts";
import { backupDocument, readFindings } from "../../core/documents.ts";
import { sealOf, signedBy } from "../../core/integrity/seal.ts";
import type { Kube } from "../../core/kube/client.ts";
import { backupKeys } from "../../core/layout.ts";
import { startRunLog } from "../../core/log.ts";
import type { Bucket } from "../../core/ports.ts";
import { problemLine } from "../../core/report.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { embeddedCluster } from "./embedded-cluster.ts";
import { backupOf } from "./integrity-sample.ts";

const { server, kube } = await embeddedCluster(cluster());

const run = (bucket: Bucket, name: string, spec: BackupSpec = {}) =>
  backup({ kube, bucket, name, spec, log: startRunLog({ backup: name }), signal: new AbortController().signal });

/** The classic paths of a backup of `spec` that do not belong to what every cluster has, without "resources/". */
async function stored(spec: BackupSpec): Promise<string[]> {
  const bucket = memoryBucket();
  await run(bucket, "b", spec);
  const paths: string[] = [];
  for await (const { path } of readTar(await bucket.get(backupKeys("b").tar))) {
    const own = /(shop|pay|secret|widget|volume|gold)/.test(path) && !path.includes("kube-root-ca.crt");
    if (own && !path.includes("-preferredversion/")) paths.push(path.replace("resources/", "").replace(".json", ""));
  }
  return paths.sort();
}

describe("what a backup holds", () => {
  const ALL = [
    "customresourcedefinitions.apiextensions.k8s.io/cluster/widgets.example.com",
    "configmaps/namespaces/pay/pay-settings",
    "configmaps/namespaces/shop/shop-settings",
    "namespaces/cluster/pay",
    "namespaces/cluster/shop",
    "persistentvolumeclaims/namespaces/shop/shop-data",
    "persistentvolumes/cluster/volume-1",
    "persistentvolumes/cluster/volume-2",
    "serviceaccounts/namespaces/pay/default",
    "serviceaccounts/namespaces/shop/default",
    "storageclasses.storage.k8s.io/cluster/gold",
    "widgets.example.com/namespaces/shop/widget-1",
  ];
  const cases: { what: string; spec: BackupSpec; expected: string[] }[] = [
    { what: "everything, without filters", spec: {}, expected: ALL },
    {
      what: "an excluded namespace does not drop the cluster-scoped objects",
      spec: { excludedNamespaces: ["pay"] },
      expected: ALL.filter((path) => !path.includes("pay")),
    },
    {
      what: "one namespace, and what its objects need",
      spec: { includedNamespaces: ["shop"] },
      expected: ALL.filter((path) => !/pay|volume-2|gold/.test(path)),
    },
    {
      what: "one namespace with all cluster-scoped objects",
      spec: { includedNamespaces: ["shop"], includeClusterResources: true },
      expected: ALL.filter((path) => !path.includes("pay")),
    },
    {
      what: "namespaces by glob",
      spec: { includedNamespaces: ["p?y"] },
      expected: ALL.filter((path) => /\/pay/.test(path)),
    },
    {
      what: "one resource by its short name, and the Namespaces it lives in",
      spec: { includedResources: ["cm", "ns"], includedNamespaces: ["shop"] },
      expected: ["configmaps/namespaces/shop/shop-settings", "namespaces/cluster/shop"],
    },
    {
      what: "no cluster-scoped objects, Namespaces among them, as with Velero",
      spec: { includeClusterResources: false, excludedResources: ["serviceaccounts"] },
      expected: ALL.filter((path) => path.includes("/namespaces/") && !path.includes("serviceaccounts")),
    },
    {
      what: "what a label selects, and all Namespaces where one is excluded (here by its label), as with Velero",
      spec: { labelSelector: { matchLabels: { app: "pay" } } },
      expected: ["configmaps/namespaces/pay/pay-settings", "namespaces/cluster/pay", "namespaces/cluster/shop"],
    },
    {
      what: "what a label selects, and what that needs, whatever the labels of it",
      spec: { labelSelector: { matchLabels: { app: "shop" } } },
      expected: ALL.filter((path) => /widget|shop-data|volume-1|cluster\/(shop|pay)/.test(path)),
    },
    {
      what: "what a label selects only once, though it is needed too",
      spec: { labelSelector: { matchLabels: { disk: "yes" } } },
      expected: [
        "namespaces/cluster/pay",
        "namespaces/cluster/shop",
        "persistentvolumeclaims/namespaces/shop/shop-data",
        "persistentvolumes/cluster/volume-1",
      ],
    },
  ];
  for (const { what, spec, expected } of cases) {
    it(what, async () => assert.deepEqual(await stored(spec), expected.toSorted()));
  }

  const misspelt: [what: string, spec: BackupSpec, error: RegExp][] = [
    ["a missing namespace", { includedNamespaces: ["shop", "nowhere"] }, /no Namespace "nowhere"/],
    ["a glob that matches no namespace", { includedNamespaces: ["shop", "x*"] }, /no Namespace "x\*"/],
    ["a resource that nothing serves", { includedResources: ["cm", "deploymnets"] }, /no resource "deploymnets"/],
  ];
  const overlooked: [what: string, spec: BackupSpec, warning: RegExp][] = [
    ["an exclude that matches nothing", { excludedResources: ["secrtes"] }, /no resource "secrtes"/],
    [
      "a selector that selects nothing",
      { labelSelector: { matchLabels: { app: "pya" } } },
      /the backup holds only Namespaces/,
    ],
  ];
  for (const [what, spec, warning] of overlooked) {
    it(`warns of ${what}`, async () => {
      const { record, outcome } = await run(memoryBucket(), "b", spec);
      assert.equal(record.status?.phase, "Completed");
      assert.equal(outcome.warnings.length, 1);
      assert.match(outcome.warnings[0]!.message, warning);
    });
  }

  for (const [what, spec, error] of misspelt) {
    it(`names ${what} as an error, and stores the rest`, async () => {
      const { record, outcome } = await run(memoryBucket(), "b", spec);
      assert.equal(record.status?.phase, "PartiallyFailed");
      assert.equal(outcome.errors.length, 1);
      assert.match(outcome.errors[0]!.message, error);
      assert.ok(outcome.items > 1);
    });
  }

  const refused: [what: string, spec: BackupSpec][] = [
    ["the same namespace in both lists", { includedNamespaces: ["a"], excludedNamespaces: ["a"] }],
    ["an exclude of everything", { excludedResources: ["*"] }],
  ];
  for (const [what, spec] of refused) {
    it(`refuses ${what}, and writes nothing`, async () => {
      const bucket = memoryBucket();
      await assert.rejects(run(bucket, "b", spec), { kind: "invalid" });
      assert.equal((await listFolder(bucket, "")).size, 0);
    });
  }
});

describe("a backup in its bucket", () => {
  it("has all of Velero's files, and is listed", async () => {
    const bucket = memoryBucket();
    const { record } = await run(bucket, "full");
    const { folder, ...keys } = backupKeys("full");
    assert.deepEqual([...(await listFolder(bucket, folder)).keys()], Object.values(keys).sort());
    assert.deepEqual(await readBackup(bucket, "full"), JSON.parse(JSON.stringify(record)));
    assert.deepEqual(
      (await listBackups(bucket)).map(({ name }) => name),
      ["full"],
    );
    const list = JSON.parse((await readSideFile(bucket, keys.resourceList))!) as Record<string, string[]>;
    assert.deepEqual(list["example.com/v1/Widget"], ["shop/widget-1"]);
    const volumes = JSON.parse((await readSideFile(bucket, keys.volumeInfo))!) as {
      pvName: string;
      pvcName?: string;
    }[];
    assert.deepEqual(
      volumes.map(({ pvName, pvcName }) => [pvName, pvcName]),
      [
        ["volume-1", "shop-data"],
        ["volume-2", undefined],
      ],
    );
    assert.match(await readLog(bucket, "backups", "full"), /Backed up a total of \d+ items/);
  });

  it("tells what a restore would miss, in a file of its own; so does one that is adopted", async () => {
    const [whole, killed, only] = [memoryBucket(), memoryBucket(), memoryBucket()];
    const { record, outcome } = await run(whole, "full");
    const findings = await readFindings(whole, record);
    assert.deepEqual(
      findings?.map(({ rule, ...problem }) => `${rule} ${problemLine(problem)}`.slice(0, 60)),
      ["claim-without-data persistentvolumeclaims shop/shop-data: it"],
    );
    assert.deepEqual(findings, outcome.findings);
    assert.equal(backupDocument(record, "", outcome).findingCount, 1);
    await assert.rejects(run(failingAt(killed, 2), "full"));
    const adopted = await run(killed, "full");
    assert.ok(adopted.adopted);
    assert.deepEqual(await readFindings(killed, adopted.record), findings);

    const names = new Map([["persistentvolumeclaims", new Set(["shop/shop-data"])]]);
    const log = startRunLog({ backup: "full" });
    const { signal } = new AbortController();
    const single = await backup({ kube, bucket: only, name: "full", spec: {}, only: { names }, log, signal });
    assert.equal(single.outcome.items, 1);
    assert.equal(await readFindings(only, single.record), undefined, "single objects don't stand for themselves");
  });

  it("is never made twice", async () => {
    const bucket = memoryBucket();
    await run(bucket, "full");
    await assert.rejects(run(bucket, "full"), { kind: "conflict", message: /already exists/ });
  });

  it("can be deleted, and then made again", async () => {
    const bucket = memoryBucket();
    await run(bucket, "full");
    await deleteBackup(bucket, "full");
    assert.equal((await listFolder(bucket, "")).size, 0);
    await assert.rejects(deleteBackup(bucket, "full"), { kind: "missing" });
    await run(bucket, "full");
  });

  it("that an interrupted deletion left behind is in the way, and can be deleted again", async () => {
    const keys = Object.keys(backupKeys("full")).length - 1;
    for (let cut = 1; cut < keys; cut++) {
      const bucket = memoryBucket();
      await run(bucket, "full");
      let deleted = 0;
      const cutting: Bucket = {
        ...bucket,
        delete: async (key) => (deleted++ < cut ? bucket.delete(key) : assert.fail("the connection is cut")),
      };
      await assert.rejects(deleteBackup(cutting, "full"), { message: "the connection is cut" });
      assert.deepEqual(await listBackups(bucket), []);
      if (cut > 1)
        await assert.rejects(run(bucket, "full"), { kind: "conflict", message: /remains of a deleted backup/ });
      await deleteBackup(bucket, "full");
      assert.equal((await run(bucket, "full")).adopted, false);
    }
  });

  it("ends without a commit when the credentials expire on the way", async () => {
    const bucket = memoryBucket();
    let requests = 0;
    const expiring: Kube = {
      ...kube,
      request: async (request) =>
        ++requests < 20
          ? kube.request(request)
          : { ...(await kube.request(request)), status: 401, body: Buffer.from("{}") },
    };
    const log = startRunLog({ backup: "full" });
    const signal = new AbortController().signal;
    await assert.rejects(backup({ kube: expiring, bucket, name: "full", spec: {}, log, signal }), { kind: "denied" });
    assert.deepEqual(await listBackups(bucket), []);
  });

  it("does not take another tool's archive for its own", async () => {
    const bucket = memoryBucket();
    const body = gzipSync(await buffer(velero()));
    await bucket.put(backupKeys("full").tar, body);
    await assert.rejects(run(bucket, "full"), { kind: "conflict", message: /no run of Lifeboat wrote it/ });
    assert.deepEqual([...(await listFolder(bucket, "backups/")).keys()], [backupKeys("full").tar]);
  });

  it("is committed last: whichever put fails, nothing is listed, and the next run makes the same backup", async () => {
    const reference = memoryBucket();
    await run(reference, "full");
    const puts = Object.values(backupKeys("full")).length - 1;
    for (let failing = 0; failing < puts; failing++) {
      const bucket = memoryBucket();
      await assert.rejects(run(failingAt(bucket, failing), "full"), { message: "the bucket is gone" });
      assert.deepEqual(await listBackups(bucket), []);
      assert.match(await readLog(bucket, "backups", "full"), /level=error msg="the bucket is gone"/);
      await run(bucket, "full");
      for (const side of ["resourceList", "volumeInfo", "results"] as const) {
        const key = backupKeys("full")[side];
        assert.equal(
          await readSideFile(bucket, key),
          await readSideFile(reference, key),
          `${side} after put ${failing}`,
        );
      }
      assert.deepEqual(await entriesOf(bucket), await entriesOf(reference));
      assert.deepEqual(
        sealOf(await readBackup(bucket, "full"))?.files,
        await digestsOf(bucket),
        `after put ${failing}`,
      );
    }
  });

  it("is not listed where somebody deletes its archive before it is", async () => {
    const bucket = memoryBucket();
    const { tar, log } = backupKeys("full");
    const deleting: Bucket = {
      ...bucket,
      async put(key, body, options) {
        await bucket.put(key, body, options);
        if (key === log) await bucket.delete(tar);
      },
    };
    await assert.rejects(run(deleting, "full"), {
      kind: "conflict",
      message: /was deleted from memory:\/\/ meanwhile/,
    });
    assert.deepEqual(await listBackups(bucket), []);
  });

  it("is listed whole or not at all, wherever a deletion and a commit without a lock meet", async () => {
    const left = memoryBucket();
    await assert.rejects(run(failingAt(left, 8), "full"));
    const { folder, tar, metadata } = backupKeys("full");
    /** Lets a deletion come up to one of its steps before one of the commit's, and go on once the commit has ended. */
    const meet = async (committing: number, deleting: number) => {
      const bucket = await copyOf(left);
      const [come, over] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      let [commits, deletes] = [0, 0];
      const deletions = stepped(bucket, async (step) => {
        deletes = step;
        if (step === deleting) come.resolve();
        if (step === deleting) await over.promise;
      });
      let deletion: Promise<unknown> = Promise.resolve();
      const commit = stepped(bucket, async (step) => {
        commits = step;
        if (step !== committing) return;
        deletion = deleteBackup(deletions, "full").catch(() => {});
        await Promise.race([come.promise, deletion]);
      });
      await run(commit, "full").catch(() => {});
      over.resolve();
      await deletion;
      const present = await listFolder(bucket, folder);
      if (present.has(metadata)) {
        const files = Object.keys(sealOf(await readBackup(bucket, "full"))?.files ?? {}).map((file) => folder + file);
        const missing = [tar, ...files].filter((key) => !present.has(key));
        assert.deepEqual(missing, [], `the deletion's step ${deleting} before the commit's ${committing}`);
      }
      return { commits, deletes };
    };
    const { commits } = await meet(0, 0);
    assert.ok(commits > 10);
    for (let committing = 1; committing <= commits; committing++)
      for (let [deleting, deletes] = [1, 1]; deleting <= deletes; deleting++)
        ({ deletes } = await meet(committing, deleting));
  });

  it("adopts an interrupted run's archive only for the same options", async () => {
    const bucket = memoryBucket();
    await assert.rejects(run(failingAt(bucket, 8), "full"));
    await assert.rejects(run(bucket, "full", { excludedNamespaces: ["pay"] }), {
      kind: "conflict",
      message: /other options/,
    });
    const { adopted } = await run(bucket, "full");
    assert.ok(adopted);
    assert.match(await readLog(bucket, "backups", "full"), /Adopted what the interrupted run/);
  });

  it("adopts no archive that is damaged, wherever that is, and commits nothing", async () => {
    const left = memoryBucket();
    await assert.rejects(run(failingAt(left, 8), "full"));
    const whole = await copyOf(left);
    assert.ok((await run(whole, "full")).adopted);
    const { tar, index } = backupKeys("full");
    const { length } = await readObject(left, tar);
    for (const indexed of [true, false]) {
      for (let at = 30; at < length; at += Math.ceil(length / 15)) {
        const bucket = await copyOf(left);
        await spoil(bucket, tar, at);
        if (!indexed) await bucket.delete(index);
        const refused = { kind: "corrupt", message: /can't be finished: /, hint: /backup delete full/ };
        const ended = await run(bucket, "full").catch((error: unknown) =>
          assert.throws(() => assert.fail(error as Error), refused),
        );
        if (!ended) assert.deepEqual(await listBackups(bucket), []);
        // The bytes of a gzip header that say nothing of what is in it are no damage where an index is made of the archive.
        else if (!indexed) assert.deepEqual(await entriesOf(bucket), await entriesOf(whole), `byte ${at}`);
        else assert.fail(`byte ${at}`);
      }
    }
  });

  it("commits no damaged file that a run left beside its archive", async () => {
    const left = memoryBucket();
    await assert.rejects(run(failingAt(left, 10), "full"));
    const { tar, index, log, metadata: _, ...rest } = backupKeys("full");
    const present = await listFolder(left, "backups/");
    for (const key of [log, ...Object.values(rest)].filter((key) => present.has(key))) {
      const bucket = await copyOf(left);
      await spoil(bucket, key, (present.get(key) ?? 0) - 6);
      await assert.rejects(run(bucket, "full"), { kind: "corrupt", message: new RegExp(key) });
      assert.deepEqual(await listBackups(bucket), []);
    }
    assert.ok(present.size > 8 && present.has(tar) && present.has(index));
    assert.ok((await run(left, "full")).adopted);
  });

  it("adopts no archive whose encrypted Secrets are damaged", async () => {
    const bucket = memoryBucket();
    const recipient = await identityToRecipient(await generateX25519Identity());
    const encrypted = { name: "full", spec: { secrets: "encrypt" } as const, recipients: [recipient] };
    await assert.rejects(backupOf(server, { bucket: failingAt(bucket, 9), ...encrypted }));
    const [key = ""] = [...(await listFolder(bucket, "backups/full/")).keys()].filter((key) =>
      key.endsWith("tar.gz.age"),
    );
    await spoil(bucket, key, 200);
    await assert.rejects(backupOf(server, { bucket, ...encrypted }), { kind: "corrupt", message: new RegExp(key) });
    assert.deepEqual(await listBackups(bucket), []);
  });

  it("signs only what its own run wrote: what another left is not adopted, and can be deleted", async () => {
    const bucket = memoryBucket();
    await assert.rejects(run(failingAt(bucket, 8), "full"));
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    const key = publicKey.export({ format: "jwk" }).x!;
    const signed = {
      name: "full",
      signer: async () => ({ publicKey: key, sign: async (message: Buffer) => sign(null, message, privateKey) }),
    };
    const before = await listFolder(bucket, "");
    await assert.rejects(backupOf(server, { bucket, ...signed }), {
      kind: "conflict",
      message: /nothing proves who wrote it/,
      hint: /another name.*lifeboat backup delete full/,
    });
    assert.deepEqual(await listFolder(bucket, ""), before);
    assert.equal(signedBy((await backupOf(server, { bucket, ...signed, name: "next" })).record), key);
    await deleteBackup(bucket, "full");
    assert.equal(signedBy((await backupOf(server, { bucket, ...signed })).record), key);
  });

  it("adopts no archive of another backup or cluster, of the cluster by another name, or with other labels", async () => {
    const bucket = memoryBucket();
    await assert.rejects(backupOf(server, { bucket: failingAt(bucket, 8), name: "full", cluster: "a" }));
    const other = await startApiServer({ objects: cluster() });
    try {
      const cases = [
        { at: other, run: { cluster: "a" }, message: /of another cluster, "a", lies in/ },
        { at: server, run: { cluster: "b" }, message: /of the cluster by another name, "a", lies in/ },
        { at: server, run: { cluster: "a", labels: { team: "shop" } }, message: /with other labels lies in/ },
      ];
      for (const { at, run, message } of cases)
        await assert.rejects(backupOf(at, { bucket, name: "full", ...run }), { kind: "conflict", message });
    } finally {
      await other.stop();
    }
    await bucket.put(backupKeys("next").tar, await readObject(bucket, backupKeys("full").tar));
    await assert.rejects(backupOf(server, { bucket, name: "next", cluster: "a" }), {
      message: /name, "full", lies in/,
    });
    assert.ok((await backupOf(server, { bucket, name: "full", cluster: "a", caller: "ann" })).adopted);
  });

  it("ends with the signal's reason, leaving its log", async () => {
    const bucket = memoryBucket();
    const controller = new AbortController();
    const log = startRunLog({ backup: "full" }, () => controller.abort(new Error("called off")));
    await assert.rejects(backup({ kube, bucket, name: "full", spec: {}, log, signal: controller.signal }), {
      message: "called off",
    });
    assert.deepEqual(await listBackups(bucket), []);
    assert.match(await readLog(bucket, "backups", "full"), /called off/);
  });
});

/** The smallest archive that Velero could have written, not compressed. */
function velero() {
  const tar = pack();
  tar.entry({ name: "metadata/version" }, "1.1.0\n");
  tar.entry({ name: "resources/pods/namespaces/shop/web.json" }, "{}");
  tar.finalize();
  return tar;
}

/** The bucket, whose nth put of a backup's own objects fails once all of its body has been taken. */
function failingAt(bucket: Bucket, nth: number): Bucket {
  let puts = 0;
  return {
    ...bucket,
    async put(key, body, options) {
      if (!key.startsWith("backups/") || puts++ !== nth) return bucket.put(key, body, options);
      if (!Buffer.isBuffer(body)) for await (const _ of body);
      throw new Error("the bucket is gone");
    },
  };
}

/** SHA-256 by file name of what a record vouches for. */
async function digestsOf(bucket: Bucket): Promise<Record<string, string>> {
  const { folder, metadata: _, tar: __, ...keys } = backupKeys("full");
  const digests: Record<string, string> = {};
  for (const key of Object.values(keys))
    digests[key.slice(folder.length)] = hash("sha256", await readObject(bucket, key), "hex");
  return digests;
}

async function entriesOf(bucket: Bucket): Promise<IndexEntry[]> {
  const archive = await openArchive(bucket, backupKeys("full"));
  return Array.fromAsync(archive.entries()).finally(() => archive.close());
}

function cluster(): KubernetesObject[] {
  const object = (apiVersion: string, kind: string, name: string, namespace?: string, rest: object = {}) =>
    ({
      apiVersion,
      kind,
      ...rest,
      metadata: { name, namespace, ...(rest as { metadata?: object }).metadata },
    }) as KubernetesObject;
  const excluded = { metadata: { labels: { "velero.io/exclude-from-backup": "true" } } };
  const volume = (claim?: string) => ({
    spec: {
      hostPath: { path: "/data" },
      persistentVolumeReclaimPolicy: "Retain",
      ...(claim ? { claimRef: { namespace: "shop", name: claim } } : {}),
    },
  });
  const names = { kind: "Widget", plural: "widgets", singular: "widget", listKind: "WidgetList" };
  return [
    object("v1", "Namespace", "shop"),
    object("v1", "Namespace", "pay"),
    object("v1", "Namespace", "secretive", undefined, excluded),
    object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets.example.com", undefined, {
      spec: {
        group: "example.com",
        scope: "Namespaced",
        names,
        versions: [{ name: "v1", served: true, storage: true, schema: {} }],
      },
    }),
    object("v1", "ConfigMap", "shop-settings", "shop"),
    object("v1", "ConfigMap", "shop-secret", "shop", excluded),
    object("v1", "ConfigMap", "shop-leaving", "shop", {
      metadata: {
        deletionTimestamp: "2026-11-23T00:00:00Z",
        finalizers: ["example.com/hold"],
        labels: excluded.metadata.labels,
      },
    }),
    object("v1", "ConfigMap", "pay-settings", "pay", { metadata: { labels: { app: "pay" } } }),
    object("v1", "ConfigMap", "kept-secret", "secretive"),
    object("v1", "PersistentVolume", "volume-1", undefined, {
      ...volume("shop-data"),
      metadata: { labels: { disk: "yes" } },
    }),
    object("v1", "PersistentVolume", "volume-2", undefined, volume()),
    object("v1", "PersistentVolumeClaim", "shop-data", "shop", {
      spec: { volumeName: "volume-1" },
      status: { phase: "Bound" },
      metadata: { labels: { app: "shop", disk: "yes" } },
    }),
    object("storage.k8s.io/v1", "StorageClass", "gold", undefined, { provisioner: "example.com/gold" }),
    object("example.com/v1", "Widget", "widget-1", "shop", { metadata: { labels: { app: "shop" } } }),
  ];
}

/** A bucket that asks before each of its calls, which are counted from 1. */
function stepped(bucket: Bucket, before: (step: number) => Promise<void>): Bucket {
  let steps = 0;
  const step = () => before(++steps);
  return {
    ...bucket,
    put: async (...args) => step().then(() => bucket.put(...args)),
    get: async (...args) => step().then(() => bucket.get(...args)),
    delete: async (...args) => step().then(() => bucket.delete(...args)),
    async *list(...args) {
      await step();
      yield* bucket.list(...args);
    },
  };
}

/** Stores an object anew with another byte at one place. */
async function spoil(bucket: Bucket, key: string, at: number): Promise<void> {
  const body = await readObject(bucket, key);
  body[at]! ^= 1;
  await bucket.delete(key);
  await bucket.put(key, body);
}

async function copyOf(bucket: Bucket): Promise<Bucket> {
  const copy = memoryBucket();
  for (const key of (await listFolder(bucket, "")).keys()) await copy.put(key, await readObject(bucket, key));
  return copy;
}
