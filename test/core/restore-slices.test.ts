import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { type Backup, ENCRYPTION, listBackups, listRestores, readLog, restoreKeysOf } from "../../core/catalog.ts";
import { listFolder, readObject } from "../../core/contents.ts";
import { readResourceList } from "../../core/documents.ts";
import type { Kube, KubeRequest, KubeResponse } from "../../core/kube/client.ts";
import { restoreKeys, sliceFolder } from "../../core/layout.ts";
import { startRunLog } from "../../core/log.ts";
import { numberedKey } from "../../core/once.ts";
import type { Bucket } from "../../core/ports.ts";
import { readOutcomes } from "../../core/restore/outcomes.ts";
import type { RestoreSpec } from "../../core/restore/restore.ts";
import { type RestoreEnd, type RestoreRun, runRestore, runRestoreSlice } from "../../core/restore/run.ts";
import { mayBeCut } from "../../core/restore/slices.ts";
import { readNotes } from "../../core/restore/undo/notes.ts";
import { findUndo, runUndo } from "../../core/restore/undo/undo.ts";
import type { Slice } from "../../core/slices.ts";
import { inCluster } from "./embedded-cluster.ts";
import { backedUp, sample, shop } from "./restore-sample.ts";
import { signal, signer, sliceOf } from "./slice-sample.ts";

const labelled = (labels: Record<string, string>) => ({
  metadata: { labels } as unknown as KubernetesObject["metadata"],
});

const SETTINGS = 60;
const settings = (of: (i: number) => object) =>
  Array.from({ length: SETTINGS }, (_, i) =>
    sample("v1", "ConfigMap", `shop/settings-${String(i).padStart(3, "0")}`, of(i)),
  );

/** Beside a shop: ConfigMaps, statuses, claims that come empty and with their volume, and what no cluster takes. */
const stored = [
  ...shop,
  ...settings((i) => ({ data: { value: `backup's ${i}` } })),
  sample("batch/v1", "CronJob", "shop/daily", {
    spec: { schedule: "@daily" },
    status: { lastScheduleTime: "2026-01-01T00:00:00Z" },
  }),
  sample("v1", "PersistentVolumeClaim", "shop/lost", { spec: { volumeName: "pv-lost" } }),
  sample("v1", "PersistentVolumeClaim", "shop/kept", { spec: { volumeName: "pv-kept" } }),
  sample("v1", "PersistentVolume", "pv-kept", {
    spec: { persistentVolumeReclaimPolicy: "Retain", claimRef: { namespace: "shop", name: "kept", uid: "u" } },
  }),
  sample("gone.example.com/v1", "Gadget", "shop/g"),
];

/** A target in which a third of the ConfigMaps are as in the backup, a third differ, and some are of nobody's. */
const present = () => [
  sample("v1", "Namespace", "shop", labelled({ team: "web" })),
  ...settings((i) => ({ data: { value: i % 3 === 0 ? `backup's ${i}` : `another ${i}` } })).filter((_, i) => i % 3 < 2),
  sample("v1", "ConfigMap", "shop/extra-1"),
  sample("v1", "ConfigMap", "shop/extra-2"),
];

/** Beside them so many of others that listing them takes three pages. */
const crowded = () => [
  ...present(),
  ...Array.from({ length: 520 }, (_, i) => sample("v1", "ConfigMap", `shop/other-${i}`)),
];

const cases: Record<string, { target: () => KubernetesObject[]; spec: Partial<RestoreSpec> }> = {
  "into an empty cluster": { target: () => [], spec: {} },
  "with mapped namespaces": { target: present, spec: { namespaceMapping: { shop: "copy" } } },
  "over what exists": { target: crowded, spec: {} },
  "that updates and gives statuses": { target: present, spec: { existingResourcePolicy: "update", restoreStatus: {} } },
  "that updates and prunes": { target: present, spec: { existingResourcePolicy: "update", prune: true } },
};

function runOf(kube: Kube, bucket: Bucket, spec: Partial<RestoreSpec>, more: Partial<RestoreRun> = {}): RestoreRun {
  const log = startRunLog({ restore: "r" });
  return { kube, bucket, name: "r", spec: { backupName: "b", ...spec }, log, signal, ...more };
}

