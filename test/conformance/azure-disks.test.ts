import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { rootCertificates, setDefaultCACertificates } from "node:tls";
import { azureDisks } from "../../functions/azure/disks.ts";
import { type Azure, startAzure } from "../rig/azure.ts";
import { requireOrSkip } from "../rig/require.ts";
import { rejects } from "./bucket.ts";
import { disksConformance } from "./disks.ts";

const signal = AbortSignal.timeout(300_000);
const GiB = 1024 ** 3;
const subscription = randomUUID();
const groupOf = (group: string) => `/subscriptions/${subscription}/resourceGroups/${group}/providers/Microsoft.Compute`;
const GROUP = groupOf("MC_a_(b)");
const renamed = (tags: Record<string, string> = {}, from: string, to: string) =>
  Object.fromEntries(Object.entries(tags).map(([name, value]) => [name.replaceAll(from, to), value]));

/** One for the file: Azure's library remembers where the identity was first. */
let running: Promise<Azure> | undefined;
async function start(): Promise<Azure> {
  running ??= startAzure();
  const azure = await running;
  Object.assign(process.env, azure.env);
  setDefaultCACertificates([...rootCertificates, azure.ca]);
  return azure;
}

/** Puts a disk of 3 GiB among those of the stand-in. */
function addDisk(
  { disks }: Azure,
  fields: { type: string; tags?: Record<string, string>; properties?: object },
): string {
  const name = `pvc-${disks.resources.size}`;
  const id = `${GROUP}/disks/${name}`;
  const properties = { provisioningState: "Succeeded", diskSizeGB: 3, diskSizeBytes: 3 * GiB, ...fields.properties };
  disks.resources.set(id.toLowerCase(), {
    id,
    name,
    location: "westeurope",
    sku: { name: fields.type },
    ...(fields.tags && { tags: fields.tags }),
    properties,
  });
  return id;
}

describe("Azure", { skip: requireOrSkip("rig", []) }, () => {
  after(async () => (await running)?.stop());
  disksConformance("Azure", async () => {
    const azure = await start();
    const zones: [string, string] = ["westeurope-1", "westeurope-3"];
    return {
      disks: azureDisks({ pollMs: 5 }),
      zones,
      fast: { type: "PremiumV2_LRS", iops: 4000, throughput: 300 },
      plain: "Premium_LRS",
      addDisk: async (zone, { type, iops, throughput, tags }) => {
        const properties = iops
          ? { diskIOPSReadWrite: iops, diskMBpsReadWrite: throughput }
          : { diskIOPSReadWrite: 120 };
        return { id: addDisk(azure, { type, tags: renamed(tags, "/", ":"), properties }), zone };
      },
      diskNow: async ({ id }) => {
        const disk = azure.disks.resources.get(id.toLowerCase());
        if (!disk) return undefined;
        const { diskIOPSReadWrite: iops, diskMBpsReadWrite: throughput } = disk.properties as Record<string, number>;
        const own = iops === undefined || throughput === undefined ? undefined : { iops, throughput };
        const zone = `${disk.location}-${disk.zones?.[0]}`;
        return { type: disk.sku?.name ?? "", tags: renamed(disk.tags, ":", "/"), zone, ...own };
      },
      setState: ({ id }, state) => {
        const { properties } = azure.disks.resources.get(id.toLowerCase()) ?? {};
        assert(properties);
        if (state === "pending") properties.completionPercent = 40;
        else properties.copyCompletionError = { errorCode: "CopySourceNotFound", errorMessage: "it is gone" };
      },
      hold: (held) => {
        azure.disks.held = held;
      },
      inTrouble: async (trouble, run) => {
        azure.trouble = trouble;
        await run().finally(() => {
          azure.trouble = undefined;
        });
      },
      absent: {
        disk: { id: `${GROUP}/disks/none`, zone: zones[0] },
        snapshot: { id: `${GROUP}/snapshots/none`, zone: zones[0] },
      },
      badDisks: ["", "disk-1", `${GROUP}/disks/..`, `${GROUP}/disks/a?b`, `${GROUP}/snapshots/a`].map((id) => ({
        id,
        zone: zones[0],
      })),
      badSnapshots: ["", "snapshot-1", `${GROUP}/snapshots/a/../b`, `${GROUP}/disks/a`],
      stop: async () => {},
    };
  });

  describe("Azure's own", () => {
    let azure: Azure;
    before(async () => {
      azure = await start();
    });
    const found = (id: string) => azure.disks.resources.get(id.toLowerCase());
    const snapshotOf = async (id: string, snapshotGroup?: string) =>
      azureDisks({ pollMs: 5, snapshotGroup }).snapshot(
        { id, zone: "westeurope-1" },
        { name: `of ${id}`, tags: {}, signal },
      );

    test("snapshots go to the group that is named for them, disks to that of the nodes", async () => {
      const snapshot = await snapshotOf(addDisk(azure, { type: "Premium_LRS" }), "backups");
      assert(snapshot.id.startsWith(`${groupOf("backups")}/snapshots/of-`), snapshot.id);
      const node = `azure://${groupOf("mc_other")}/virtualMachineScaleSets/aks-1/virtualMachines/0`;
      const made = { name: "r", zone: "westeurope-2", type: "Premium_LRS", node, tags: {}, signal };
      const id = await azureDisks({ pollMs: 5 }).create(snapshot.id, made);
      assert.equal(id, `${groupOf("mc_other")}/disks/r`);
    });

    test("a disk of all zones, or of none, names no zone", async () => {
      for (const [type, zone] of [
        ["Premium_ZRS", "westeurope-1"],
        ["Premium_LRS", ""],
        ["Premium_LRS", "0"],
      ] as const) {
        const snapshot = await snapshotOf(addDisk(azure, { type }));
        const made = { name: `r-${type}-${zone}`, zone, type, tags: {}, signal };
        const id = await azureDisks({ pollMs: 5 }).create(snapshot.id, made);
        assert.equal(found(id)?.zones, undefined);
      }
    });

    test("a zone of another region is invalid", async () => {
      const snapshot = await snapshotOf(addDisk(azure, { type: "Premium_LRS" }));
      const made = { name: "r", zone: "northeurope-1", type: "Premium_LRS", tags: {}, signal };
      const error = await rejects("invalid", azureDisks().create(snapshot.id, made));
      assert.match(error.message, /it is in westeurope/);
    });

    test("a key of the customer's own stays", async () => {
      const encryption = { type: "EncryptionAtRestWithCustomerKey", diskEncryptionSetId: "/subscriptions/s/set" };
      const snapshot = await snapshotOf(addDisk(azure, { type: "Premium_LRS", properties: { encryption } }));
      const made = { name: "enc", zone: "", type: "Premium_LRS", tags: {}, signal };
      const id = await azureDisks({ pollMs: 5 }).create(snapshot.id, made);
      assert.deepEqual(found(id)?.properties.encryption, encryption);
    });

    test("a name that is another disk's snapshot is a conflict", async () => {
      const options = { name: "taken", tags: {}, signal };
      const [one, other] = [addDisk(azure, { type: "Premium_LRS" }), addDisk(azure, { type: "Premium_LRS" })];
      const disks = azureDisks({ pollMs: 5 });
      const first = await disks.snapshot({ id: one, zone: "" }, options);
      await rejects("conflict", disks.snapshot({ id: other, zone: "" }, options));
      assert.equal((await disks.read(first, signal))?.state, "completed");
    });
  });
});
