import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { listBackups } from "../../core/catalog.ts";
import { s3Bucket } from "../../functions/aws/bucket.ts";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { createAndReadOnly, startS3Proxy } from "../rig/s3proxy.ts";
import { seed } from "../rig/seed.ts";
import { type BackupDocument, document, start } from "./lifeboat.ts";
import { objectsIn } from "./objects.ts";

/** Two at a time: each waits for its servers half of its time. */
const atOnce = (work: () => Promise<void>) => Promise.all([work(), work()]);
const RANDOM_MOMENTS = process.env.SOAK ? 200 : 20;

describe("a backup that is killed", { skip: requireOrSkip("rig", [...CONTROL_PLANE, "versitygw"]) }, () => {
  let cluster: Cluster;
  let s3: S3;

  before(async () => {
    [cluster, s3] = await Promise.all([startCluster(), startS3()]);
    Object.assign(process.env, s3.env);
    await seed(cluster, { objects: 400 });
  });
  after(async () => {
    await Promise.all([cluster?.stop(), s3?.stop()]);
  });

  const create = (name: string, location: string) => [
    "backup",
    "create",
    name,
    "--location",
    location,
    "--kubeconfig",
    cluster.kubeconfigPath,
  ];

  const createAgain = async (name: string, moment: string) => {
    const restricted = await startS3Proxy(s3, createAndReadOnly);
    try {
      const next = await document<BackupDocument>(create(name, restricted.location("")), s3.env);
      assert.equal(next.phase, "Completed", moment);
      return next;
    } finally {
      await restricted.stop();
    }
  };

  /** The state after the kill and after the next run of the same name, which may only create and read. */
  const finish = async (name: string, moment: string) => {
    const rows = await listBackups(s3Bucket(new URL(s3.location(""))));
    const unreadable = rows.filter(({ problem }) => problem !== undefined);
    assert.deepEqual(unreadable, [], moment);
    const committed = rows.find((row) => row.name === name)?.record?.status?.progress?.itemsBackedUp;
    const items = committed ?? (await createAgain(name, moment)).items;
    const objects = await objectsIn(join(s3.dir, "data", s3.bucket, `backups/${name}/${name}.tar.gz`));
    assert.equal(items, objects.size, moment);
    assert.ok(objects.size > 400, moment);
  };

  /** Kills a run when it makes this call of its bucket, the first being 0. False where it ended before. */
  const killedAtCall = async (name: string, call: number) => {
    const victim: { run?: ReturnType<typeof start> } = {};
    let seen = 0;
    const proxy = await startS3Proxy(s3, () => {
      if (seen++ !== call) return "pass";
      victim.run?.kill();
      return "swallow";
    });
    victim.run = start(create(name, proxy.location("")), s3.env);
    const { code } = await victim.run.ended;
    await proxy.stop();
    if (code !== 0) assert.equal(code, null, `call ${call}: it ended by itself`);
    return code !== 0;
  };

  it("at every bucket call in turn: nothing incomplete is listed, and the next run of the name works", async (t) => {
    let next = 0;
    let calls = 0;
    let over = false;
    await atOnce(async () => {
      while (!over) {
        const call = next++;
        const name = `call-${call}`;
        if (await killedAtCall(name, call)) {
          calls++;
          await finish(name, `killed at call ${call}`);
        } else over = true;
      }
    });
    t.diagnostic(`killed at each of ${calls} bucket calls`);
    assert.ok(calls >= 11, `only ${calls} bucket calls were seen`);
  });

  it(`at ${RANDOM_MOMENTS} random moments: the same`, async (t) => {
    const begun = performance.now();
    await document(create("whole", s3.location("")), s3.env);
    let duration = performance.now() - begun;
    let runs = 0;
    let killed = 0;
    await atOnce(async () => {
      while (killed < RANDOM_MOMENTS) {
        const name = `random-${runs++}`;
        const moment = Math.random() * duration;
        const victim = start(create(name, s3.location("")), s3.env);
        await delay(moment);
        victim.kill();
        if ((await victim.ended).code === null) killed++;
        else duration = Math.min(duration, moment);
        await finish(name, `killed after ${moment.toFixed(0)} ms`);
      }
    });
    t.diagnostic(`${killed} of ${runs} runs were killed before their end`);
  });
});
