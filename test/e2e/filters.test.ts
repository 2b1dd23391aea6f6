import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { readTar } from "../../core/archive/reader.ts";
import { backup } from "../../core/backup/backup.ts";
import { isLifeboatError } from "../../core/errors.ts";
import { connect, type Kube } from "../../core/kube/client.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import { backupKeys } from "../../core/layout.ts";
import { startRunLog } from "../../core/log.ts";
import type { Bucket } from "../../core/ports.ts";
import { withoutNulls } from "../../core/schedule/manifest.ts";
import { backupSpecSchema } from "../../core/specs.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { type Cluster, startCluster, WITH_CONTROLLERS } from "../rig/cluster.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { applyShop } from "../rig/shop.ts";
import { startVelero, VELERO, type VeleroObject } from "../rig/velero.ts";
import { ACCEPTED, CASES, FILTERED_CLUSTER, type Filters, hasPolicyLists, OLD, REFUSED } from "./filter-cases.ts";

/** What changes while the backups are made. */
const VOLATILE = /^(events|events\.events\.k8s\.io|leases\.coordination\.k8s\.io|[a-z]+\.velero\.io)\//;
const PREFIX = "filters";

/**
 * The differences that docs/velero.md tells of, each as the spec whose cluster-scoped objects Lifeboat stores beside what
 * Velero stores for `spec`; undefined where the difference doesn't concern it.
 */
const DIFFERENCES: Record<string, (spec: Filters) => Filters | undefined> = {
  "cluster-scoped objects by default": (spec) => {
    const { labelSelector, orLabelSelectors, resourcePolicy, includedNamespaceScopedResources = ["*"] } = spec;
    const limits = ["ClusterScopedResources", "excludedNamespaceScopedResources", ...OLD];
    const limited = Object.keys(spec).some((field) => limits.some((limit) => field.endsWith(limit)));
    if (limited || limitsNamespaces(spec) || hasPolicyLists(spec)) return undefined;
    if (!includedNamespaceScopedResources.includes("*")) return undefined;
    const all = { includedClusterScopedResources: ["*"], excludedNamespaceScopedResources: ["*"] };
    return { labelSelector, orLabelSelectors, resourcePolicy, ...all };
  },
  "an excluded namespace drops none": (spec) => {
    const { excludedNamespaces, ...rest } = spec;
    if (!excludedNamespaces || limitsNamespaces(spec) || !OLD.some((field) => field in spec)) return undefined;
    if ("includeClusterResources" in spec) return undefined;
    return { ...rest, includedNamespaces: ["no-such-namespace"], includeClusterResources: true };
  },
};

function limitsNamespaces({ includedNamespaces }: Filters): boolean {
  return !!includedNamespaces?.length && !includedNamespaces.includes("*");
}

const rig = requireOrSkip("rig", [...WITH_CONTROLLERS, ...VELERO]);

