import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ApiDeps, createApi } from "../../core/api.ts";
import { writeSideFile } from "../../core/contents.ts";
import type { Job } from "../../core/job.ts";
import { backupKeys } from "../../core/layout.ts";
import { directoryBucket } from "../../functions/cli/bucket.ts";

/** An API over a directory of its own, with the jobs it has handed over and the lines it has logged. */
export async function startApi(change: Partial<ApiDeps> = {}) {
  const dir = await mkdtemp(join(tmpdir(), "lifeboat-api-"));
  const bucket = directoryBucket(dir);
  const jobs: Job[] = [];
  const lines: string[] = [];
  const template = { includedNamespaces: ["*"] };
  const schedule = { schedule: "@hourly", paused: false, skipImmediately: false, template };
  const api = createApi({
    config: {
      location: bucket.location,
      clusters: { a: { kubeconfig: "env:A" } },
      schedules: { hourly: { name: "hourly", cluster: "a", ...schedule } },
      notifications: {},
      signing: {},
      encryption: {},
      volumes: {},
    },
    bucket,
    jobs: { enqueue: async (job) => void jobs.push(job) },
    version: "1.2.3",
    check: async () => ({ schemaVersion: 1, kind: "check", ok: true, checks: [] }),
    log: (line) => lines.push(line),
    ...change,
  });
  const send = async (method: string, path: string, options: RequestInit & { json?: unknown } = {}) => {
    const { json, headers, ...init } = options;
    const request = new Request(`http://lifeboat${path}`, {
      method,
      ...init,
      ...(json !== undefined && { body: JSON.stringify(json) }),
      headers: { ...(json !== undefined && { "content-type": "application/json" }), ...(headers as object) },
    });
    const response = await api.fetch(request, { caller: "someone" });
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.includes("json");
    const body = isJson ? JSON.parse(text) : {};
    return { status: response.status, headers: response.headers, text, body };
  };
  return {
    bucket,
    jobs,
    lines,
    send,
    keys: async () => (await Array.fromAsync(bucket.list(""))).map(({ key }) => key),
    stop: () => rm(dir, { recursive: true, force: true }),
  };
}

export type SampleApi = Awaited<ReturnType<typeof startApi>>;

/** A committed backup as far as the API looks at it. */
export async function putBackup(
  { bucket }: SampleApi,
  name: string,
  { phase = "Completed", labels = {}, annotations = {}, log = "" } = {},
) {
  const keys = backupKeys(name);
  const record = {
    apiVersion: "velero.io/v1",
    kind: "Backup",
    metadata: { name, namespace: "velero", labels, annotations },
    spec: { includedNamespaces: ["*"] },
    status: { phase, startTimestamp: "2026-11-23T02:00:00Z", progress: { itemsBackedUp: 2 } },
  };
  await bucket.put(keys.metadata, Buffer.from(JSON.stringify(record)));
  await writeSideFile(bucket, keys.log, log || `msg="Backup ${name}"\n`);
}

/** A recorded restore. */
export async function putRestore({ bucket }: SampleApi, name: string, backupName = "full") {
  const record = {
    apiVersion: "velero.io/v1",
    kind: "Restore",
    metadata: { name, namespace: "velero", annotations: { "lifeboat/counts": '{"created":2}' } },
    spec: { backupName },
    status: {
      ...{ phase: "Completed", startTimestamp: "2026-11-23T02:00:00Z", completionTimestamp: "2026-11-23T02:00:05Z" },
      ...{ errors: 0, warnings: 0, progress: { totalItems: 2, itemsRestored: 2 } },
    },
  };
  await bucket.put(`restores/${name}/lifeboat-restore.json`, Buffer.from(JSON.stringify(record)));
}
