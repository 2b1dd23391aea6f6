import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { type BackupResult, backup, backupSlice } from "../../core/backup/backup.ts";
import type { BackupSpec } from "../../core/backup/scope.ts";
import { backupShard } from "../../core/backup/shards.ts";
import type { More } from "../../core/backup/slices.ts";
import { listBackups, listFolder, pieceFolder, readBackup, readLog } from "../../core/catalog.ts";
import { deleteBackup } from "../../core/delete.ts";
import { isLifeboatError } from "../../core/errors.ts";
import { signedBy } from "../../core/integrity/seal.ts";
import { verifyBackup } from "../../core/integrity/verify.ts";
import { connect, type Kube } from "../../core/kube/client.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import type { Bucket, Signer } from "../../core/ports.ts";
import { memoryBucket } from "../memory-bucket.ts";
import {
  cluster,
  contents,
  ENDLESS,
  failing,
  runOn,
  sideFiles,
  signal,
  signer,
  sliceOf,
  untilMade,
} from "./slice-sample.ts";

/** Some cluster's objects: in namespaces whose order is not that of their names in etcd, "a-b" before "a". */
const someCluster = fc
  .record({
    spaces: fc.uniqueArray(fc.constantFrom("a", "a-b", "a-b-c", "a1", "b", "z-9"), { minLength: 2 }),
    settings: fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 6, maxLength: 6 }),
    kinds: fc.array(fc.constantFrom("Secret", "Pod", "PersistentVolumeClaim", "ServiceAccount", "Widget"), {
      maxLength: 30,
    }),
    salt: fc.nat(1000),
  })
  .map(objectsOf);

function objectsOf({
  spaces,
  settings,
  kinds,
  salt,
}: {
  spaces: string[];
  settings: number[];
  kinds: string[];
  salt: number;
}): KubernetesObject[] {
  const object = (apiVersion: string, kind: string, name: string, namespace?: string, rest = {}): KubernetesObject => {
    const labels = { app: `app-${(name.length + salt) % 3}` };
    return { apiVersion, kind, metadata: { name, namespace, labels }, ...rest };
  };
  const definition = object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets.example.com", undefined, {
    spec: {
      ...{ group: "example.com", scope: "Namespaced", names: { kind: "Widget", plural: "widgets" } },
      versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object" } } }],
    },
  });
  const made = spaces.flatMap((space, place) => [
    object("v1", "Namespace", space),
    ...Array.from({ length: settings[place]! }, (_, i) =>
      object("v1", "ConfigMap", `settings-${(i * 7919) % 1009}`, space, {
        data: { text: "x".repeat((i * salt) % 999) },
      }),
    ),
  ]);
  const others = kinds.flatMap((kind, i) => {
    const space = spaces[(i * salt) % spaces.length]!;
    const name = `one-${i}`;
    if (kind === "Widget") return [object("example.com/v1", kind, name, space)];
    if (kind === "Pod") {
      const volumes = [{ name: "data", persistentVolumeClaim: { claimName: `one-${i - 1}` } }];
      const containers = [{ name: "web", image: "web:1", envFrom: [{ secretRef: { name: `one-${i - 2}` } }] }];
      return [object("v1", kind, name, space, { spec: { containers, volumes }, status: { phase: "Running" } })];
    }
    if (kind === "PersistentVolumeClaim")
      return [
        object("v1", "PersistentVolume", `volume-${i}`, undefined, {
          spec: { capacity: { storage: "1Gi" }, nfs: { server: "10.0.0.1", path: "/" } },
        }),
        object("v1", kind, name, space, { spec: { volumeName: `volume-${i}` }, status: { phase: "Bound" } }),
      ];
    if (kind !== "ServiceAccount") return [object("v1", kind, name, space)];
    const subjects = [{ kind, name, namespace: space }];
    const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name };
    return [
      object("v1", kind, name, space),
      object("rbac.authorization.k8s.io/v1", "ClusterRole", name),
      object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", name, undefined, { subjects, roleRef }),
    ];
  });
  return [definition, ...made, ...others];
}

const someSpec: fc.Arbitrary<BackupSpec> = fc.constantFrom<BackupSpec>(
  {},
  { includedNamespaces: ["a", "a-b", "b"] },
  { excludedNamespaces: ["a"] },
  { labelSelector: { matchLabels: { app: "app-1" } } },
  { orLabelSelectors: [{ matchLabels: { app: "app-1" } }, { matchExpressions: [{ key: "app", operator: "Exists" }] }] },
  { includedResources: ["pods", "serviceaccounts", "widgets.example.com"] },
  { secrets: "omit", includedNamespaces: ["a*"] },
);

