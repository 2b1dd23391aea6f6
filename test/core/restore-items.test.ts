import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { it } from "node:test";
import { startApiServer } from "../../core/apiserver/server.ts";
import { openArchive } from "../../core/archive/reader.ts";
import { listFolder } from "../../core/catalog.ts";
import { KEYS } from "./archive-sample.ts";
import { bucketOf, restored, sample, watchedKube } from "./restore-sample.ts";

it("restores one object out of a big backup by reading a small part of it", async () => {
  const objects = Array.from({ length: 400 }, (_, number) =>
    sample("v1", "ConfigMap", `shop/c-${number}`, { data: { random: randomBytes(30_000).toString("base64") } }),
  );
  const bucket = await bucketOf([sample("v1", "Namespace", "shop"), ...objects]);
  let read = 0;
  const counting: typeof bucket = {
    ...bucket,
    async get(key, options) {
      const body = await bucket.get(key, options);
      return (async function* () {
        for await (const chunk of body) {
          if (key === KEYS.tar) read += chunk.length;
          yield chunk;
        }
      })();
    },
  };
  const size = (await listFolder(bucket, KEYS.tar)).get(KEYS.tar)!;
  const server = await startApiServer();
  const kube = watchedKube(server.kubeconfig);
  try {
    const archive = await openArchive(counting, KEYS);
    const { lines } = await restored(kube, archive, { includedItems: ["shop/configmaps/c-7"] });
    assert.deepEqual(lines.sort(), ["created configmaps shop/c-7", "created namespaces shop"]);
    assert.ok(size > 12_000_000, `the archive has ${size} bytes`);
    assert.ok(read < size / 5, `${read} of ${size} bytes were read`);
  } finally {
    await kube.close();
    await server.stop();
  }
});
