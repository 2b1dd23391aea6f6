import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { before, describe, it } from "node:test";
import { openArchive } from "../../core/archive/reader.ts";
import { listFolder } from "../../core/contents.ts";
import type { Bucket } from "../../core/ports.ts";
import { KEYS } from "./archive-sample.ts";
import { bucketOf, restored, sample } from "./restore-sample.ts";
import { restoreTarget } from "./restore-target.ts";

const OBJECTS = 20_000;

/** `bucket`, and how many bytes were read of each of its objects. */
function counting(bucket: Bucket) {
  const read: Record<string, number> = { [KEYS.tar]: 0, [KEYS.index]: 0 };
  const get: Bucket["get"] = async (key, options) => {
    const body = await bucket.get(key, options);
    return (async function* () {
      for await (const chunk of body) {
        read[key]! += chunk.length;
        yield chunk;
      }
    })();
  };
  return { bucket: { ...bucket, get }, read };
}

describe("single objects of a big backup", () => {
  const { kube } = restoreTarget();
  let stored: Bucket;
  let sizes: Map<string, number>;
  before(async () => {
    const text = () => randomBytes(300).toString("base64");
    const configMaps = Array.from({ length: OBJECTS }, (_, number) =>
      sample("v1", "ConfigMap", `shop/c-${number}`, { data: { text: text() } }),
    );
    const claim = { persistentVolumeClaim: { claimName: "data" } };
    const pod = { spec: { containers: [{ name: "a", image: "a" }], volumes: [{ name: "data", ...claim }] } };
    stored = await bucketOf([
      sample("v1", "Namespace", "shop"),
      sample("v1", "Namespace", "other"),
      sample("v1", "PersistentVolumeClaim", "shop/data", { spec: {} }),
      sample("v1", "Pod", "shop/web", pod),
      ...configMaps,
    ]);
    sizes = await listFolder(stored, KEYS.tar.replace(/[^/]+$/, ""));
  });

  it("are restored with what they need by reading a small part of the backup", async (t) => {
    const { bucket, read } = counting(stored);
    const archive = await openArchive(bucket, KEYS);
    const { lines } = await restored(kube, archive, { includedItems: ["shop/po/web", "shop/configmaps/c-7777"] });
    assert.deepEqual(lines.sort(), [
      "created configmaps shop/c-7777",
      "created namespaces shop",
      "created persistentvolumeclaims shop/data",
      "created pods shop/web",
    ]);
    const figures = Object.entries(read).map(([key, bytes]) => `${bytes} of ${sizes.get(key)} bytes of ${key}`);
    // Of the tar the segments of what is restored, each read once to look and once to write; of the index their parts.
    assert.ok(read[KEYS.tar]! < sizes.get(KEYS.tar)! / 10, figures.join(", "));
    assert.ok(read[KEYS.index]! < sizes.get(KEYS.index)! / 5, figures.join(", "));
    t.diagnostic(figures.join(", "));
  });

  it("are missing where the backup doesn't hold them, whatever it takes to find that out", async () => {
    const archive = await openArchive(stored, KEYS);
    await assert.rejects(restored(kube, archive, { includedItems: ["shop/cm/c-77777"] }), {
      kind: "missing",
      message: /doesn't hold "shop\/cm\/c-77777"/,
      hint: /^it holds shop\/cm\/c-17777, shop\/cm\/c-7777,/,
    });
  });
});
