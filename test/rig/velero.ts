import { execFile } from "node:child_process";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { KubeObject } from "./api.ts";
import { type BinaryName, binary } from "./binaries.ts";
import type { Cluster } from "./cluster.ts";
import { freePorts, makeDir, removeDir, type Server, startServer, until } from "./process.ts";
import type { S3 } from "./s3.ts";

const run = promisify(execFile);
const API = "/apis/velero.io/v1/namespaces/velero";
const TERMINAL = new Set(["Completed", "PartiallyFailed", "Failed", "FailedValidation"]);

/** What `startVelero` runs, for `requireOrSkip`. */
export const VELERO: readonly BinaryName[] = ["velero", "velero-plugin-for-aws", "versitygw"];

const QUICK = ["--client-qps=1000", "--client-burst=2000", "--log-level=warning"];

/** A Backup or Restore of Velero. */
export interface VeleroObject extends KubeObject {
  spec: Record<string, unknown>;
  status?: { phase?: string; warnings?: number; errors?: number; [field: string]: unknown };
}

/** A real Velero server that works on a cluster from outside, with one BackupStorageLocation, `default`. */
export interface Velero extends AsyncDisposable {
  /** Runs Velero's command line on the cluster; gives its stdout, throws with its stderr. */
  cli(args: readonly string[]): Promise<string>;
  /** Creates a Backup with this BackupSpec and waits for its end, good or bad. */
  createBackup(name: string, spec?: Record<string, unknown>): Promise<VeleroObject>;
  /** Creates a Backup for each of these BackupSpecs, by name, and waits for the end of all, good or bad. */
  createBackups(specs: ReadonlyMap<string, Record<string, unknown>>): Promise<Map<string, VeleroObject>>;
  /** Creates a Restore with this RestoreSpec (`backupName` …) and waits for its end, good or bad. */
  createRestore(name: string, spec: Record<string, unknown>): Promise<VeleroObject>;
  /** Waits until Velero has found a backup in the bucket and made a Backup of it. */
  waitForSyncedBackup(name: string): Promise<VeleroObject>;
  /** The server's last log lines. */
  log(): string;
  stop(): Promise<void>;
}

/**
 * Installs Velero's CRDs and objects in the cluster and starts a server whose location is `prefix` in the S3 bucket. With
 * `concurrent` it makes so many backups at a time, of `createBackups` alone; with `csi` it takes CSI snapshots.
 */
