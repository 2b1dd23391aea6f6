import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseConfig } from "../../core/config.ts";
import { LONGEST_CALLER, type LockedJob } from "../../core/job.ts";
import type { AksReference, ManagedClusters, Platform } from "../../core/ports.ts";
import { createService } from "../../core/service.ts";
import { memoryBucket } from "../memory-bucket.ts";

/** What Step Functions takes as an answer, in bytes. */
const PAYLOAD = 256 * 1024;
/** As long as Azure's names get, and those of a configuration. */
const GROUP = "g".repeat(90);
const WORD = "s".repeat(63);
const CALLER = "ü".repeat(LONGEST_CALLER);
const tags = { backup: "yes" };

/** The jobs of a fleet of so many clusters whose names, schedule and run have the longest names there are. */
function fleet(count: number) {
  const names = Array.from({ length: count }, (_, at) => `${10_000 + at}`.padEnd(63, "c"));
  const aks: ManagedClusters<AksReference> = {
    endpoint: () => assert.fail("no cluster is asked"),
    token: () => assert.fail("no cluster is asked"),
    async *list({ subscription = "" }) {
      for (const name of names) yield { reference: { subscription, resourceGroup: GROUP, name }, tags };
    },
  };
  const bucket = memoryBucket();
  const platform: Platform = {
    buckets: { "file:": async () => bucket },
    secrets: {},
    clusters: { aks: async () => aks },
    jobs: () => assert.fail("who drives is answered"),
  };
  const text = JSON.stringify({
    location: "file:///fleet",
    fleet: { discover: { [WORD]: { aks: { subscription: "s", tags } } }, perMinute: 1, timeout: "24h" },
    schedules: { [WORD]: { schedule: "0 2 * * *", clusters: {} } },
  });
  const service = createService(platform, { config: async () => parseConfig(text, {}).config, listen: () => {} });
  const clusters = names.map((name) => `${WORD}.${GROUP}.${name}`);
  return { clusters, run: (job: LockedJob) => service.run(job, { loops: true }) };
}

describe("what a fleet hands over at once", () => {
  const asked = { schedule: WORD, caller: CALLER, notBefore: new Date().toISOString() };
  const jobs: LockedJob[] = [
    { kind: "fleet", ...asked, name: "r".repeat(231) },
    { kind: "backup", ...asked, slot: "2026-11-23T02:00:00.000Z" },
    { kind: "retention", ...asked },
  ];
  for (const first of jobs)
    it(`fits into an answer, be all names the longest, and leaves out no cluster (${first.kind})`, async () => {
      const { clusters, run } = fleet(1200);
      const given: string[] = [];
      for (let job = first, runs = 0; given.length < clusters.length; runs++) {
        assert(runs < 20, "it does not get on");
        const answer = await run(job);
        const bytes = Buffer.byteLength(JSON.stringify(answer));
        assert(bytes < PAYLOAD, `${bytes} bytes`);
        const { parts = [], next = assert.fail("nothing is left") } = answer;
        assert(parts.length <= 500);
        for (const part of [...parts, next]) if ("cluster" in part && part.cluster) given.push(part.cluster);
        job = next;
      }
      assert.deepEqual(given, clusters);
    });
});
