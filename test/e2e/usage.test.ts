import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startApiServer } from "../../core/apiserver/server.ts";
import type { Usage } from "../../core/index.ts";
import { shop } from "../functions/cli-sample.ts";
import { requireOrSkip } from "../rig/require.ts";
import { startS3 } from "../rig/s3.ts";
import { startS3Proxy } from "../rig/s3proxy.ts";
import { document } from "./lifeboat.ts";

/** What the command line asks once, before the run: whether the location is a fleet's. */
const IS_A_FLEETS = /[?&]prefix=p%2F(metadata%2Flifeboat%2Ffleet%2F)?(&|$)/;

test("a backup counts the requests that its bucket gets, and the bytes", {
  skip: requireOrSkip("rig", ["versitygw"]),
}, async () => {
  const dir = await mkdtemp(join(tmpdir(), "lifeboat-usage-"));
  const cluster = await startApiServer({ objects: shop(50) });
  await using s3 = await startS3();
  const got: string[] = [];
  let storedBytes = 0;
  const proxy = await startS3Proxy(s3, ({ method, url = "", headers }) => {
    if (IS_A_FLEETS.test(url)) return "pass";
    const what = method === "GET" && /[?&]list-type=/.test(url) ? "LIST" : String(method);
    if (what === "PUT") storedBytes += Number(headers["x-amz-decoded-content-length"] ?? headers["content-length"]);
    got.push(`${what} ${url.split("?")[0]}`);
    return "pass";
  });
  try {
    await writeFile(join(dir, "kubeconfig"), cluster.kubeconfig);
    const args = [
      "backup",
      "create",
      "full",
      "--kubeconfig",
      join(dir, "kubeconfig"),
      "--location",
      proxy.location("p"),
    ];
    const { usage } = await document<{ usage: Usage }>(args, s3.env);
    const counted = (what: string) => got.filter((one) => one.startsWith(`${what} `)).length;
    assert.deepEqual(usage, { puts: counted("PUT"), gets: counted("GET"), lists: counted("LIST"), storedBytes });
    assert.equal(got.length, usage.puts + usage.gets + usage.lists, got.join("\n"));
  } finally {
    await cluster.stop();
    await proxy.stop();
    await rm(dir, { recursive: true, force: true });
  }
});
