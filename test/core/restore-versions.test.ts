import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { openArchive } from "../../core/archive/reader.ts";
import { memoryBucket } from "../memory-bucket.ts";
import { KEYS, put, tarOf } from "./archive-sample.ts";
import { restored, sample } from "./restore-sample.ts";
import { restoreTarget } from "./restore-target.ts";

const SCALERS = "resources/horizontalpodautoscalers.autoscaling";

/** An archive as a Velero with EnableAPIGroupVersions writes it: the first version is the one that the source preferred. */
async function archiveOf(name: string, versions: string[]) {
  const files: Record<string, string> = { "metadata/version": "1.1.0\n" };
  for (const [place, version] of versions.entries()) {
    const [, short] = version.split("/");
    const spec = { maxReplicas: 3, scaleTargetRef: { kind: "Deployment", name: `of-${short}` } };
    const object = JSON.stringify(sample(version, "HorizontalPodAutoscaler", `shop/${name}`, { spec }));
    const path = `namespaces/shop/${name}.json`;
    if (place === 0) files[`${SCALERS}/${path}`] = object;
    files[`${SCALERS}/${short}${place === 0 ? "-preferredversion" : ""}/${path}`] = object;
  }
  return await openArchive(await put(memoryBucket(), { tar: gzipSync(await tarOf(files)) }), KEYS);
}

describe("a Velero archive that holds objects in several versions", () => {
  const { kube, live } = restoreTarget();

  // The target serves autoscaling/v2 alone.
  const cases: [what: string, name: string, versions: string[], target: string | undefined][] = [
    ["the classic one where that is served", "a", ["autoscaling/v2", "autoscaling/v1"], "of-v2"],
    ["another one that is served", "b", ["autoscaling/v1", "autoscaling/v2beta1", "autoscaling/v2"], "of-v2"],
    ["another one before a conversion", "c", ["autoscaling/v2beta2", "autoscaling/v2"], "of-v2"],
    ["a conversion where no other is served", "d", ["autoscaling/v2beta2", "autoscaling/v1"], "of-v2beta2"],
    ["nothing where none is", "e", ["autoscaling/v1", "autoscaling/v2beta1"], undefined],
  ];
  it("says where a resource has gone that moved to another group", async () => {
    const ingress = JSON.stringify(sample("extensions/v1beta1", "Ingress", "shop/web"));
    const files = { "metadata/version": "1", "resources/ingresses.extensions/namespaces/shop/web.json": ingress };
    const archive = await openArchive(await put(memoryBucket(), { tar: gzipSync(await tarOf(files)) }), KEYS);
    const { lines } = await restored(kube, archive);
    assert.deepEqual(lines, [
      "blocked ingresses.extensions shop/web: this cluster doesn't serve ingresses.extensions as extensions/v1beta1; they have become ingresses.networking.k8s.io, with other fields: convert it by hand (kubectl convert)",
    ]);
    await archive.close();
  });

  for (const [what, name, versions, target] of cases) {
    it(`gives ${what}`, async () => {
      const archive = await archiveOf(name, versions);
      const { lines } = await restored(kube, archive);
      const scaler = await live(`/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/${name}`);
      if (target) {
        assert.equal((scaler.spec as { scaleTargetRef: { name: string } }).scaleTargetRef.name, target);
        const again = await restored(kube, archive, { existingResourcePolicy: "update" }, { name: "again" });
        assert.deepEqual([again.result.counts.created, again.result.counts.updated], [0, 0]);
      } else {
        assert.equal(scaler.kind, "Status");
        assert.match(lines.join("\n"), /^blocked .* as autoscaling\/v1, only as autoscaling\/v2/m);
      }
      await archive.close();
    });
  }
});
