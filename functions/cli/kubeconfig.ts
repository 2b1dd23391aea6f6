import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { LifeboatError } from "../../core/index.ts";

const HINT = "give one: --kubeconfig FILE, or try without a cluster: lifeboat demo";

/** A kubeconfig's text, and the directory that relative paths in it start from. */
export interface KubeconfigText {
  yaml: string;
  directory: string;
}

/**
 * The kubeconfig as kubectl finds it: the file asked for, else those of $KUBECONFIG, merged, else ~/.kube/config.
 * Throws `invalid` where there is none.
 */
export async function loadKubeconfig(file: string | undefined, env: NodeJS.ProcessEnv): Promise<KubeconfigText> {
  if (file) return readKubeconfigFile(file);
  const files = (env.KUBECONFIG ?? "").split(delimiter).filter(Boolean);
  if (files.length === 0) return readKubeconfigFile(join(homedir(), ".kube", "config"), "");
  if (files.length === 1) return readKubeconfigFile(files[0]!);
  const found = (await Promise.all(files.map(readIfThere))).filter((text) => text !== undefined);
  if (found.length > 0) return { yaml: await mergeKubeconfigs(found), directory: "." };
  throw new LifeboatError("invalid", `none of the kubeconfigs in KUBECONFIG exists: ${files.join(", ")}`, {
    hint: HINT,
  });
}

async function readKubeconfigFile(file: string, because = `no file ${file}`): Promise<KubeconfigText> {
  const text = await readIfThere(file);
  if (text) return text;
  throw new LifeboatError(
    "invalid",
    because
      ? `there is no kubeconfig: ${because}`
      : `there is no kubeconfig: neither --kubeconfig nor KUBECONFIG is given, and there is no file ${file}`,
    {
      hint: HINT,
    },
  );
}

async function readIfThere(file: string): Promise<KubeconfigText | undefined> {
  try {
    return { yaml: await readFile(file, "utf8"), directory: dirname(resolve(file)) };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT") return undefined;
    throw new LifeboatError("invalid", `the kubeconfig ${file} can't be read: ${code}`);
  }
}

/** Fields that hold a path, which is relative to the file they stand in. */
const PATHS = ["certificate-authority", "client-certificate", "client-key", "tokenFile"];
const LISTS = ["clusters", "contexts", "users"] as const;

type Entry = { name?: unknown };
type Merged = Record<(typeof LISTS)[number], Entry[]> & { "current-context": unknown };

/** As kubectl merges: the first file to name a cluster, context or user, or to set current-context, wins. */
async function mergeKubeconfigs(texts: KubeconfigText[]): Promise<string> {
  const { parse, stringify } = await import("yaml");
  const merged = { "current-context": undefined as unknown, clusters: [], contexts: [], users: [] } as Merged;
  for (const { yaml, directory } of texts) {
    const config = parseMapping(yaml, parse, directory);
    merged["current-context"] ||= config["current-context"];
    for (const list of LISTS) {
      const entries = Array.isArray(config[list]) ? (config[list] as Entry[]) : [];
      const unnamed = entries.filter((entry) => !merged[list].some(({ name }) => name === entry?.name));
      merged[list].push(...unnamed.map((entry) => withAbsolutePaths(entry, directory)));
    }
  }
  return stringify(merged);
}

function parseMapping(yaml: string, parse: (text: string) => unknown, directory: string): Record<string, unknown> {
  try {
    const config = parse(yaml) ?? {};
    if (typeof config === "object" && !Array.isArray(config)) return config as Record<string, unknown>;
  } catch {}
  throw new LifeboatError("invalid", `a kubeconfig in ${directory} that KUBECONFIG names is not a YAML mapping`, {
    hint: "check it with: kubectl --kubeconfig FILE config view",
  });
}

function withAbsolutePaths(entry: Entry, directory: string): Entry {
  const absolute = (value: unknown): unknown =>
    typeof value === "object" && value !== null
      ? Object.fromEntries(
          Object.entries(value).map(([key, path]) => [
            key,
            PATHS.includes(key) && typeof path === "string" && path ? resolve(directory, path) : path,
          ]),
        )
      : value;
  return Object.fromEntries(Object.entries(entry).map(([key, value]) => [key, absolute(value)])) as Entry;
}
