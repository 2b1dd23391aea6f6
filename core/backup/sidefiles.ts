import { createHash } from "node:crypto";
import { basename } from "node:path/posix";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import { createGunzip, gzip, gzipSync } from "node:zlib";
import { sha256 } from "../archive/gzip.ts";
import type { ItemFacts, ItemId, KubernetesObject } from "../archive/item.ts";
import type { Archive } from "../archive/reader.ts";
import { readObject, writeSideFile } from "../contents.ts";
import { LifeboatError } from "../errors.ts";
import { gzipText } from "../gziptext.ts";
import { parseExact } from "../kube/json.ts";
import type { backupKeys } from "../layout.ts";
import { VOLUMES } from "../objects/resources.ts";
import type { Bucket } from "../ports.ts";
import { type Problem, toVeleroResult } from "../report.ts";
import {
  nativeSnapshots,
  podVolumeBackups,
  type VolumeFacts,
  type VolumeRecord,
  volumeFacts,
  volumeInfos,
} from "../volumes/record.ts";
import type { Finding } from "./lint.ts";

const gzipBuffer = promisify(gzip);

/** The items of an archive as the side files need them, gathered in archive order. */
export interface Inventory {
  add(item: ItemId & Pick<ItemFacts, "apiVersion" | "kind">): void;
  /** The body of a PersistentVolume. */
  addVolume(body: Buffer): void;
  /** Velero's resource list, gzipped: "apps/v1/Deployment" to "namespace/name" or "name". Ends the inventory. */
  resourceList(): Buffer;
  /** Every PersistentVolume. */
  volumes: VolumeFacts[];
  /** All of it, for another to go on from. */
  state(): InventoryState;
}

/** As JSON. `texts`: by "apps/v1/Deployment" the names that the resource list has for it, between commas, gzipped, in base64. */
export interface InventoryState {
  texts: [kind: string, gzipped: string][];
  volumes: VolumeFacts[];
}

/** An empty inventory, or one that goes on. */
export function startInventory(from?: InventoryState): Inventory {
  const texts = new Map(from?.texts.map(([kind, gzipped]) => [kind, gzipText(Buffer.from(gzipped, "base64"))]));
  const volumes = [...(from?.volumes ?? [])];
  let current = "";
  return {
    volumes,
    add({ namespace, name, apiVersion, kind }) {
      const key = `${apiVersion}/${kind}`;
      const text = texts.get(key);
      if (key !== current) texts.get(current)?.rest();
      current = key;
      if (!text) texts.set(key, gzipText());
      (text ?? texts.get(key)!).add(`${text ? "," : ""}${JSON.stringify(namespace ? `${namespace}/${name}` : name)}`);
    },
    addVolume: (body) => volumes.push(volumeFacts(parseExact(body) as KubernetesObject)),
    state: () => ({
      texts: [...texts].map(([kind, text]) => [kind, text.gzipped().toString("base64")]),
      volumes: [...volumes],
    }),
    resourceList() {
      const between = [...texts.keys()].map((kind, place) =>
        gzipSync(`${place ? "]," : "{"}${JSON.stringify(kind)}:[`),
      );
      const parts = [...texts.values()].flatMap((text, place) => [between[place]!, text.gzipped()]);
      return Buffer.concat([...parts, gzipSync(texts.size === 0 ? "{}\n" : "]}\n")]);
    },
  };
}

/** The inventory of an archive that is already written. */
export async function takeInventory(archive: Archive): Promise<Inventory> {
  const inventory = startInventory();
  for await (const entry of archive.entries()) inventory.add(entry);
  const volumes = archive.entries(({ resource }) => resource === VOLUMES);
  for await (const { body } of archive.read(volumes)) inventory.addVolume(body);
  return inventory;
}

/**
 * Writes the side files that Velero's CLI and restores read (velero-format: 1.2), each made from what the archive
 * holds, so that a run that adopts the archive writes the same ones. Those already there stay, and must say the same; a log,
 * which is its run's own, must be readable. Gives the SHA-256 of each by its file name. Throws `corrupt` for one that is damaged.
 */
export async function writeSideFiles(
  bucket: Bucket,
  keys: ReturnType<typeof backupKeys>,
  inventory: Inventory,
  report: { log: Buffer; warnings: Problem[]; errors: Problem[]; findings?: Finding[]; volumes?: VolumeRecord[] },
  signal: AbortSignal,
): Promise<Record<string, string>> {
  const results = { errors: toVeleroResult(report.errors), warnings: toVeleroResult(report.warnings) };
  const name = basename(keys.folder);
  const digests: Record<string, string> = {};
  const write = async (key: string, body: string | Buffer) => {
    const bytes = typeof body === "string" ? await gzipBuffer(body) : body;
    const digest = await writeSideFile(bucket, key, bytes, signal);
    digests[basename(key)] = digest;
    if (digest === sha256(bytes)) return;
    const there = await textDigest(await readObject(bucket, key, signal), key);
    if (key === keys.log || there === (await textDigest(bytes, key))) return;
    throw new LifeboatError("corrupt", `${key}, which a run before this one left, is damaged: it says something else`, {
      key,
      hint: `choose another name, or delete what is left: "lifeboat backup delete ${name}"`,
    });
  };
  await Promise.all([
    write(keys.resourceList, inventory.resourceList()),
    write(keys.volumeInfo, `${JSON.stringify(volumeInfos(inventory.volumes, report.volumes))}\n`),
    write(keys.results, `${JSON.stringify(results)}\n`),
    write(keys.itemOperations, "[]\n"),
    write(keys.podVolumeBackups, `${JSON.stringify(podVolumeBackups(name, report.volumes))}\n`),
    write(keys.volumeSnapshots, `${JSON.stringify(nativeSnapshots(name, report.volumes))}\n`),
    ...(report.findings ? [write(keys.findings, `${JSON.stringify(report.findings)}\n`)] : []),
  ]);
  await write(keys.log, report.log);
  return digests;
}

/** SHA-256 of what is gzipped, which two compressors may have done. Throws `corrupt` where it can't be unzipped. */
async function textDigest(bytes: Buffer, key: string): Promise<string> {
  const digest = createHash("sha256");
  try {
    for await (const chunk of Readable.from([bytes]).pipe(createGunzip())) digest.update(chunk);
  } catch (cause) {
    throw new LifeboatError("corrupt", `${key} can't be unzipped`, { key, cause });
  }
  return digest.digest("hex");
}
