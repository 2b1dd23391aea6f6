import { LifeboatError } from "../../core/errors.ts";
import type { DiskSnapshot, Disks } from "../../core/ports.ts";

/** Snapshots of disks in memory, by their names, with their tags: for tests of what becomes of snapshots that are there. */
export function memoryDisks(snapshots: Map<string, Record<string, string>>): Disks {
  const refuse = () => Promise.reject(new LifeboatError("invalid", "there are no disks in memory"));
  const shown = (id: string, tags: Record<string, string>): DiskSnapshot => {
    return { id, tags, state: "completed", size: 1, startedAt: new Date("2026-11-01T00:00:00Z") };
  };
  return {
    async snapshot({ zone }, { name, tags }) {
      const id = `snap-${Buffer.from(name).toString("hex")}`;
      snapshots.set(id, tags);
      return { id, zone, type: "gp3" };
    },
    create: refuse,
    remove: refuse,
    async read({ id }) {
      const tags = snapshots.get(id);
      return tags && shown(id, tags);
    },
    async removeSnapshot({ id }) {
      snapshots.delete(id);
    },
    async *snapshots({ name, value }) {
      for (const [id, tags] of snapshots)
        if (tags[name] !== undefined && (value === undefined || tags[name] === value)) yield shown(id, tags);
    },
  };
}
