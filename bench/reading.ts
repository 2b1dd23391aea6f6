import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { directoryBucket } from "../functions/cli/bucket.ts";
import { putBackup } from "../test/core/location-sample.ts";
import type { KubernetesObject } from "./lifeboat.ts";

/**
 * Makes hourly backups of a cluster in which some objects change each hour, into a directory, and measures the commands
 * that look into all of them, each in a process of its own.
 */
const { values } = parseArgs({
  options: {
    backups: { type: "string", default: "200" },
    objects: { type: "string", default: "5000" },
    repeat: { type: "string", default: "3" },
  },
});
const backups = Number(values.backups);
const objects = Number(values.objects);
const repeat = Number(values.repeat);

const run = promisify(execFile);
const root = join(import.meta.dirname, "..");
const dir = await mkdtemp(join(tmpdir(), "lifeboat-reading-"));
const print = (text: string) => process.stdout.write(`${text}\n`);

/** Of 100 objects so many are of each kind, as in clusters of services. */
const KINDS = ["Deployment", ...Array(3).fill("ReplicaSet"), "Service", "ConfigMap", "Secret", ...Array(3).fill("Pod")];
const API_VERSIONS: Record<string, string> = { Deployment: "apps/v1", ReplicaSet: "apps/v1" };
/** One in so many objects is changed from one backup to the next, one in so many of these gets a new image. */
const CHANGED = 100;

const digest = (text: string) => createHash("sha256").update(text).digest("hex");

/** The object of that number as it is after so many hours: about 2 KB. */
function objectAt(number: number, hour: number): KubernetesObject {
  const kind = KINDS[number % KINDS.length]!;
  const app = `app-${Math.floor(number / KINDS.length) % 250}`;
  // Its last change: every CHANGED hours, another hour for each object.
  const changes = Math.floor((hour + ((number * 37) % CHANGED)) / CHANGED);
  const uid = digest(`${number}`);
  const image = `registry.example.com/team-${number % 12}/${app}:1.${changes}`;
  const pod = {
    serviceAccountName: app,
    containers: [
      {
        name: app,
        image,
        env: Array.from({ length: 8 }, (_, i) => ({ name: `SETTING_${i}`, value: digest(`${app} ${i}`).slice(0, 24) })),
        resources: { requests: { cpu: "100m", memory: "128Mi" }, limits: { memory: "256Mi" } },
      },
      { name: "proxy", image: "registry.example.com/mesh/proxy:2.4.1", args: ["sidecar", "--level=warning"] },
    ],
  };
  const labels = { "app.kubernetes.io/name": app, "app.kubernetes.io/part-of": "shop", team: `team-${number % 12}` };
  const template = { metadata: { labels }, spec: pod };
  const data = Object.fromEntries(
    Array.from({ length: 12 }, (_, i) => [`key-${i}`, digest(`${number} ${i} ${changes}`)]),
  );
  return {
    apiVersion: API_VERSIONS[kind] ?? "v1",
    kind,
    metadata: {
      name: `${app}-${uid.slice(0, 10)}`,
      namespace: `ns-${number % 40}`,
      uid: `${uid.slice(0, 8)}-${uid.slice(8, 12)}-4000-8000-${uid.slice(12, 24)}`,
      resourceVersion: String(100_000 + number + changes * objects),
      creationTimestamp: "2026-01-01T00:00:00Z",
      labels,
      annotations: { "example.com/digest": digest(`${number} annotation`) },
    },
    ...(kind === "ConfigMap" || kind === "Secret" ? { data } : {}),
    ...(kind === "Pod" ? { spec: pod, status: { phase: "Running", podIP: "10.0.0.1", hostIP: "10.1.0.1" } } : {}),
    ...(kind === "Service" ? { spec: { selector: labels, ports: [{ port: 80, targetPort: 8080 }] } } : {}),
    ...(API_VERSIONS[kind] ? { spec: { replicas: 2, selector: { matchLabels: labels }, template } } : {}),
  };
}

const named = (number: number) => {
  const { kind, metadata } = objectAt(number, 0);
  return `${metadata.namespace}/${kind}/${metadata.name}`;
};

const COMMANDS: [what: string, ...args: string[]][] = [
  ["search TEXT, few objects", "search", "app-77-"],
  ["search TEXT, all objects", "search", "shop"],
  ["search --kind", "search", "--kind", "pods"],
  ["search --image", "search", "--image", "team-3/app-33:1.1"],
  ["search --label", "search", "--label", "team=team-7"],
  ["search, nothing found", "search", "no-such-thing"],
  ["history", "history", named(20)],
  ["history --diff", "history", named(30), "--diff"],
];

try {
  await run("npm", ["run", "build", "--silent", "cli"], { cwd: root });
  const bucket = directoryBucket(dir);
  for (let hour = 0; hour < backups; hour++) {
    const at = new Date(Date.UTC(2026, 0, 1, hour)).toISOString().replace(".000", "");
    const name = `hourly-${at.replace(/[-:TZ]/g, "")}`;
    await putBackup(
      bucket,
      name,
      Array.from({ length: objects }, (_, number) => objectAt(number, hour)),
      { at },
    );
  }
  print(
    `${cpus()[0]?.model} × ${cpus().length}, Node ${process.version}, ${backups} backups of ${objects} objects in a directory\n`,
  );
  for (const [what, ...args] of COMMANDS) {
    const seconds: number[] = [];
    let peakMB = 0;
    let cpu = 0;
    for (let round = 0; round < repeat; round++) {
      const start = performance.now();
      await run(
        process.execPath,
        [
          "--import",
          join(root, "bench/peak.mjs"),
          join(root, "dist/lifeboat.mjs"),
          "backup",
          ...args,
          "--location",
          dir,
        ],
        { env: { ...process.env, PEAK_FILE: join(dir, "peak") }, maxBuffer: 1 << 28 },
      );
      seconds.push((performance.now() - start) / 1000);
      const { peakKiB, cpuSeconds } = JSON.parse(await readFile(join(dir, "peak"), "utf8"));
      peakMB = Math.max(peakMB, (peakKiB * 1024) / 1e6);
      cpu = cpuSeconds;
    }
    const median = seconds.toSorted((a, b) => a - b)[Math.floor(repeat / 2)]!;
    print(
      `${what.padEnd(28)} ${median.toFixed(2).padStart(7)} s ${cpu.toFixed(2).padStart(7)} s of CPU ${peakMB.toFixed(0).padStart(5)} MB peak`,
    );
  }
} finally {
  await rm(dir, { recursive: true, force: true });
}
