import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import type { VerifyDocument } from "../../core/index.ts";
import type { CopyDocument } from "../../core/integrity/copy.ts";
import { filesIn, shop } from "../functions/cli-sample.ts";
import { type Azurite, startAzurite } from "../rig/azurite.ts";
import { type Gcs, startGcs } from "../rig/gcs.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { document, lifeboat } from "./lifeboat.ts";

const rig = requireOrSkip("rig", ["versitygw", "fake-gcs-server", "npm:azurite"]);

describe("a backup that is copied from cloud to cloud", { skip: rig }, () => {
  let dir: string;
  let cluster: ApiServer;
  let s3: S3;
  let gcs: Gcs;
  let azurite: Azurite;
  let env: Record<string, string>;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "lifeboat-copy-"));
    [cluster, s3, gcs, azurite] = await Promise.all([
      startApiServer({ objects: shop(1500) }),
      startS3(),
      startGcs(),
      startAzurite(),
    ]);
    env = { ...s3.env, ...azurite.env, NODE_COMPILE_CACHE: join(dir, "cache") };
    await writeFile(join(dir, "kubeconfig"), cluster.kubeconfig);
  });
  after(async () => {
    await Promise.all([cluster?.stop(), s3?.stop(), gcs?.stop(), azurite?.stop()]);
    await rm(dir, { recursive: true, force: true });
  });

  it("comes back as it was, and a second copy overwrites nothing", async () => {
    const [begin, end] = ["begin", "end"].map((name) => join(dir, name));
    const flags = ["--location", begin!, "--kubeconfig", join(dir, "kubeconfig")];
    await document(["backup", "create", "full", ...flags], env);
    const stations = [begin!, s3.location("copies"), gcs.location("copies"), azurite.location("copies"), end!];
    for (const [at, to] of stations.slice(1).entries()) {
      const from = stations[at]!;
      const copied = await document<CopyDocument>(["backup", "copy", "full", "--location", from, "--to", to], env);
      assert.deepEqual([copied.kind, copied.name], ["copy", "full"]);
      const verifying = ["backup", "verify", "full", "--read-data", "--location", to];
      assert.deepEqual((await document<VerifyDocument>(verifying, env)).unchecked, []);
      const again = await lifeboat(["backup", "copy", "full", "--location", from, "--to", to], env);
      assert.match(again.stderr, /^error: backup "full" already exists in .*\nhint: nothing is overwritten/);
      assert.equal(again.code, 1);
    }
    const files = await filesIn(join(begin!, "backups/full"));
    assert.deepEqual(await filesIn(join(end!, "backups/full")), files);
    for (const file of files) {
      const [was, is] = [begin, end].map((location) => readFile(join(location!, "backups/full", file)));
      assert.ok((await was!).equals(await is!), file);
    }
  });
});
