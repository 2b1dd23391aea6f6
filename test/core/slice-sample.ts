import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { openArchive } from "../../core/archive/reader.ts";
import type { BackupResult, backupSlice } from "../../core/backup/backup.ts";
import type { BackupSpec } from "../../core/backup/scope.ts";
import { listFolder, readSideFile } from "../../core/contents.ts";
import { LifeboatError } from "../../core/errors.ts";
import type { Kube } from "../../core/kube/client.ts";
import { backupKeys } from "../../core/layout.ts";
import { startRunLog } from "../../core/log.ts";
import type { Bucket, Signer } from "../../core/ports.ts";
import type { Slice } from "../../core/slices.ts";

export const signal = new AbortController().signal;

/** Never ends. */
export const ENDLESS: Slice = { ends: signal };

/** A slice that ends after so many pages. */
export function sliceOf(pages: number, pieceBytes?: number): Slice {
  let left = pages;
  const ends = {
    get aborted() {
      return left-- <= 0;
    },
  } as AbortSignal;
  return { ends, pieceBytes };
}

/** 3 namespaces, 700 ConfigMaps: 3 pages. A Deployment of each that lacks its Secret, a bound claim, its volume and Pod. */
export function cluster(): KubernetesObject[] {
  const spaces = ["a", "b", "c"];
  const object = (apiVersion: string, kind: string, name: string, namespace?: string, rest = {}) =>
    ({ apiVersion, kind, metadata: { name, namespace }, ...rest }) as KubernetesObject;
  return spaces.flatMap((space) => [
    object("v1", "Namespace", space),
    ...Array.from({ length: 234 }, (_, i) =>
      object("v1", "ConfigMap", `settings-${i}`, space, { data: { text: `${space} ${i}`.repeat(i) } }),
    ),
    object("v1", "Pod", "web", space, {
      spec: {
        containers: [{ name: "web", image: "web:1", envFrom: [{ secretRef: { name: "absent" } }] }],
        volumes: [{ name: "data", persistentVolumeClaim: { claimName: "data" } }],
      },
      status: { phase: "Running" },
    }),
    {
      ...object("v1", "Pod", "scratches", space, {
        spec: {
          containers: [{ name: "web", image: "web:1", volumeMounts: [{ name: "scratch", mountPath: "/scratch" }] }],
          volumes: [{ name: "scratch", emptyDir: {} }],
        },
        status: { phase: "Running" },
      }),
      metadata: {
        ...{ name: "scratches", namespace: space },
        annotations: { "backup.velero.io/backup-volumes": "scratch" },
      },
    },
    object("v1", "PersistentVolume", `volume-${space}`, undefined, {
      spec: { capacity: { storage: "1Gi" }, nfs: { server: "10.0.0.1", path: "/" } },
    }),
    object("v1", "PersistentVolumeClaim", "data", space, {
      spec: { volumeName: `volume-${space}` },
      status: { phase: "Bound" },
    }),
  ]);
}

/** A run of the backup `b`. */
export const runOn = (kube: Kube, bucket: Bucket, spec: BackupSpec = {}) => ({
  ...{ kube, bucket, name: "b", spec, log: startRunLog({ backup: "b" }), signal },
});

/** Calls until the backup is made; at most `most` times. */
export async function untilMade(
  call: (number: number) => ReturnType<typeof backupSlice>,
  most = 100,
): Promise<BackupResult> {
  for (let number = 1; number <= most; number++) {
    const result = await call(number);
    if (!("more" in result)) return result;
  }
  throw new Error("the backup is never made");
}

/** All that a restore sees of a backup. */
export async function contents(bucket: Bucket) {
  const archive = await openArchive(bucket, backupKeys("b"));
  try {
    assert.deepEqual(await Array.fromAsync(archive.verify()), []);
    const entries = await Array.fromAsync(archive.entries());
    return entries.map(({ segment, offset, ...item }) => item);
  } finally {
    await archive.close();
  }
}

/** The texts of the files beside the archive but the log, which tells of times. */
export async function sideFiles(bucket: Bucket) {
  const keys = backupKeys("b");
  const files = [...(await listFolder(bucket, keys.folder)).keys()].filter(
    (key) => ![keys.tar, keys.index, keys.log, keys.metadata].includes(key),
  );
  return Object.fromEntries(await Promise.all(files.map(async (key) => [key, await readSideFile(bucket, key)])));
}

/** A bucket of which the calls that `fails` names fail: before they are carried out, or after, so that their answer is lost. */
export function failing(bucket: Bucket, fails: (call: number) => "before" | "after" | undefined): Bucket {
  let calls = 0;
  const guarded = async <T>(work: () => Promise<T>): Promise<T> => {
    const how = fails(calls++);
    if (how === "before") throw new LifeboatError("unreachable", "cut off");
    const result = await work();
    if (how === "after") throw new LifeboatError("unreachable", "cut off");
    return result;
  };
  return {
    location: bucket.location,
    put: (...call) => guarded(() => bucket.put(...call)),
    get: (...call) => guarded(() => bucket.get(...call)),
    list: (...call) => bucket.list(...call),
    delete: (...call) => guarded(() => bucket.delete(...call)),
  };
}

/** A bucket in which the put of a file, by the end of its key, waits until it is freed. */
export function heldUp(bucket: Bucket, file: string) {
  const [reached, freed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const waiting: Bucket = {
    ...bucket,
    async put(...call) {
      if (call[0].endsWith(file)) {
        reached.resolve();
        await freed.promise;
      }
      return bucket.put(...call);
    },
  };
  return { bucket: waiting, reached: reached.promise, free: () => freed.resolve() };
}

export function signer(): Signer {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  return {
    publicKey: publicKey.export({ format: "jwk" }).x!,
    sign: async (message) => sign(null, message, privateKey),
  };
}
