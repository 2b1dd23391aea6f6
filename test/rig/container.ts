import { spawn, spawnSync } from "node:child_process";
import { closeSync, existsSync, openSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** What a container needs to be run on this machine. */
export interface ContainerSpec {
  /** Its host name. */
  host: string;
  /** Of the image: an executable of this machine. */
  entrypoint: string;
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  /** Folders of this machine by their paths in the container. */
  mounts: readonly { path: string; source: string; readOnly: boolean }[];
  user: number;
  readOnlyRoot: boolean;
  /** All that root may do, by Kubernetes' names. */
  capabilities: readonly string[];
}

/** A container that runs. */
export interface Running {
  /** Resolves with its exit code. */
  ended: Promise<number>;
  /** Ends it as a kubelet does; with `now` without asking it. */
  kill(now?: boolean): void;
}

/** Why no containers can be run on this machine; undefined where they can. */
export function containersUnavailable(): string | undefined {
  if (process.getuid?.() !== 0) return "needs to be root, for mount namespaces";
  const tried = spawnSync("unshare", [
    "--mount",
    "--uts",
    "--propagation",
    "private",
    "mount",
    "--bind",
    "/tmp",
    "/tmp",
  ]);
  return tried.status === 0 ? undefined : "needs mount namespaces (unshare --mount)";
}

/** What every container sees of this machine, to be run at all; an image would have its own. */
const DEVICES = ["/dev", "/proc"];
const SYSTEM = ["/bin", "/lib", "/lib64", "/usr", ...DEVICES];

/**
 * Runs a program of this machine as if in a container: its own root with nothing but its mounts, its own host name, its
 * capabilities and no more. What it writes goes to `log`. `dir` is a folder of its own.
 */
export async function runContainer(spec: ContainerSpec, dir: string, log: string): Promise<Running> {
  const root = join(dir, "root");
  const q = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const script = ["set -e", `hostname ${q(spec.host)}`];
  const mount = (source: string, path: string, readOnly: boolean) => {
    script.push(`mkdir -p ${q(root + path)}`, `mount --rbind ${q(source)} ${q(root + path)}`);
    if (readOnly) script.push(`mount -o remount,bind,ro ${q(root + path)}`);
  };
  await mkdir(root, { recursive: true });
  script.push(`mount --bind ${q(root)} ${q(root)}`);
  for (const path of SYSTEM.filter((path) => existsSync(path))) mount(path, path, !DEVICES.includes(path));
  for (const { source, path, readOnly } of spec.mounts) mount(source, path, readOnly);
  script.push(
    `touch ${q(join(root, "entrypoint"))}`,
    `mount --bind ${q(spec.entrypoint)} ${q(join(root, "entrypoint"))}`,
  );
  if (spec.readOnlyRoot) script.push(`mount -o remount,bind,ro ${q(root)}`);
  const may = spec.capabilities.map((name) => `+${name.toLowerCase()}`);
  const bounds = ["-all", ...may].join(",");
  const drop = ["setpriv", `--bounding-set=${bounds}`, "--inh-caps=-all", "--no-new-privs"];
  const as = spec.user === 0 ? [] : [`--reuid=${spec.user}`, `--regid=${spec.user}`, "--clear-groups"];
  script.push(`exec chroot ${q(root)} ${[...drop, ...as, "/entrypoint", ...spec.args].map(q).join(" ")}`);
  const file = join(dir, "run.sh");
  await writeFile(file, script.join("\n"));

  const output = openSync(log, "a");
  const child = spawn("unshare", ["--mount", "--uts", "--propagation", "private", "sh", file], {
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ...spec.env },
    stdio: ["ignore", output, output],
    detached: true,
  });
  closeSync(output);
  const ended = new Promise<number>((resolve) => {
    child.on("close", (code, signal) => resolve(code ?? (signal === "SIGKILL" ? 137 : 143)));
  });
  return {
    ended,
    kill: (now = false) => {
      try {
        process.kill(-(child.pid ?? 0), now ? "SIGKILL" : "SIGTERM");
      } catch {
        // It has ended already.
      }
    },
  };
}
