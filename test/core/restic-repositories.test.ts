import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LifeboatError } from "../../core/errors.ts";
import { copyFiles } from "../../core/volumes/restic/copy.ts";
import { bucketRepositories } from "../../core/volumes/restic/repositories.ts";
import { RESTIC_TIMING, repositorySecrets } from "../../core/volumes/restic/settings.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { client, serve } from "./kube-server.ts";
import { refusal } from "./refusal.ts";

describe("the repositories of a run", () => {
  const CONFIG = "restic/shop/config";
  const signal = AbortSignal.timeout(60_000);
  const lost = new LifeboatError("unreachable", "its Pod was ended by the cluster");

  test("are made where there are none, and once", async () => {
    const bucket = memoryBucket();
    const repositories = bucketRepositories(bucket);
    let made = 0;
    const init = async () => {
      made++;
      await bucket.put(CONFIG, Buffer.from("config"));
    };
    await Promise.all([1, 2, 3].map(() => repositories.ensure("shop", init, signal)));
    await bucketRepositories(bucket).ensure("shop", init, signal);
    assert.equal(made, 1);
  });

  test("are there though what made them could not say so", async () => {
    const bucket = memoryBucket();
    const init = async () => {
      await bucket.put(CONFIG, Buffer.from("config"));
      throw lost;
    };
    await bucketRepositories(bucket).ensure("shop", init, signal);
  });

  test("that can't be made are tried once in a run, and by the next at once", async () => {
    const bucket = memoryBucket();
    const repositories = bucketRepositories(bucket);
    let tries = 0;
    const init = async () => {
      tries++;
      throw lost;
    };
    for (const repository of [repositories, repositories, bucketRepositories(bucket)])
      await assert.rejects(repository.ensure("shop", init, signal), lost);
    assert.equal(tries, 2);
  });

  test("are none where Pods can't reach the location, and nothing is stored there", async () => {
    const bucket = memoryBucket();
    const object = { apiVersion: "v1", kind: "Any", metadata: { namespace: "shop", name: "data", uid: "u" } };
    const settings = {
      image: "",
      location: "/backups",
      secrets: async () => repositorySecrets("p"),
      timing: RESTIC_TIMING,
    };
    await using server = await serve();
    await using kube = client(server);
    const { done } = copyFiles(kube, settings, {
      claim: object,
      volume: object,
      backupName: "b",
      repositories: bucketRepositories(bucket),
      signal,
    });
    assert.match(await refusal(done), /^invalid .*Pods of a cluster don't reach it/);
    assert.equal(server.requests.length, 0);
    assert.deepEqual(await Array.fromAsync(bucket.list("")), []);
  });
});
