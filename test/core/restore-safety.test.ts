import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { openArchive } from "../../core/archive/reader.ts";
import { type Backup, listBackups } from "../../core/catalog.ts";
import { backupKeys } from "../../core/layout.ts";
import { startRunLog } from "../../core/log.ts";
import type { Bucket } from "../../core/ports.ts";
import { planRestore, type RestoreSpec } from "../../core/restore/restore.ts";
import type { ObjectNames } from "../../core/restore/undo/kin.ts";
import { readNotes } from "../../core/restore/undo/notes.ts";
import { keepBefore } from "../../core/restore/undo/safety.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { answer, archiveOf, sample } from "./restore-sample.ts";
import { restoreTarget } from "./restore-target.ts";

const { kube, create, change, intercept } = restoreTarget();
const signal = new AbortController().signal;
const MAPS = "/api/v1/namespaces/shop/configmaps";
let bucket: Bucket;

const namespace = sample("v1", "Namespace", "shop");
const map = (name: string, value: string, metadata: object = {}) =>
  sample("v1", "ConfigMap", `shop/${name}`, {
    data: { value },
    metadata: { name, namespace: "shop", ...metadata },
  });

const SECRETS = "/api/v1/namespaces/shop/secrets";
const secret = (type: string) => sample("v1", "Secret", "shop/s", { type });

beforeEach(async () => {
  bucket = memoryBucket();
  await create("/api/v1/namespaces", namespace);
});

/** Keeps what a restore of these objects, named "r", is about to touch. */
async function keep(items: KubernetesObject[], spec: Partial<RestoreSpec> = {}): Promise<void> {
  const log = startRunLog({});
  const backup = { metadata: { name: "b" }, spec: {}, status: { phase: "Completed" } } as Backup;
  const planning = { kube, name: "r", backupName: "b", backup, signal, log: () => {} };
  const archive = await archiveOf([namespace, ...items]);
  const planned = await planRestore({ ...planning, archive, spec: { backupName: "b", ...spec } });
  await keepBefore({ kube, bucket, name: "r", spec: { backupName: "b" }, log, signal }, planned);
}

const listed = (names: ObjectNames) =>
  [...names].flatMap(([key, some]) => [...some].sort().map((name) => `${key} ${name}`));

/** What was kept: the objects of each backup, and the notes. */
async function kept() {
  const backups: Record<string, string[]> = {};
  for (const { name } of await listBackups(bucket)) {
    const archive = await openArchive(bucket, backupKeys(name));
    backups[name] = [];
    for await (const { resource, namespace, name: object } of archive.entries())
      backups[name].push(`${resource} ${namespace}/${object}`);
    await archive.close();
  }
  const notes = (await readNotes(bucket, "r")).map(({ creates, touches, statuses, kin }) => ({
    ...{ creates: listed(creates), touches: listed(touches) },
    ...{ statuses: listed(statuses), kin: listed(kin) },
  }));
  return { backups, notes };
}

describe("what a restore keeps before its first write", () => {
  const [update, recreate] = ["update", "recreate"] as const;
  const nothing: Record<string, string[]> = { creates: [], touches: [], statuses: [], kin: [] };
  const cases: [
    what: string,
    spec: Partial<RestoreSpec>,
    backups: Record<string, string[]>,
    note: typeof nothing | undefined,
  ][] = [
    ["nothing where nothing is written", { includedResources: ["secrets"] }, {}, undefined],
    ["only a note where it only creates", {}, {}, { creates: ["configmaps shop/new"] }],
    [
      "what is updated",
      { existingResourcePolicy: update },
      { "r-before": ["configmaps shop/differs"] },
      { creates: ["configmaps shop/new"], touches: ["configmaps shop/differs"] },
    ],
    [
      "what gets another status",
      { existingResourcePolicy: update, restoreStatus: { includedResources: ["configmaps"] } },
      { "r-before": ["configmaps shop/differs"] },
      {
        ...{ creates: ["configmaps shop/new"], touches: ["configmaps shop/differs"] },
        statuses: ["configmaps shop/differs"],
      },
    ],
    [
      "the owner of what may have to be deleted",
      { existingResourcePolicy: recreate },
      { "r-before": ["configmaps shop/differs", "configmaps shop/owner"] },
      {
        ...{ creates: ["configmaps shop/new"], touches: ["configmaps shop/differs"] },
        kin: ["configmaps shop/owner"],
      },
    ],
    [
      "what is pruned, and what goes with it",
      { prune: true },
      { "r-before": ["configmaps shop/child", "configmaps shop/extra"] },
      { creates: ["configmaps shop/new"], touches: ["configmaps shop/extra"], kin: ["configmaps shop/child"] },
    ],
  ];
  for (const [what, spec, backups, note] of cases)
    it(what, async () => {
      const ownedBy = ({ apiVersion, kind, metadata: { name, uid } }: KubernetesObject) => ({
        ownerReferences: [{ apiVersion, kind, name, uid }],
      });
      const owner = await create(MAPS, map("owner", "live"));
      await create(MAPS, map("differs", "live", ownedBy(owner)));
      const extra = await create(MAPS, map("extra", "live"));
      await create(MAPS, map("child", "live", ownedBy(extra)));
      await create(MAPS, map("same", "live"));
      await keep([map("new", "backup"), map("differs", "backup"), map("owner", "live"), map("same", "live")], {
        includedResources: ["configmaps"],
        ...spec,
      });
      assert.deepEqual(await kept(), { backups, notes: note ? [{ ...nothing, ...note }] : [] });
      assert.deepEqual(kube.writes, []);
    });

  it("nothing a second time, unless others have changed it since", async () => {
    const spec = { existingResourcePolicy: "update" } as const;
    for (const name of ["a", "b"]) await create(MAPS, map(name, "live"));
    const items = [map("a", "backup"), map("b", "backup")];
    await keep(items, spec);
    await keep(items, spec);
    await change("PATCH", `${MAPS}/b`, { data: { value: "theirs" } });
    await keep(items, spec);
    const { backups, notes } = await kept();
    assert.deepEqual(backups, {
      "r-before": ["configmaps shop/a", "configmaps shop/b"],
      "r-before-2": ["configmaps shop/b"],
    });
    assert.equal(notes.length, 3);
  });

  it("nothing that an earlier attempt changed", async () => {
    const spec = { existingResourcePolicy: "update" } as const;
    await create(MAPS, map("a", "live"));
    await keep([map("a", "backup")], spec);
    await change("PATCH", `${MAPS}/a`, {
      data: { value: "x" },
      metadata: { labels: { "velero.io/restore-name": "r" } },
    });
    await keep([map("a", "backup")], spec);
    assert.deepEqual((await kept()).backups["r-before-2"] ?? [], []);
  });

  it("all or nothing: where something can't be kept, no note is left, and the restore ends", async () => {
    await create(MAPS, map("a", "live"));
    await create(SECRETS, secret("live"));
    let lists = 0;
    intercept((request) => {
      if (request.path !== SECRETS || lists++ === 0) return undefined;
      return answer(403, { kind: "Status", reason: "Forbidden", message: "no more" });
    });
    await assert.rejects(keep([map("a", "backup"), secret("backup")], { existingResourcePolicy: "update" }), {
      message: /can't all be kept: .*no more/,
    });
    assert.deepEqual((await kept()).notes, []);
  });
});