export async function startVelero(
  cluster: Cluster,
  s3: S3,
  prefix: string,
  { concurrent = 1, csi = false }: { concurrent?: number; csi?: boolean } = {},
): Promise<Velero> {
  const velero = await binary("velero");
  const dir = makeDir("velero");
  const servers: Server[] = [];
  const endServer = () => Promise.all(servers.splice(0).map((server) => server.stop()));
  const stop = async () => {
    await endServer();
    await removeDir(dir);
  };
  const cli = async (args: readonly string[]) => {
    const flags = ["--kubeconfig", cluster.kubeconfigPath, "--namespace", "velero", "--colorized=false"];
    const env = { PATH: process.env.PATH, HOME: dir, TMPDIR: dir };
    return (await run(velero, [...flags, ...args], { env, maxBuffer: 512 * 1024 * 1024 })).stdout;
  };
  try {
    const crds = await cli(["install", "--crds-only", "--dry-run", "-o", "yaml"]);
    await cluster.kubectl(["apply", "--server-side", "-f", "-"], { input: crds });
    await cluster.kubectl(["wait", "--for=condition=Established", "crd", "-l", "component=velero", "--timeout=30s"]);
    const objects = { apiVersion: "v1", kind: "List", items: installation(s3, prefix) };
    await cluster.kubectl(["apply", "-f", "-"], { input: JSON.stringify(objects) });
    const setting = { ...(await prepareServer(dir, s3)), concurrent, csi };
    servers.push(await startVeleroServer(dir, velero, cluster, setting));
    await until("Velero to have validated its location", () => isValidated(cluster), { servers, everyMs: 200 });

    const finished = (what: string, path: string) =>
      until(
        what,
        async () => {
          const object = await cluster.api.request<VeleroObject>("GET", path);
          return isTerminal(object.status) && object;
        },
        { servers, seconds: 300, everyMs: 200 },
      );
    const create = async (kind: "Backup" | "Restore", name: string, spec: Record<string, unknown>) => {
      const path = `${API}/${kind.toLowerCase()}s`;
      await cluster.api.request("POST", path, { apiVersion: "velero.io/v1", kind, metadata: { name }, spec });
      return finished(`Velero's ${kind} ${name}`, `${path}/${name}`);
    };
    return {
      cli,
      createBackup: (name, spec = {}) => create("Backup", name, { storageLocation: "default", ...spec }),
      createBackups: async (specs) => {
        const path = `${API}/backups`;
        // They are in no backup themselves.
        const labels = { "velero.io/exclude-from-backup": "true" };
        for (const [name, spec] of specs) {
          const metadata = { name, labels };
          const backup = { apiVersion: "velero.io/v1", kind: "Backup", metadata };
          await cluster.api.request("POST", path, { ...backup, spec: { storageLocation: "default", ...spec } });
          // In place of the queue, which lets none run beside another of the same namespaces.
          if (concurrent > 1)
            await cluster.api.request("PATCH", `${path}/${name}`, { status: { phase: "ReadyToStart" } });
        }
        return until(
          `Velero's ${specs.size} Backups`,
          async () => {
            const { items } = await cluster.api.request<{ items: VeleroObject[] }>("GET", path);
            const ended = items.filter(({ metadata, status }) => specs.has(metadata.name) && isTerminal(status));
            return ended.length === specs.size && new Map(ended.map((item) => [item.metadata.name, item]));
          },
          { servers, seconds: 600, everyMs: 1000 },
        );
      },
      createRestore: (name, spec) => create("Restore", name, spec),
      waitForSyncedBackup: async (name) => {
        const path = `${API}/backups/${name}`;
        const known = await cluster.api.request("GET", path).catch(() => undefined);
        // Velero looks into the bucket when it starts and then once a minute, whatever its sync period.
        if (!known) {
          await endServer();
          servers.push(await startVeleroServer(dir, velero, cluster, setting));
        }
        return finished(`Velero to find backup ${name}`, path);
      },
      log: () => servers[0]?.log() ?? "",
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function isTerminal(status: VeleroObject["status"]): boolean {
  return TERMINAL.has(status?.phase ?? "");
}

/** Lays out the server's plugin and credentials in `dir`. */
async function prepareServer(dir: string, s3: S3): Promise<{ plugins: string; credentials: string }> {
  const plugins = join(dir, "plugins");
  await mkdir(plugins);
  await symlink(await binary("velero-plugin-for-aws"), join(plugins, "velero-plugin-for-aws"));
  const credentials = join(dir, "credentials.ini");
  const profile = `[default]\naws_access_key_id=${s3.accessKeyId}\naws_secret_access_key=${s3.secretAccessKey}\n`;
  await writeFile(credentials, profile, { mode: 0o600 });
  return { plugins, credentials };
}

async function startVeleroServer(
  dir: string,
  velero: string,
  cluster: Cluster,
  { plugins, credentials, concurrent, csi }: { plugins: string; credentials: string; concurrent: number; csi: boolean },
): Promise<Server> {
  const [metrics = 0, profiler = 0] = await freePorts(2);
  const flags = [
    "--namespace=velero",
    `--kubeconfig=${cluster.kubeconfigPath}`,
    `--plugin-dir=${plugins}`,
    `--metrics-address=127.0.0.1:${metrics}`,
    `--profiler-address=127.0.0.1:${profiler}`,
    "--backup-sync-period=1s",
    "--store-validation-frequency=5s",
    "--item-operation-sync-frequency=1s",
    ...(csi ? ["--features=EnableCSI"] : []),
    ...(concurrent > 1 ? [`--concurrent-backups=${concurrent}`, "--disable-controllers=backup-queue", ...QUICK] : []),
  ];
  const env = { AWS_SHARED_CREDENTIALS_FILE: credentials, VELERO_SCRATCH_DIR: dir };
  return startServer(dir, "velero", velero, ["server", ...flags], env);
}

async function isValidated(cluster: Cluster): Promise<boolean> {
  const location = await cluster.api.request<VeleroObject>("GET", `${API}/backupstoragelocations/default`);
  return location.status?.phase === "Available" && location.status.lastValidationTime !== undefined;
}

/** The objects that a Velero outside the cluster needs; before restoring Pods it reads its image from the Deployment. */
function installation(s3: S3, prefix: string): unknown[] {
  const labels = { component: "velero" };
  const metadata = { name: "velero", namespace: "velero", labels };
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "velero", labels } },
    {
      apiVersion: "velero.io/v1",
      kind: "BackupStorageLocation",
      metadata: { name: "default", namespace: "velero" },
      spec: {
        provider: "aws",
        default: true,
        objectStorage: { bucket: s3.bucket, prefix },
        config: { region: s3.region, s3ForcePathStyle: "true", s3Url: s3.endpoint, checksumAlgorithm: "" },
      },
      // Without a phase the server, when it starts, does not yet look for backups in the bucket.
      status: { phase: "Available" },
    },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata,
      spec: {
        replicas: 0,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: { containers: [{ name: "velero", image: "velero/velero:v1.18.3", command: ["/velero"] }] },
        },
      },
    },
  ];
}