/** Calls until the restore is recorded. */
async function untilDone(call: (number: number) => ReturnType<typeof runRestoreSlice>, most = 1000) {
  for (let number = 0; number < most; number++) {
    const end = await call(number);
    if (!("more" in end)) return end;
  }
  throw new Error("the restore is never done");
}

const sorted = (all: unknown[]) => all.map((one) => JSON.stringify(one)).sort();

/** All that a restore tells, and what it has made of the cluster; whatever differs between any two runs aside. */
async function told(kube: Kube, bucket: Bucket, { record, result }: RestoreEnd) {
  const log = await readLog(bucket, "restores", "r");
  const items = log
    .split("\n")
    .flatMap(
      (line) => /msg="([a-z.]+ [^"]*: (?:skipped|updated|blocked|failed|pruned|created)[^"]*)"/.exec(line)?.[1] ?? [],
    );
  return {
    phase: record.status.phase,
    annotations: record.metadata.annotations,
    progress: record.status.progress,
    counts: result.counts,
    volumes: result.volumes,
    errors: sorted(result.problems.errors),
    warnings: sorted(result.problems.warnings),
    outcomes: sorted((await readOutcomes(bucket, record)) ?? []),
    list: await readResourceList(bucket, restoreKeysOf(record).resourceList),
    volumeInfo: (await readObject(bucket, restoreKeys("r").volumeInfo)).toString("base64"),
    logged: items.sort(),
    objects: await objectsOf(kube),
  };
}

const PATHS = [
  ...["/api/v1/namespaces", "/api/v1/configmaps", "/api/v1/secrets", "/api/v1/serviceaccounts", "/api/v1/services"],
  ...["/api/v1/persistentvolumes", "/api/v1/persistentvolumeclaims", "/api/v1/pods", "/apis/batch/v1/cronjobs"],
  ...["/apis/apps/v1/deployments", "/apis/apps/v1/replicasets", "/apis/example.com/v1/widgets"],
];

async function objectsOf(kube: Kube) {
  const all: string[] = [];
  for (const path of PATHS) {
    const { items = [] } = JSON.parse((await kube.request({ path })).body.toString()) as { items?: KubernetesObject[] };
    for (const { metadata, ...object } of items) {
      const {
        uid,
        resourceVersion,
        creationTimestamp,
        managedFields,
        generation,
        ownerReferences = [],
        labels = {},
        ...rest
      } = metadata;
      const owners = ownerReferences.map(({ kind, name }) => `${kind} ${name}`);
      all.push(
        JSON.stringify({ path, ...object, metadata: { ...rest, labels }, owners }).replaceAll(
          /10\.96\.\d+\.\d+/g,
          "10.96.x.x",
        ),
      );
    }
  }
  return all.sort();
}

/** A client that dies at its nth write: before it is carried out, or after, so that its answer is lost. */
function dying(kube: Kube, at: number, late: boolean): { kube: Kube; signal: AbortSignal } {
  const death = new AbortController();
  let writes = 0;
  const request = async (request: KubeRequest): Promise<KubeResponse> => {
    const dies = request.method !== undefined && request.method !== "GET" && ++writes >= at;
    const response = dies && !late ? undefined : await kube.request({ ...request, signal: undefined });
    if (dies) death.abort(new Error("killed"));
    death.signal.throwIfAborted();
    return response!;
  };
  return { kube: { ...kube, request }, signal: death.signal };
}

/** Puts another state in the place of one, told by its place in the row; or none. */
async function changeState(bucket: Bucket, at: number, change?: (state: Buffer) => Buffer): Promise<void> {
  const key = [...(await listFolder(bucket, sliceFolder("r"))).keys()].at(at)!;
  const { state, ...rest } = JSON.parse((await readObject(bucket, key)).toString());
  await bucket.delete(key);
  if (!change) return;
  const changed = change(Buffer.from(state, "base64")).toString("base64");
  await bucket.put(key, Buffer.from(JSON.stringify({ ...rest, state: changed })));
}

/** Makes the last state that a slice has left so much older. */
const aged = (ms: number) => (bucket: Bucket) =>
  changeState(bucket, -1, (state) => {
    const { at, ...rest } = JSON.parse(gunzipSync(state).toString());
    return gzipSync(JSON.stringify({ ...rest, at: at - ms }));
  });

