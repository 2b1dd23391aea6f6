import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { startRunLog } from "../../core/log.ts";
import { runDryRun } from "../../core/restore/plan/dryrun.ts";
import { readPlan } from "../../core/restore/plan/plandocument.ts";
import { runRestore } from "../../core/restore/run.ts";
import { backedUp, sample } from "./restore-sample.ts";
import { restoreTarget } from "./restore-target.ts";

const { kube, change, create } = restoreTarget();
const VOLUMES = "/api/v1/persistentvolumes";

const namespace = sample("v1", "Namespace", "shop");
const claim = sample("v1", "PersistentVolumeClaim", "shop/data", { spec: { volumeName: "pv" } });
const volume = (claimed: string) =>
  sample("v1", "PersistentVolume", "pv", {
    spec: { persistentVolumeReclaimPolicy: "Retain", claimRef: { namespace: "shop", name: claimed } },
  });

/** A plan of a claim whose volume is there, and waits for it. */
async function planned() {
  const bucket = await backedUp([namespace, claim, volume("data")]);
  await create(VOLUMES, volume("data"));
  const run = { kube, bucket, spec: { backupName: "b" }, log: startRunLog({}), signal: AbortSignal.any([]) };
  const document = await runDryRun({ ...run, name: "p" });
  const restored = async () => {
    kube.writes.length = 0;
    return runRestore({ ...run, name: "r", plan: await readPlan(bucket, "p") });
  };
  return { document, restored };
}

describe("the data of claims in a plan", () => {
  it("are told, and come so", async () => {
    const { document, restored } = await planned();
    assert.equal(document.steps.find(({ name }) => name === "data")?.data, "same");
    assert.equal((await restored()).result.volumes?.stays, 1);
  });

  it("hold it: a restore by it is refused where the volume is another claim's by now, and nothing is written", async () => {
    const { restored } = await planned();
    await change("PATCH", `${VOLUMES}/pv`, { spec: { claimRef: { name: "other" } } });
    await assert.rejects(restored(), {
      kind: "conflict",
      message:
        /"p" is out of date: persistentvolumeclaims shop\/data would come with a new, empty volume now, not with the volume that it had$/,
    });
    assert.deepEqual(kube.writes, []);
  });
});