async function against<T>(objects: KubernetesObject[], work: (kube: Kube) => Promise<T>): Promise<T> {
  const server = await startApiServer({ objects });
  const kube = connect(readKubeconfig(server.kubeconfig));
  try {
    return await work(kube);
  } finally {
    await kube.close();
    await server.stop();
  }
}

interface Sharding {
  shards?: number;
  /** Which of the shards that are left is next, of so many. */
  pick?: (left: number) => number;
  /** Of each run, how many pages it may read. */
  pages?: () => number;
  bucket?: Bucket;
  sign?: () => Promise<Signer>;
}

/** Makes a backup as whoever drives its runs does, one after the other; what fails for the bucket is run again later. */
async function inShards(kube: Kube, spec: BackupSpec, stored: Bucket, how: Sharding = {}): Promise<BackupResult> {
  const { shards = 3, pick = () => 0, pages = () => 1000, bucket = stored, sign } = how;
  const run = () => ({ ...runOn(kube, bucket, spec), signer: sign });
  const survived = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      if (isLifeboatError(error, "unreachable") || isLifeboatError(error, "conflict")) return undefined;
      throw error;
    }
  };
  for (let rounds = 0; rounds < 500; rounds++) {
    const ended = await survived(() => backupSlice(run(), sliceOf(pages()), shards));
    if (ended && !("more" in ended)) return ended;
    const committed = (await listBackups(stored))[0]?.record;
    if (committed) return { record: committed } as BackupResult;
    const left = [...(ended?.shards?.unread ?? [])];
    while (left.length > 0) {
      const place = pick(left.length);
      const end = await survived(() => backupShard(run(), left[place]!, sliceOf(pages())));
      if (!end || !("more" in end)) left.splice(place, 1);
      assert.deepEqual(await listBackups(stored), []);
    }
  }
  throw new Error("the backup is never made");
}

const asJson = (value: unknown) => JSON.parse(JSON.stringify(value));

describe("a backup in shards", () => {
  let server: ApiServer;
  let kube: Kube;

  before(async () => {
    server = await startApiServer({ objects: cluster() });
    kube = connect(readKubeconfig(server.kubeconfig));
  });
  after(async () => {
    await kube.close();
    await server.stop();
  });

  it("is the same as one by a single worker, whatever the cluster, its filters, the order of shards and where they are cut", async () => {
    const numbers = fc.array(fc.nat(1000), { minLength: 40 });
    let cut = 0;
    await fc.assert(
      fc.asyncProperty(
        someCluster,
        someSpec,
        fc.integer({ min: 2, max: 6 }),
        numbers,
        async (objects, spec, shards, some) => {
          await against(objects, async (kube) => {
            let at = 0;
            const next = () => some[at++ % some.length]!;
            const [alone, together] = [memoryBucket(), memoryBucket()];
            const whole = await backup(runOn(kube, alone, spec));
            const made = await inShards(kube, spec, together, {
              ...{ shards, pick: (left) => next() % left, pages: () => 1 + (next() % 60) },
            });
            assert.deepEqual(await contents(together), await contents(alone));
            assert.deepEqual(asJson(made.outcome), asJson(whole.outcome));
            assert.deepEqual(await sideFiles(together), await sideFiles(alone));
            assert.deepEqual(comparable(made), comparable(whole));
            assert.deepEqual((await verifyBackup(together, "b", { read: 1, signal })).damaged, []);
            assert.deepEqual([...(await listFolder(together, pieceFolder("b"))).keys()], []);
            if ((await readLog(together, "backups", "b")).includes("Is read in")) cut++;
          });
        },
      ),
      { numRuns: 20, endOnFailure: true },
    );
    assert.ok(cut > 10, `only ${cut} were read in shards`);
  });
});

/** A record without what is its run's own: times, ids, digests. */
function comparable({ record: { metadata, spec, status } }: BackupResult) {
  const { startTimestamp, completionTimestamp, ...others } = status ?? {};
  const own = ["lifeboat/run", "lifeboat/digests", "lifeboat/index-end", "lifeboat/digest"];
  const annotations = Object.entries(metadata.annotations ?? {}).filter(([name]) => !own.includes(name));
  return { labels: metadata.labels, annotations, spec, status: others };
}