/** Puts a state where the next one would be. */
async function copyState(bucket: Bucket, at: number): Promise<void> {
  const keys = [...(await listFolder(bucket, sliceFolder("r"))).keys()];
  await bucket.put(numberedKey(sliceFolder("r"), keys.length + 1), await readObject(bucket, keys.at(at)!));
}

const keptOften = (calls: number, pieceMs?: number): Slice => ({ ...sliceOf(calls), pieceMs });

describe("a restore in slices", () => {
  for (const [what, { target, spec }] of Object.entries(cases)) {
    const uncut = () =>
      inCluster(target(), async (kube) => {
        const bucket = await backedUp(stored);
        return told(kube, bucket, await runRestore(runOf(kube, bucket, spec)));
      });

    it(`${what} is the same as one that isn't cut`, async () => {
      const whole = await uncut();
      const lengths = fc.array(fc.integer({ min: 8, max: 90 }), { minLength: 1 });
      const often = fc.constantFrom(0, undefined);
      await fc.assert(
        fc.asyncProperty(lengths, often, (lengths, pieceMs) =>
          inCluster(target(), async (kube) => {
            const bucket = await backedUp(stored);
            let slices = 0;
            const end = await untilDone(async (number) => {
              assert.deepEqual(await listRestores(bucket), []);
              slices++;
              return runRestoreSlice(runOf(kube, bucket, spec), keptOften(lengths[number % lengths.length]!, pieceMs));
            });
            assert.deepEqual(await told(kube, bucket, end), whole);
            assert.deepEqual([...(await listFolder(bucket, sliceFolder("r"))).keys()], []);
            assert.equal((await readLog(bucket, "restores", "r")).match(/Goes on with/g)?.length ?? 0, slices - 1);
          }),
        ),
        { numRuns: 3 },
      );
    });

    it(`${what} is the same wherever its slices are killed`, async () => {
      const whole = await uncut();
      const slices = fc.array(
        fc.record({
          calls: fc.integer({ min: 5, max: 100 }),
          dies: fc.integer({ min: 1, max: 60 }),
          late: fc.boolean(),
        }),
        { minLength: 1 },
      );
      const often = fc.constantFrom(0, undefined);
      await fc.assert(
        fc.asyncProperty(slices, often, (slices, pieceMs) =>
          inCluster(target(), async (kube) => {
            const bucket = await backedUp(stored);
            const end = await untilDone(async (number) => {
              const { calls, dies, late } = slices[number % slices.length]!;
              // Every third one lives.
              const life = number % 3 === 2 ? { kube, signal } : dying(kube, dies, late);
              try {
                return await runRestoreSlice(runOf(kube, bucket, spec, life), keptOften(calls, pieceMs));
              } catch (error) {
                if (!life.signal.aborted) throw error;
                return { more: true, items: 0 };
              }
            });
            const { logged, ...cut } = await told(kube, bucket, end);
            const { logged: _, ...expected } = whole;
            assert.deepEqual(cut, expected);
          }),
        ),
        { numRuns: 4 },
      );
    });
  }

  const update = { existingResourcePolicy: "update" } as const;

  it("is undone as one that isn't cut", () =>
    inCluster(present(), async (kube) => {
      const bucket = await backedUp(stored);
      const before = await objectsOf(kube);
      await untilDone(() => runRestoreSlice(runOf(kube, bucket, update), sliceOf(20)));
      assert.notDeepEqual(await objectsOf(kube), before);
      const { result } = await runUndo(
        { kube, bucket, log: startRunLog({}), signal },
        await findUndo(bucket, "r", signal),
      );
      assert.equal(result.phase, "Completed");
      assert.deepEqual(await objectsOf(kube), before);
    }));

  it("keeps what it touches once, before its first write", () =>
    inCluster(present(), async (kube) => {
      const bucket = await backedUp(stored);
      await untilDone(() => runRestoreSlice(runOf(kube, bucket, update), sliceOf(10)));
      const kept = (await listBackups(bucket)).map(({ name }) => name).filter((name) => name !== "b");
      assert.deepEqual(kept, ["r-before"]);
      assert.equal((await readNotes(bucket, "r")).length, 1);
    }));

  /** Runs a slice that leaves some of the restore, then, with another run, all that is left. Gives what that one logged. */
  const ours = signer();
  const by = { signer: async () => ours };
  const goneOn = (
    first: Partial<RestoreRun>,
    then: Partial<RestoreRun>,
    meanwhile?: (bucket: Bucket) => Promise<void>,
  ) =>
    inCluster(present(), async (kube) => {
      const bucket = await backedUp(stored);
      const states = async () => (await listFolder(bucket, sliceFolder("r"))).size;
      while ((await states()) < 3)
        assert.ok("more" in (await runRestoreSlice(runOf(kube, bucket, update, first), sliceOf(40))));
      await meanwhile?.(bucket);
      const { record } = await untilDone(() => runRestoreSlice(runOf(kube, bucket, update, then), sliceOf(10_000)));
      assert.equal(record.status.progress.totalItems, 76);
      return readLog(bucket, "restores", "r");
    });

  it("goes on with what another slice has left and signed", async () => {
    assert.match(await goneOn(by, by), /Goes on with/);
  });

  it("goes on with what is less than a day old", async () => {
    assert.match(await goneOn({}, {}, aged(23 * 3_600_000)), /Goes on with/);
  });

  const anew: [
    what: string,
    first: object,
    then: object,
    why: RegExp,
    meanwhile?: (bucket: Bucket) => Promise<void>,
  ][] = [
    [
      "others have signed",
      { signer: async () => signer() },
      { signer: async () => signer() },
      /not signed by who signs/,
    ],
    ["nobody has signed", {}, { signer: async () => signer() }, /not signed by who signs/],
    ["is of other options", { spec: { backupName: "b" } }, {}, /of another restore/],
    ["can't be read", {}, {}, /can't be read/, (bucket) => changeState(bucket, -1, (state) => state.subarray(1))],
    [
      "was changed",
      {},
      {},
      /can't be read/,
      (bucket) => changeState(bucket, -2, (state) => gzipSync(gunzipSync(state), { level: 1 })),
    ],
    ["lacks a part", {}, {}, /can't be read/, (bucket) => changeState(bucket, -2)],
    ["is a day old", {}, {}, /more than a day old/, aged(24 * 3_600_000)],
    ["was left in another place", by, by, /not signed by who signs/, (bucket) => copyState(bucket, 0)],
  ];
  for (const [what, first, then, why, meanwhile] of anew)
    it(`plans anew where what was left ${what}`, async () => {
      const log = await goneOn(first, then, meanwhile);
      assert.match(log, why);
      assert.doesNotMatch(log, /Goes on with/);
    });

  it("isn't cut any more once it is to bring data or to run commands", () =>
    inCluster([], async (kube) => {
      const hooked = sample("v1", "Pod", "shop/hooked", {
        metadata: {
          name: "hooked",
          namespace: "shop",
          annotations: {
            "post.hook.restore.velero.io/command": '["true"]',
            "post.hook.restore.velero.io/wait-timeout": "1s",
          },
        } as unknown as KubernetesObject["metadata"],
        spec: { containers: [{ name: "c", image: "c:1" }] },
      });
      const bucket = await backedUp([...stored, hooked]);
      const { result } = await untilDone(() => runRestoreSlice(runOf(kube, bucket, {}), sliceOf(3)));
      assert.equal(result.counts.created, 74);
      assert.match(result.problems.errors.map(({ message }) => message).join(), /hook .* not run/);
      assert.equal((await readNotes(bucket, "r")).length, 1);
    }));

  it("isn't cut where what its slices tell each other could not be vouched for, or should not be read", () =>
    inCluster([], async (kube) => {
      const run = runOf(kube, await backedUp(stored), {});
      const plain = { kind: "Backup", metadata: { name: "b" } } satisfies Backup;
      const encrypted = { ...plain, metadata: { name: "b", annotations: { [ENCRYPTION]: ".age" } } };
      const keys = { trustedKeys: ["k"] };
      assert.equal(mayBeCut(run, plain), true);
      assert.equal(mayBeCut({ ...run, ...keys, signer: async () => signer() }, plain), true);
      assert.equal(mayBeCut({ ...run, ...keys }, plain), false);
      assert.equal(mayBeCut({ ...run, recipients: ["age1"] }, plain), false);
      assert.equal(mayBeCut(run, encrypted), false);
    }));
});
