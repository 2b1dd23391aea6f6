import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { listRestores, readLog, readRestore } from "../../core/catalog.ts";
import { listFolder } from "../../core/contents.ts";
import { readResourceList, readRestoreDocument } from "../../core/documents.ts";
import { backupKeys, restoreKeys } from "../../core/layout.ts";
import { startRunLog } from "../../core/log.ts";
import type { Bucket } from "../../core/ports.ts";
import { runRestore } from "../../core/restore/run.ts";
import { backedUp as backedUpWhole, settings } from "./integrity-sample.ts";
import { backedUp, sample } from "./restore-sample.ts";
import { restoreTarget } from "./restore-target.ts";

const { kube } = restoreTarget();

/** A ConfigMap, and a Gadget, which no cluster takes. */
const items = [sample("v1", "ConfigMap", "shop/a"), sample("gone.example.com/v1", "Gadget", "shop/g")];

const run = (bucket: Bucket, line = "ours") => {
  const log = startRunLog({ restore: "r" });
  log.log("info", line);
  return runRestore({ kube, bucket, name: "r", spec: { backupName: "b" }, log, signal: new AbortController().signal });
};

/** The bucket, whose nth put of a restore's own objects fails; its body is stored all the same where `late`. */
function failingAt(bucket: Bucket, nth: number, late: boolean): Bucket {
  let puts = 0;
  return {
    ...bucket,
    async put(key, body, options) {
      const fails = key.startsWith("restores/") && puts++ === nth;
      if (!fails || late) await bucket.put(key, body, options);
      if (fails) throw new Error("the bucket is gone");
    },
  };
}

describe("the report of a restore", () => {
  it("tells that the backup's index was missing, and restores all the same", async () => {
    const bucket = await backedUpWhole(settings(2));
    await bucket.delete(backupKeys("b").index);
    const log = startRunLog({});
    const spec = { backupName: "b" };
    const { record, result } = await runRestore({ kube, bucket, name: "r", spec, log, signal: AbortSignal.any([]) });
    assert.equal(record.status.phase, "Completed");
    assert.ok(result.counts.created > 0);
    assert.deepEqual(result.problems.warnings, [
      {
        message:
          "backups/b/b-index.json.gz is missing: it was made again from the archive, and is what the backup's record vouches for",
      },
    ]);
  });

  it("has Velero's names, and the record beside them", async () => {
    const bucket = await backedUp(items);
    await run(bucket);
    assert.deepEqual(
      [...(await listFolder(bucket, "restores/")).keys()],
      [
        "restores/r/lifeboat-restore.json",
        "restores/r/r-outcomes.json.gz",
        "restores/r/r-volumeinfo.json.gz",
        "restores/r/restore-r-itemoperations.json.gz",
        "restores/r/restore-r-logs.gz",
        "restores/r/restore-r-resource-list.json.gz",
        "restores/r/restore-r-results.gz",
      ],
    );
    await assert.rejects(run(bucket), { kind: "conflict", message: /restore "r" already exists/ });
  });

  for (const late of [false, true]) {
    it(`is that of the run that recorded it, whichever put fails before${late ? ", its body stored" : ""}`, async () => {
      for (let failing = 0; failing < (late ? 5 : 6); failing++) {
        const bucket = await backedUp(items);
        await assert.rejects(run(failingAt(bucket, failing, late), "the dead run's"), {
          message: "the bucket is gone",
        });
        assert.deepEqual(await listRestores(bucket), []);
        assert.match(await readLog(bucket, "restores", "r"), /level=error msg="the bucket is gone"/);
        const left = await listFolder(bucket, "restores/");

        const { record } = await run(bucket);
        const stored = await readRestore(bucket, "r");
        assert.deepEqual(stored, record);
        assert.deepEqual(record.status.phase, "PartiallyFailed");
        const log = await readLog(bucket, "restores", "r");
        assert.match(log, /msg="ours"/);
        assert.doesNotMatch(log, /the dead run's/);
        const { counts, errors, warnings } = await readRestoreDocument(bucket, stored);
        assert.deepEqual([counts.skipped, counts.blocked, errors.length, warnings.length], [1, 1, 1, 0]);
        const attempt = left.has(restoreKeys("r").results) ? 2 : 1;
        assert.deepEqual(await readResourceList(bucket, restoreKeys("r", attempt).resourceList), {
          "gone.example.com/v1/Gadget": ["shop/g(failed)"],
          "v1/ConfigMap": ["shop/a(skipped)"],
        });
      }
    });
  }
});
