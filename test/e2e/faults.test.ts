import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type ApiProxy, type Fault, isWrite, startApiProxy } from "../rig/apiproxy.ts";
import { type AuditEntry, writes } from "../rig/audit.ts";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { requireOrSkip } from "../rig/require.ts";
import { seed } from "../rig/seed.ts";
import { type BackupDocument, document, type RestoreDocument } from "./lifeboat.ts";
import { objectsAt } from "./objects.ts";

const OBJECTS = 5000;

/** What befalls a write: of a hundred, ten are told to come back, one fails, one breaks off. */
const FAULTS: [percent: number, fault: () => Fault][] = [
  [5, () => ({ status: 429, body: said(429, "TooManyRequests", "too many requests, please try again later") })],
  [
    5,
    () => ({
      status: 429,
      headers: { "retry-after": "1" },
      body: said(429, "TooManyRequests", "the server has received too many requests"),
    }),
  ],
  [1, () => ({ status: 500, body: said(500, "InternalError", "an error on the server has prevented the request") })],
  [0.5, () => "cut before"],
  [0.5, () => "cut after"],
];

describe("a restore through a proxy that loses one write in eight", {
  skip: requireOrSkip("rig", CONTROL_PLANE),
}, () => {
  let source: Cluster;
  let target: Cluster;
  let proxy: ApiProxy;
  let dir: string;
  let backup: BackupDocument;
  const met = new Map<string, number>();

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "lifeboat-faults-"));
    [source, target] = await Promise.all([startCluster(), startCluster({ audit: true })]);
    await seed(source, { objects: OBJECTS });
    const create = ["backup", "create", "full", "--location", `file://${dir}`];
    backup = await document([...create, "--kubeconfig", source.kubeconfigPath]);
    proxy = await startApiProxy(target, (request) => {
      const fault = isWrite(request) ? drawn(Math.random() * 100) : undefined;
      const happens = fault?.() ?? "pass";
      const name = typeof happens === "string" ? happens : String(happens.status);
      met.set(name, (met.get(name) ?? 0) + 1);
      return happens;
    });
    await writeFile(join(dir, "kubeconfig"), proxy.kubeconfig);
  });
  after(async () => {
    await proxy?.stop();
    await Promise.all([source?.stop(), target?.stop()]);
    if (dir) await rm(dir, { recursive: true });
  });

  it("is complete, and creates nothing twice", async (t) => {
    const begun = performance.now();
    const create = ["restore", "create", "r", "--from-backup", "full", "--location", `file://${dir}`];
    const { phase, errors, counts } = await document<RestoreDocument>([
      ...create,
      "--kubeconfig",
      join(dir, "kubeconfig"),
    ]);
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    t.diagnostic(`${seconds} s, ${JSON.stringify(Object.fromEntries(met))}, ${JSON.stringify(counts)}`);
    assert.deepEqual([phase, errors], ["Completed", []]);

    const { metadata } = await target.api.request("GET", "/api/v1/namespaces?limit=1");
    const [there, wanted] = await Promise.all([
      objectsAt(target, String(metadata.resourceVersion)),
      objectsAt(source, backup.consistency.resourceVersion),
    ]);
    // Of a Service the API server may have told something in an event.
    const seeded = [...wanted.keys()].filter((key) => key.includes("seed") && !key.startsWith("events "));
    assert.ok(seeded.length >= OBJECTS, `${seeded.length}`);
    assert.deepEqual(
      seeded.filter((key) => !there.has(key)),
      [],
    );
    const audit = await target.audit();
    const ours = audit.filter(({ userAgent }) => userAgent === "lifeboat");
    const made = writes(ours).filter(({ verb, responseStatus }) => verb === "create" && responseStatus?.code === 201);
    const seen = new Set(made.map(objectOf));
    assert.ok(seen.size >= OBJECTS, `${seen.size}`);
    assert.equal(made.length, seen.size, "an object was created twice");
    const gets = ours.filter(({ verb }) => verb === "get").length;
    assert.ok(gets < OBJECTS / 20, `${gets} objects were read one by one`);
  });
});

function drawn(dice: number): (() => Fault) | undefined {
  let sum = 0;
  for (const [percent, fault] of FAULTS) {
    sum += percent;
    if (dice < sum) return fault;
  }
  return undefined;
}

function objectOf({ objectRef }: AuditEntry): string {
  const { resource, namespace, name } = objectRef as { resource: string; namespace?: string; name: string };
  return `${resource} ${namespace}/${name}`;
}

function said(code: number, reason: string, message: string): object {
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, reason, code };
}
