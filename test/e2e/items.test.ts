import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { it } from "node:test";
import { startApiServer } from "../../core/apiserver/server.ts";
import { openArchive } from "../../core/archive/reader.ts";
import { s3Bucket } from "../../functions/aws/bucket.ts";
import { KEYS } from "../core/archive-sample.ts";
import { bucketOf, restored, sample, watchedKube } from "../core/restore-sample.ts";
import { requireOrSkip } from "../rig/require.ts";
import { startS3 } from "../rig/s3.ts";
import { startS3Proxy } from "../rig/s3proxy.ts";

const OBJECTS = 20_000;

it("one object of a big backup on S3 costs few ranged reads", {
  skip: requireOrSkip("rig", ["versitygw"]),
}, async (t) => {
  await using s3 = await startS3();
  Object.assign(process.env, s3.env);
  const configMaps = Array.from({ length: OBJECTS }, (_, number) =>
    sample("v1", "ConfigMap", `shop/c-${number}`, { data: { text: randomBytes(300).toString("base64") } }),
  );
  const made = await bucketOf([sample("v1", "Namespace", "shop"), ...configMaps]);
  const direct = s3Bucket(new URL(s3.location("")));
  const sizes = new Map<string, number>();
  for (const key of Object.values(KEYS)) {
    const bytes = Buffer.concat(await Array.fromAsync(await made.get(key)));
    sizes.set(key, bytes.length);
    await direct.put(key, bytes);
  }

  const reads = new Map<string, number[]>();
  const proxy = await startS3Proxy(s3, ({ method, url = "", headers }) => {
    const key = Object.values(KEYS).find((one) => url.split("?")[0]!.endsWith(one));
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "") ?? [];
    if (method === "GET" && key) {
      const bytes = last === undefined ? sizes.get(key)! : Number(last) - Number(first) + 1;
      reads.set(key, [...(reads.get(key) ?? []), bytes]);
    }
    return "pass";
  });
  const server = await startApiServer();
  const kube = watchedKube(server.kubeconfig);
  try {
    const archive = await openArchive(s3Bucket(new URL(proxy.location(""))), KEYS);
    const { lines } = await restored(kube, archive, { includedItems: ["shop/configmaps/c-7777"] });
    assert.deepEqual(lines.sort(), ["created configmaps shop/c-7777", "created namespaces shop"]);
    for (const [key, size] of sizes) {
      const [count, bytes] = [reads.get(key)!.length, reads.get(key)!.reduce((sum, one) => sum + one, 0)];
      const figures = `${count} reads of ${bytes} of ${size} bytes of ${key}`;
      assert.ok(count <= 4 && bytes < size / 5, figures);
      t.diagnostic(figures);
    }
  } finally {
    await kube.close();
    await server.stop();
    await proxy.stop();
  }
});
