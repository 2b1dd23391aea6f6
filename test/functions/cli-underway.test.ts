import assert from "node:assert/strict";
import { mkdir, utimes } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import { lifeboat } from "../e2e/lifeboat.ts";
import { makeScratch, type Scratch, startCluster } from "./cli-sample.ts";

describe("what another run is making", { concurrency: 3 }, () => {
  let scratch: Scratch;
  let cluster: Awaited<ReturnType<typeof startCluster>>;
  let env: Record<string, string>;

  before(async () => {
    scratch = await makeScratch();
    cluster = await startCluster(scratch, "source");
    env = { KUBECONFIG: cluster.file, LIFEBOAT_LOCATION: scratch.path("bucket") };
    await lock("backups", "slow");
    await lock("restores", "slow");
    const died = await lock("backups", "died");
    await utimes(died, new Date(0), new Date(0));
    assert.equal((await lifeboat(["backup", "create", "full"], env)).code, 0);
  });
  after(async () => {
    await cluster?.stop();
    await scratch?.remove();
  });

  /** As a function that works on it leaves it. */
  async function lock(kind: string, name: string): Promise<string> {
    const folder = `bucket/metadata/lifeboat/locks/${kind}/${name}`;
    await mkdir(scratch.path(folder), { recursive: true });
    return scratch.write(`${folder}/000001.json`, '{"run":"x","state":"held"}');
  }

  for (const args of [
    ...["backup create slow", "backup get slow", "backup describe slow", "backup logs slow", "backup download slow"],
    ...["restore create slow --from-backup full", "restore get slow", "restore describe slow", "restore logs slow"],
  ]) {
    it(`${args}: busy`, async () => {
      const { code, stdout, stderr } = await lifeboat(args.split(" "), env);
      const [noun] = args.split(" ");
      assert.match(
        stderr,
        new RegExp(
          `^error: ${noun} "slow" is being made by another run, last seen at \\d\\d:\\d\\d:\\d\\d UTC\n` +
            `hint: once that has ended, "lifeboat ${noun} get slow" shows it\n$`,
        ),
      );
      assert.deepEqual([code, stdout], [7, ""]);
    });
  }

  it("what a run that died was making can be made", async () => {
    const { code, stderr } = await lifeboat(["backup", "create", "died"], env);
    assert.equal(code, 0, stderr);
  });
});
