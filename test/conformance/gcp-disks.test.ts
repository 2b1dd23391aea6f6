import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { gceDisks } from "../../functions/gcp/disks.ts";
import { type Gcp, startGcp } from "../rig/gcp.ts";
import { rejects } from "./bucket.ts";
import { disksConformance } from "./disks.ts";

const ZONES: [string, string] = ["europe-west1-b", "europe-west1-c"];
const BASE = "https://www.googleapis.com/compute/v1/";
const signal = AbortSignal.timeout(300_000);
const typeUrl = (zone: string, type: string) => `${BASE}projects/rig-project/zones/${zone}/diskTypes/${type}`;

/** Puts a disk of 3 GB among those of the stand-in. */
function addDisk({ compute, project }: Gcp, zone: string, fields: object): string {
  const name = `pvc-${compute.disks.size}`;
  const path = `projects/${project}/${zone.includes("/") ? zone : `zones/${zone}`}/disks/${name}`;
  compute.disks.set(path, { name, status: "READY", sizeGb: "3", selfLink: BASE + path, ...fields });
  return path;
}

disksConformance("Google Cloud", async () => {
  const gcp = await startGcp();
  Object.assign(process.env, gcp.env);
  const { compute, project } = gcp;
  return {
    disks: gceDisks({ pollMs: 5 }),
    zones: ZONES,
    fast: { type: typeUrl(ZONES[0], "hyperdisk-balanced"), iops: 4000, throughput: 300 },
    plain: typeUrl(ZONES[1], "pd-ssd"),
    async addDisk(zone, { type, iops, throughput, tags }) {
      const own = {
        type,
        description: JSON.stringify(tags),
        ...(iops && { provisionedIops: String(iops), provisionedThroughput: String(throughput) }),
      };
      return { id: addDisk(gcp, zone, own), zone };
    },
    async diskNow({ id }) {
      const disk = compute.disks.get(id);
      if (!disk) return undefined;
      const { type, provisionedIops, provisionedThroughput, description } = disk as Record<string, string>;
      const own = provisionedIops
        ? { iops: Number(provisionedIops), throughput: Number(provisionedThroughput) }
        : undefined;
      const zone = /zones\/([^/]+)/.exec(id)?.[1] ?? "";
      return { type: type ?? "", tags: JSON.parse(description ?? ""), zone, ...own };
    },
    setState({ id }, state) {
      const snapshot = compute.snapshots.get(id);
      assert(snapshot);
      // Of no known status, it stays as it is.
      snapshot.status = state === "failed" ? "FAILED" : "DELETING";
    },
    hold: (held) => {
      compute.held = held;
    },
    inTrouble: async (trouble, run) => {
      gcp.trouble = trouble;
      await run().finally(() => {
        gcp.trouble = undefined;
      });
    },
    absent: {
      disk: { id: `projects/${project}/zones/${ZONES[0]}/disks/none`, zone: ZONES[0] },
      snapshot: { id: `projects/${project}/global/snapshots/none`, zone: ZONES[0] },
    },
    badDisks: ["", "../x", "projects/p/zones/z/disks/../../x", "a b"].map((id) => ({ id, zone: ZONES[0] })),
    badSnapshots: ["", "projects/p/global/images/x", "projects/p/global/snapshots/x?y=z", "Ä"],
    stop: gcp.stop,
  };
});

describe("disks of Google Cloud", () => {
  let gcp: Gcp;
  before(async () => {
    gcp = await startGcp();
    Object.assign(process.env, gcp.env);
  });
  after(() => gcp?.stop());
  const disks = gceDisks;
  const snapshotOf = async (id: string, zone: string) => {
    const snapshot = await disks({ pollMs: 5 }).snapshot({ id, zone }, { name: `of ${id}`, tags: {}, signal });
    while ((await disks().read(snapshot, signal))?.state !== "completed");
    return snapshot;
  };

  test("a disk of several zones is the region's, and so is one made of it", async () => {
    const replicaZones = ZONES.map((zone) => `${BASE}projects/${gcp.project}/zones/${zone}`);
    const type = `${BASE}projects/${gcp.project}/regions/europe-west1/diskTypes/pd-ssd`;
    const id = addDisk(gcp, "regions/europe-west1", { replicaZones, type });
    const snapshot = await snapshotOf(id, "");
    assert.equal(snapshot.zone, ZONES.join("__"));
    const made = { name: "r", zone: "europe-west1-c__europe-west1-d", type: snapshot.type, tags: {}, signal };
    const path = await disks({ pollMs: 5 }).create(snapshot.id, made);
    assert.equal(path, `projects/${gcp.project}/regions/europe-west1/disks/r`);
    const zones = gcp.compute.disks.get(path)?.replicaZones as string[];
    assert.deepEqual(zones.map((zone) => zone.split("/").at(-1)).join("__"), made.zone);
  });

  test("a failed snapshot of the same name is made anew", async () => {
    const id = addDisk(gcp, ZONES[0], { type: typeUrl(ZONES[0], "pd-ssd") });
    const first = await snapshotOf(id, ZONES[0]);
    gcp.compute.snapshots.get(first.id)!.status = "FAILED";
    assert.deepEqual(await snapshotOf(id, ZONES[0]), first);
  });

  test("a name that is another disk's snapshot is a conflict", async () => {
    const [one, other] = [0, 1].map(() => addDisk(gcp, ZONES[0], { type: typeUrl(ZONES[0], "pd-ssd") }));
    const options = { name: "taken", tags: {}, signal };
    await disks({ pollMs: 5 }).snapshot({ id: one ?? "", zone: "" }, options);
    await rejects("conflict", disks({ pollMs: 5 }).snapshot({ id: other ?? "", zone: "" }, options));
  });

  test("a bare name is of the project of the credentials", async () => {
    const id = addDisk(gcp, ZONES[0], { type: typeUrl(ZONES[0], "pd-ssd") });
    const snapshot = await snapshotOf(id.split("/").at(-1) ?? "", ZONES[0]);
    assert.match(snapshot.id, /^projects\/rig-project\/global\/snapshots\//);
    const bare = snapshot.id.split("/").at(-1) ?? "";
    assert.equal((await disks().read({ id: bare, zone: "" }, signal))?.id, snapshot.id);
  });

  test("a disk goes to the project of the nodes, and keeps the snapshot's own key", async () => {
    const kmsKeyName = "projects/p/locations/l/keyRings/r/cryptoKeys/k";
    const diskEncryptionKey = { kmsKeyName: `${kmsKeyName}/cryptoKeyVersions/3` };
    const id = addDisk(gcp, ZONES[0], { type: typeUrl(ZONES[0], "pd-ssd"), diskEncryptionKey });
    const snapshot = await snapshotOf(id, ZONES[0]);
    const node = `gce://other-project/${ZONES[0]}/gke-node-1`;
    const made = { name: "Other/Project", zone: ZONES[0], type: snapshot.type, node, tags: {}, signal };
    const path = await disks({ pollMs: 5 }).create(snapshot.id, made);
    assert.match(path, new RegExp(`^projects/other-project/zones/${ZONES[0]}/disks/other-project-[0-9a-f]{12}$`));
    assert.deepEqual(gcp.compute.disks.get(path)?.diskEncryptionKey, { kmsKeyName });
  });
});
