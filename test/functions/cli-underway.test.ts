import assert from "node:assert/strict";
import { mkdir, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { after, before, describe, it } from "node:test";
import { lifeboat, type Running, start } from "../e2e/lifeboat.ts";
import { filesIn, makeScratch, type Scratch, shop, startCluster, startGate } from "./cli-sample.ts";

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
            `hint: once that has ended, "lifeboat ${noun} get slow" shows it; what died is let go 3 minutes after it was last seen\n$`,
        ),
      );
      assert.deepEqual([code, stdout], [7, ""]);
    });
  }

  it("what a run that died was making can be made", async () => {
    const { code, stderr } = await lifeboat(["backup", "create", "died"], env);
    assert.equal(code, 0, stderr);
  });

  it("a backup is deleted with a word of the restores that are under way, and of no others", async () => {
    assert.equal((await lifeboat(["backup", "create", "old"], env)).code, 0);
    await utimes(await lock("restores", "ended"), new Date(0), new Date(0));
    await lock("restores", "begun");
    const { code, stdout, stderr } = await lifeboat(["backup", "delete", "old", "--confirm"], env);
    assert.match(
      stderr,
      /^Restore begun is under way here, last seen at [\d:]{8} UTC: if it reads what is deleted, it ends half-way$/m,
    );
    assert.doesNotMatch(stderr, /ended/);
    assert.deepEqual([code, stdout], [0, "Deleted backup old\n"]);
  });
});

describe("two runs of one name", { concurrency: 3 }, () => {
  let scratch: Scratch;
  let source: Awaited<ReturnType<typeof startCluster>>;
  before(async () => {
    scratch = await makeScratch();
    source = await startCluster(scratch, "source", shop());
  });
  after(async () => {
    await source?.stop();
    await scratch?.remove();
  });

  /** Runs a command that waits in the middle of its work, `during` meanwhile, and gives how the first one ended. */
  async function halfway(
    { args, at, location, cluster = source }: { args: string; at: RegExp; location: string; cluster?: typeof source },
    during: (env: Record<string, string>, running: Running) => Promise<void>,
  ) {
    const reached = Promise.withResolvers<void>();
    const released = Promise.withResolvers<undefined>();
    const gate = await startGate(cluster, (path) => {
      if (!at.test(path)) return undefined;
      reached.resolve();
      return released.promise;
    });
    const env = { KUBECONFIG: cluster.file, LIFEBOAT_LOCATION: scratch.path(location) };
    try {
      const file = await scratch.write(`${location}.kubeconfig`, gate.kubeconfig);
      const running = start([...args.split(" "), "--kubeconfig", file], env);
      await Promise.race([reached.promise, running.ended.then(({ stderr }) => assert.fail(stderr))]);
      await during(env, running);
      released.resolve(undefined);
      return await running.ended;
    } finally {
      released.resolve(undefined);
      await gate.stop();
    }
  }

  const refused = async (args: string, env: Record<string, string>, message: RegExp) => {
    const { code, stdout, stderr } = await lifeboat(args.split(" "), env);
    assert.match(stderr, message);
    assert.deepEqual([code, stdout], [7, ""]);
  };
  const who = ({ pid }: Running) =>
    `\\(process ${pid} on ${hostname()}, since [\\d:]{8} UTC\\), last seen at [\\d:]{8} UTC`;
  const running = (noun: string, name: string, run: Running) =>
    new RegExp(`^error: ${noun} "${name}" is being made by another run ${who(run)}\nhint: .+\n$`);

  it("a backup is made once; who comes second is told by whom, and can't delete it either", async () => {
    const making = { args: "backup create twice", at: /\/secrets$/, location: "twice" };
    const { code, stderr } = await halfway(making, async (env, run) => {
      await refused("backup create twice", env, running("backup", "twice", run));
      await refused(
        "backup delete twice --confirm",
        env,
        new RegExp(`^error: a run works on .+${who(run)}\nhint: .+\n$`),
      );
    });
    assert.equal(code, 0, stderr);
    assert.equal((await lifeboat(["backup", "verify", "twice", "--location", scratch.path("twice")])).code, 0);
  });

  it("a backup that was killed can be made again at once", async () => {
    const making = { args: "backup create killed", at: /\/secrets$/, location: "killed" };
    await halfway(making, async (env, run) => {
      run.kill();
      await run.ended;
      const before = performance.now();
      const { code, stderr } = await lifeboat(["backup", "create", "killed"], env);
      assert.equal(code, 0, stderr);
      assert.ok(performance.now() - before < 60_000);
    });
  });

  it("a restore is neither repeated nor undone while it runs; killed, it can be at once", async () => {
    const target = await startCluster(scratch, "target");
    const at = /\/namespaces\/shop\/configmaps/;
    const location = scratch.path("restored");
    const args = ["backup", "create", "full", "--kubeconfig", source.file, "--location", location];
    assert.equal((await lifeboat(args)).code, 0);
    const making = { args: "restore create r --from-backup full", at, location: "restored", cluster: target };
    try {
      await halfway(making, async (env, run) => {
        await refused("restore create r --from-backup full", env, running("restore", "r", run));
        await refused("restore undo r --yes", env, running("restore", "r", run));
        run.kill();
        await run.ended;
        const { code, stderr } = await lifeboat(["restore", "undo", "r", "--yes"], env);
        assert.equal(code, 0, stderr);
      });
    } finally {
      await target.stop();
    }
  });

  it("of five that begin at once one makes it, and the others write nothing of it", async () => {
    const env = { KUBECONFIG: source.file, LIFEBOAT_LOCATION: scratch.path("many") };
    const ends = await Promise.all(Array.from({ length: 5 }, () => lifeboat(["backup", "create", "x"], env)));
    assert.deepEqual(ends.filter(({ code }) => code === 0).length, 1, ends.map(({ stderr }) => stderr).join(""));
    for (const { code } of ends) assert.ok([0, 1, 7].includes(code!));
    assert.equal((await lifeboat(["backup", "verify", "x"], env)).code, 0);
    assert.deepEqual(
      (await filesIn(scratch.path("many/backups"))).filter((file) => /tmp|part/.test(file)),
      [],
    );
  });
});
