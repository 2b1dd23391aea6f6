import { z } from "zod";
import type { StoredVolume } from "./record.ts";

const text = z.string();

/** All that it takes to remove the copies of a backup's volumes, as it is noted while the backup goes. */
export const copiesSchema = z.object({
  backup: text,
  /** The cluster's name in the configuration, and the URL of its API server, as far as the backup's record tells them. */
  cluster: text.optional(),
  server: text.optional(),
  /** As `StoredSnapshot`. */
  csi: z.array(
    z.object({
      driver: text,
      snapshotHandle: text,
      groupHandle: text.optional(),
      secret: z.object({ namespace: text, name: text }).optional(),
    }),
  ),
  /** Snapshots of disks, by the cloud's name and the zone of the disk. */
  native: z.array(z.object({ id: text, zone: text })),
  /** restic's snapshots, with the namespace whose repository they are in. */
  files: z.array(z.object({ namespace: text, snapshotId: text })),
});

export type Copies = z.infer<typeof copiesSchema>;

/** The copies that a backup's volume infos name; those that Lifeboat can't remove are none of them. */
export function copiesOf(of: Pick<Copies, "backup" | "cluster" | "server">, stored: StoredVolume[]): Copies {
  return {
    ...of,
    csi: stored.flatMap(({ csi }) => {
      if (!csi) return [];
      const { driver, snapshotHandle, groupHandle } = csi;
      return [{ driver, snapshotHandle, ...(groupHandle && { groupHandle }) }];
    }),
    native: stored.flatMap(({ native }) => (native ? [{ id: native.snapshotHandle, zone: native.volumeAZ }] : [])),
    files: stored.flatMap(({ files }) => (files ? [{ namespace: files.namespace, snapshotId: files.snapshotId }] : [])),
  };
}

/** How many there are. */
export function copyCount({ csi, native, files }: Pick<Copies, "csi" | "native" | "files">): number {
  return csi.length + native.length + files.length;
}

/** "1 volume copy", "3 volume copies" */
export function copiesText(count: number): string {
  return count === 1 ? "1 volume copy" : `${count} volume copies`;
}
