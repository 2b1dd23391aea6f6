import { execFile, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { cacheRoot, once } from "./cache.ts";

const run = promisify(execFile);

const KUBERNETES = "1.36.3";
const kubernetesVersion = [
  `k8s.io/component-base/version.gitVersion=v${KUBERNETES}`,
  `k8s.io/component-base/version.gitMajor=${KUBERNETES.split(".")[0]}`,
  `k8s.io/component-base/version.gitMinor=${KUBERNETES.split(".")[1]}`,
];

/** Each binary: the folder of its Go module under `go/`, the package to build and the variables set when linking. */
const BINARIES = {
  etcd: { module: "etcd", package: "go.etcd.io/etcd/server/v3", set: [] },
  "kube-apiserver": { module: "kubernetes", package: "k8s.io/kubernetes/cmd/kube-apiserver", set: kubernetesVersion },
  kubectl: { module: "kubernetes", package: "k8s.io/kubernetes/cmd/kubectl", set: kubernetesVersion },
  "kube-controller-manager": {
    module: "kubernetes",
    package: "k8s.io/kubernetes/cmd/kube-controller-manager",
    set: kubernetesVersion,
  },
  "kube-scheduler": { module: "kubernetes", package: "k8s.io/kubernetes/cmd/kube-scheduler", set: kubernetesVersion },
  kwok: { module: "kwok", package: "sigs.k8s.io/kwok/cmd/kwok", set: [] },
  versitygw: { module: "versitygw", package: "github.com/versity/versitygw/cmd/versitygw", set: [] },
  "fake-gcs-server": { module: "fake-gcs-server", package: "github.com/fsouza/fake-gcs-server", set: [] },
  velero: {
    module: "velero",
    package: "github.com/vmware-tanzu/velero/cmd/velero",
    set: [
      "github.com/vmware-tanzu/velero/pkg/buildinfo.Version=v1.18.3",
      // Velero leaves controller-runtime's metrics server at its default, which listens on every interface: "0" is off.
      "sigs.k8s.io/controller-runtime/pkg/metrics/server.DefaultBindAddress=0",
    ],
  },
  "velero-plugin-for-aws": {
    module: "velero",
    package: "github.com/vmware-tanzu/velero-plugin-for-aws/velero-plugin-for-aws",
    set: [],
  },
  restic: { module: "restic", package: "github.com/restic/restic/cmd/restic", set: [] },
  tflint: { module: "tflint", package: "github.com/terraform-linters/tflint", set: [] },
} as const;

/** A server or tool of the rig. */
export type BinaryName = keyof typeof BINARIES;

/** Every binary of the rig, those that most tests need first. */
export const BINARY_NAMES = Object.keys(BINARIES) as BinaryName[];

/** The same by their modules: what is of one shares most of what is compiled, once the first of them is built. */
export const BINARIES_BY_MODULE = Map.groupBy(BINARY_NAMES, (name) => BINARIES[name].module);

const ENVTEST: readonly BinaryName[] = ["etcd", "kube-apiserver", "kubectl"];
const GO_MINOR = 26;

const moduleDir = (module: string) => join(import.meta.dirname, "go", module);

function cacheDir(name: BinaryName): string {
  const { module, package: source, set } = BINARIES[name];
  const hash = createHash("sha256");
  for (const file of ["go.mod", "go.sum"]) hash.update(readFileSync(join(moduleDir(module), file)));
  hash.update(JSON.stringify([source, set, process.platform, process.arch]));
  return join(cacheRoot(), `${module}-${hash.digest("hex").slice(0, 12)}`);
}

/** Where the binary is if it need not be built: among envtest's (`KUBEBUILDER_ASSETS`), or in the cache. */
function installed(name: BinaryName): string | undefined {
  const assets = process.env.KUBEBUILDER_ASSETS;
  const places = [...(assets && ENVTEST.includes(name) ? [join(assets, name)] : []), join(cacheDir(name), name)];
  return places.find((path) => existsSync(path));
}

/** Why these binaries can't be had here (no Go, or one too old, and nothing cached), or undefined. */
export function rigUnavailable(names: readonly BinaryName[] = BINARY_NAMES): string | undefined {
  if (spawnSync("openssl", ["version"]).status !== 0) return "needs the openssl command for the rig's certificates";
  const missing = names.filter((name) => !installed(name));
  if (missing.length === 0) return undefined;
  const version = spawnSync("go", ["env", "GOVERSION"], { encoding: "utf8", cwd: import.meta.dirname });
  const found = version.status === 0 ? version.stdout.trim() : "no go command";
  const minor = Number(/^go1\.(\d+)/.exec(found)?.[1] ?? 0);
  if (minor >= GO_MINOR) return undefined;
  return `needs Go 1.${GO_MINOR} or later to build ${missing.join(", ")} (found: ${found})`;
}

/**
 * The path of an executable. It is built from its Go module at first use (minutes) and kept in the cache:
 * `LIFEBOAT_RIG_CACHE`, or `lifeboat-rig` in the user's cache folder. Throws with the compiler's last lines.
 */
export async function binary(name: BinaryName): Promise<string> {
  return installed(name) ?? once(join(cacheDir(name), name), (path) => goBuild(name, path));
}

/** The path of a YAML file with kwok's own stages: nodes become Ready, Pods Running, Pods of Jobs Succeeded. */
export async function kwokStages(): Promise<string> {
  return once(join(cacheDir("kwok"), "stages.yaml"), async (path) => {
    const { stdout } = await run("go", ["list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"], {
      cwd: moduleDir("kwok"),
    });
    const documents: string[] = [];
    for (const folder of ["node/fast", "node/heartbeat", "pod/fast"]) {
      const dir = join(stdout.trim(), "kustomize/stage", folder);
      const files = (await readdir(dir)).filter((file) => file.endsWith(".yaml") && file !== "kustomization.yaml");
      for (const file of files.sort()) documents.push(await readFile(join(dir, file), "utf8"));
    }
    await writeFile(path, documents.join("---\n"));
  });
}

async function goBuild(name: BinaryName, path: string): Promise<void> {
  const { module, package: source, set } = BINARIES[name];
  const linker = ["-s", "-w", ...set.map((assignment) => `-X ${assignment}`)].join(" ");
  // What debuggers need is left out of the binary; not to make it at all is a tenth of the work.
  const flags = ["-trimpath", "-gcflags=all=-dwarf=false", "-ldflags", linker];
  const options = {
    cwd: moduleDir(module),
    env: { ...process.env, CGO_ENABLED: "0", GOWORK: "off" },
    maxBuffer: 64 * 1024 * 1024,
  };
  await run("go", ["build", ...flags, "-o", path, source], options).catch((error: unknown) => {
    const output = error instanceof Error && "stderr" in error ? String(error.stderr) : "";
    const tail = output.trim().split("\n").slice(-15).join("\n");
    throw new Error(`rig: building ${name} failed:\n${tail || String(error)}`);
  });
}