describe("filters beside real Velero 1.18.3", { skip: rig }, () => {
  let cluster: Cluster;
  let s3: S3;
  let kube: Kube;
  /** Of Velero's Backups: their names, by their spec, and what became of them. */
  const names = new Map<string, string>();
  /** What there is. */
  let everything: Set<string>;
  let made: Map<string, VeleroObject>;

  const specs = [
    ...CASES,
    ...ACCEPTED,
    ...REFUSED,
    ...CASES.flatMap((spec) => Object.values(DIFFERENCES).flatMap((companion) => companion(spec) ?? [])),
  ];

  before(async () => {
    [cluster, s3] = await Promise.all([startCluster({ controllers: true, nodes: 1 }), startS3()]);
    await applyShop(cluster);
    await using velero = await startVelero(cluster, s3, PREFIX, { concurrent: 6 });
    for (const part of FILTERED_CLUSTER) await cluster.kubectl(["apply", "--server-side", "-f", "-"], { input: part });
    await cluster.kubectl(["-n", "team-a", "delete", "configmap", "doomed", "--wait=false"]);
    await cluster.kubectl([
      "-n",
      "team-a",
      "wait",
      "pod",
      "--all",
      "--for=jsonpath={.status.phase}=Running",
      "--timeout=60s",
    ]);
    const wanted = new Map<string, Record<string, unknown>>();
    for (const spec of specs) {
      if (names.has(JSON.stringify(spec))) continue;
      names.set(JSON.stringify(spec), `b-${names.size}`);
      wanted.set(nameOf(spec), { snapshotVolumes: false, ...spec });
    }
    made = await velero.createBackups(wanted);
    everything = await storedByVelero({ includeClusterResources: true });
    kube = connect(readKubeconfig(cluster.kubeconfig));
  });
  after(async () => {
    await kube?.close();
    await Promise.all([cluster?.stop(), s3?.stop()]);
  });

  const nameOf = (spec: Filters) => names.get(JSON.stringify(spec))!;

  async function pathsIn(tar: AsyncIterable<Buffer>): Promise<Set<string>> {
    const paths = new Set<string>();
    for await (const { path } of readTar(tar)) {
      const own = path.replace(/^resources\//, "");
      if (own !== path && !own.includes("-preferredversion/") && !VOLATILE.test(own)) paths.add(own);
    }
    return paths;
  }

  async function storedByVelero(spec: Filters): Promise<Set<string>> {
    return pathsIn(createReadStream(join(s3.dir, "data", s3.bucket, PREFIX, backupKeys(nameOf(spec)).tar)));
  }

  async function ours(spec: Filters) {
    const bucket: Bucket = memoryBucket();
    const run = { kube, bucket, name: "b", log: startRunLog({ backup: "b" }), signal: new AbortController().signal };
    const { record } = await backup({ ...run, spec: backupSpecSchema.parse(withoutNulls(spec)) });
    return { record, paths: await pathsIn(await bucket.get(backupKeys("b").tar)) };
  }

  for (const spec of CASES) {
    it(`stores the same for ${JSON.stringify(spec)}`, async () => {
      const theirs = made.get(nameOf(spec));
      assert.match(String(theirs?.status?.phase), /^(Completed|PartiallyFailed)$/);
      const expected = await storedByVelero(spec);
      for (const companion of Object.values(DIFFERENCES)) {
        const other = companion(spec);
        for (const path of other ? await storedByVelero(other) : []) {
          if (!path.includes("/cluster/") || path.startsWith("namespaces/")) continue;
          expected.add(path);
          const definition = `customresourcedefinitions.apiextensions.k8s.io/cluster/${path.split("/")[0]}.json`;
          if (everything.has(definition)) expected.add(definition);
        }
      }
      const { record, paths } = await ours(spec);
      assert.deepEqual([...paths].sort(), [...expected].sort());
      assert.equal(record.status?.phase, theirs?.status?.phase);
      for (const [field, value] of Object.entries(record.spec ?? {}))
        if (Object.hasOwn(spec, field) || /cluded/.test(field)) assert.deepEqual(value, theirs?.spec[field], field);
    });
  }

  for (const [refused, table] of [
    [true, REFUSED],
    [false, ACCEPTED],
  ] as const) {
    for (const spec of table) {
      it(`${refused ? "refuses" : "accepts"} ${JSON.stringify(spec)}, as Velero does`, async () => {
        const { status } = made.get(nameOf(spec))!;
        const told = `${status?.phase}: ${status?.validationErrors}`;
        assert.equal(status?.phase === "FailedValidation", refused, told);
        const parsed = backupSpecSchema.safeParse(withoutNulls(spec));
        const failed = parsed.success
          ? await ours(spec).then(
              () => undefined,
              (error: unknown) => error,
            )
          : parsed.error;
        assert.equal(failed !== undefined, refused, String(failed));
        if (refused && parsed.success) assert.ok(isLifeboatError(failed, "invalid"), String(failed));
      });
    }
  }
});
