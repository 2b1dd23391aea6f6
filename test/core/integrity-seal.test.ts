import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { before, describe, it } from "node:test";
import { type Backup, listBackups, readBackup } from "../../core/catalog.ts";
import { openBackup } from "../../core/integrity/open.ts";
import { backupKeys } from "../../core/layout.ts";
import type { Bucket } from "../../core/ports.ts";
import { backedUp, bucketWith, filesIn, settings } from "./integrity-sample.ts";

const keys = backupKeys("b");
let files: Map<string, Buffer>;
/** Of another cluster, under the same name. */
let others: Map<string, Buffer>;

before(async () => {
  files = await filesIn(await backedUp(settings(3)), keys.folder);
  others = await filesIn(await backedUp(settings(3, 1)), keys.folder);
});

/** The backup with some of its files changed, or taken away. */
const changed = (...changes: [key: string, body: Buffer | undefined][]): Promise<Bucket> =>
  bucketWith(
    [...new Map<string, Buffer | undefined>([...files, ...changes])].filter(
      (file): file is [string, Buffer] => file[1] !== undefined,
    ),
  );
const withRecord = (text: string) => changed([keys.metadata, Buffer.from(text)]);
const recordText = () => files.get(keys.metadata)!.toString();
const sha256 = (data: string | Buffer) => hash("sha256", data, "hex");

const opened = async (bucket: Bucket) => {
  const archive = await openBackup(bucket, await readBackup(bucket, "b"));
  const entries = await Array.fromAsync(archive.entries());
  await archive.close();
  return entries;
};

describe("a backup's record", () => {
  it("tells the digest of every file beside it but the archive, and its own, as sed and sha256sum find them", () => {
    const { annotations = {} } = (JSON.parse(recordText()) as Backup).metadata;
    const beside = [...files].filter(([key]) => key !== keys.metadata && key !== keys.tar);
    const digests = beside.map(([key, body]) => [key.slice(keys.folder.length), sha256(body)]);
    assert.deepEqual(Object.entries(JSON.parse(annotations["lifeboat/digests"]!)), digests);
    assert.equal(annotations["lifeboat/index-end"], sha256(files.get(keys.index)!.subarray(-74)));
    const blank = recordText().replace(/("lifeboat\/digest": )"[^"]*"/, '$1""');
    assert.equal(annotations["lifeboat/digest"], sha256(blank));
  });

  it("is corrupt whichever of its bytes is changed, at the latest when the archive is opened", async () => {
    const intact = files.get(keys.metadata)!;
    for (const at of intact.keys()) {
      const body = Buffer.from(intact);
      body[at]! ^= 1 << (at % 8);
      await assert.rejects(opened(await changed([keys.metadata, body])), { kind: "corrupt" }, `at ${at}`);
    }
  });

  const rewritten: [what: string, change: (text: string) => string][] = [
    ["cut off", (text) => text.slice(0, -1)],
    ["written in another way", (text) => JSON.stringify(JSON.parse(text))],
    ["robbed of its digest", (text) => text.replace(/ *"lifeboat\/digest": .*\n/, "")],
    ["given a field", (text) => text.replace('"spec": {', '"spec": {\n    "paused": true,')],
    ["given a field twice", (text) => text.replace(/( *"kind": .*\n)/, "$1$1")],
  ];
  for (const [what, change] of rewritten) {
    it(`is corrupt when it was ${what}, and doesn't hide the others of a list`, async () => {
      const text = change(recordText());
      assert.notEqual(text, recordText());
      const bucket = await withRecord(text);
      await assert.rejects(readBackup(bucket, "b"), { kind: "corrupt", message: /velero-backup\.json/ });
      assert.match((await listBackups(bucket))[0]!.problem!, /velero-backup\.json/);
    });
  }

  it("of Velero needs no digest", async () => {
    const record = JSON.parse(recordText()) as Backup;
    delete record.metadata.annotations;
    assert.equal((await readBackup(await withRecord(JSON.stringify(record)), "b")).metadata.name, "b");
  });
});

describe("a backup's archive", () => {
  it("is not opened with another backup's index, though the archive is that one's too", async () => {
    const bucket = await changed([keys.tar, others.get(keys.tar)], [keys.index, others.get(keys.index)]);
    await assert.rejects(opened(bucket), { kind: "corrupt", message: /another one than the backup's record tells of/ });
  });

  it("whose index is lost is opened with one made again, where that comes to the same", async () => {
    const [intact, lost] = [await changed(), await changed([keys.index, undefined])];
    assert.deepEqual(await opened(lost), await opened(intact));
    const bucket = await changed([keys.tar, others.get(keys.tar)], [keys.index, undefined]);
    await assert.rejects(opened(bucket), { kind: "corrupt", message: /made again from the archive, is damaged/ });
  });
});
