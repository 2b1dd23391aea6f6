import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { type BuildOptions, build, type Metafile, type Plugin } from "esbuild";
import { zip } from "./zip.ts";

const ROOT = join(import.meta.dirname, "..");
const LICENSES = "third-party-licenses.txt";

/** CommonJS dependencies in an ES module still call `require` for Node's own modules. */
const BANNER =
  'import{createRequire as lifeboatRequire}from"node:module";const require=lifeboatRequire(import.meta.url);';

/** Modules that are left out, though a dependency imports them, and what it is given instead. */
const PRUNED = [
  {
    // One function of this module is wanted, and with it would come all of Kubernetes' generated models.
    importer: /\/@kubernetes\/client-node\/dist\/oidc_auth\.js$/,
    path: "./config.js",
    instead: `import { readFileSync } from "node:fs";
      export const bufferFromFileOrString = (file, data) =>
        file ? readFileSync(file) : data ? Buffer.from(data, "base64") : null;`,
  },
  {
    // Fifty languages of which nobody asks for one; English is imported apart.
    importer: /\/zod\/v4\/(core|classic)\/(index|external)\.js$/,
    path: "../locales/index.js",
    instead: "export {}",
  },
] as const;

const prune: Plugin = {
  name: "prune",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^\./ }, ({ path, importer }) => {
      const found = PRUNED.find((row) => row.path === path && row.importer.test(importer.replaceAll("\\", "/")));
      return found ? { path, namespace: "pruned", pluginData: found.instead } : null;
    });
    onLoad({ filter: /./, namespace: "pruned" }, ({ pluginData }) => ({ contents: pluginData }));
  },
};

/**
 * How everything is bundled. Chunks, since in a single file every start would parse every SDK. No source maps: names
 * are kept, which is what a stack trace is read for, and the maps would make each zip three times as large.
 */
const BUNDLE: BuildOptions & { metafile: true } = {
  absWorkingDir: ROOT,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  splitting: true,
  platform: "node",
  target: "node24",
  format: "esm",
  minify: true,
  keepNames: true,
  legalComments: "none",
  banner: { js: BANNER },
  // ES modules first, where a package has both: only they can be stripped of what is not used.
  mainFields: ["module", "main"],
  plugins: [prune],
  metafile: true,
  logLevel: "warning",
};

/** The platforms that a zip is made for. */
export const CLOUDS = ["aws", "gcp", "azure"] as const;
export type Cloud = (typeof CLOUDS)[number];

/** What a cloud's runtime needs beside `index.mjs`: modules that it brings itself, and files. */
const RUNTIMES: Record<Cloud, { external: string[]; files: () => Promise<Record<string, Buffer>> }> = {
  aws: { external: [], files: async () => ({}) },
  gcp: {
    external: ["@google-cloud/functions-framework"],
    // An empty gcp-build keeps the buildpack from running a build of its own.
    files: async () => ({
      "package.json": json({
        private: true,
        type: "module",
        main: "index.mjs",
        scripts: { "gcp-build": "" },
        dependencies: await pinned("@google-cloud/functions-framework"),
      }),
    }),
  },
  azure: {
    external: ["@azure/functions-core"],
    files: async () => ({
      "host.json": await readFile(join(ROOT, "functions/azure/host.json")),
      "package.json": json({ private: true, type: "module", main: "index.mjs" }),
    }),
  },
};

/** Builds the command line: `<dist>/lifeboat.mjs` with its chunks and the licences of what is in them. */
export async function buildCli(dist: string): Promise<{ metafile: Metafile }> {
  const { metafile } = await build({
    ...BUNDLE,
    entryPoints: ["functions/cli/main.ts"],
    outdir: dist,
    entryNames: "lifeboat",
    chunkNames: "chunks/[name]-[hash]",
  });
  await writeFile(join(dist, LICENSES), await licenses(metafile));
  return { metafile };
}

/**
 * Builds a cloud's function: the folder `<dist>/<cloud>` as the platform unpacks it, and `<dist>/lifeboat-<cloud>.zip`.
 * The same sources give the same bytes. `entry`: the handler's module, by default `functions/<cloud>/handler.ts`.
 */
export async function buildCloud(
  cloud: Cloud,
  dist: string,
  entry = `functions/${cloud}/handler.ts`,
): Promise<{ metafile: Metafile; zip: string }> {
  const dir = join(dist, cloud);
  const { external, files } = RUNTIMES[cloud];
  const { metafile, outputFiles } = await build({
    ...BUNDLE,
    entryPoints: { index: entry },
    outdir: dir,
    chunkNames: "chunks/[name]-[hash]",
    external,
    write: false,
  });
  const contents: Record<string, Buffer> = { ...(await files()), [LICENSES]: Buffer.from(await licenses(metafile)) };
  for (const { path, contents: code } of outputFiles) contents[path.slice(dir.length + 1)] = Buffer.from(code);
  await rm(dir, { recursive: true, force: true });
  await mkdir(join(dir, "chunks"), { recursive: true });
  for (const [path, content] of Object.entries(contents)) await writeFile(join(dir, path), content);
  const path = join(dist, `lifeboat-${cloud}.zip`);
  await writeFile(path, zip(contents));
  return { metafile, zip: path };
}

/** The licences and notices of all packages that are in a bundle, each text once. */
async function licenses({ inputs }: Metafile): Promise<string> {
  const folders = Object.keys(inputs).flatMap(
    (path) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? [],
  );
  const packages = new Map<string, string[]>();
  for (const folder of [...new Set(folders)].sort()) {
    const { name, version, license } = JSON.parse(await readFile(join(ROOT, folder, "package.json"), "utf8"));
    const names = (await readdir(join(ROOT, folder))).filter((entry) => /^(licen[cs]e|notice)/i.test(entry)).sort();
    const texts = await Promise.all(names.map((entry) => readFile(join(ROOT, folder, entry), "utf8")));
    const text = texts.map((part) => part.trim()).join("\n\n");
    packages.set(text, [...(packages.get(text) ?? []), `${name} ${version} (${license})`]);
  }
  return [...packages].map(([text, names]) => `${names.join("\n")}\n\n${text}\n`).join(`\n${"-".repeat(80)}\n\n`);
}

const json = (value: unknown) => Buffer.from(`${JSON.stringify(value, null, 2)}\n`);

/** A dependency at the version that the tests ran with. */
async function pinned(name: string): Promise<Record<string, string>> {
  const { devDependencies } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
  return { [name]: devDependencies[name] };
}

// Builds the parts that are named ("cli", "aws" …), or all.
if (import.meta.main) {
  const dist = join(ROOT, "dist");
  const parts = ["cli", ...CLOUDS] as const;
  const asked = process.argv.slice(2);
  const unknown = asked.find((name) => !parts.some((part) => part === name));
  if (unknown) throw new Error(`there is no part "${unknown}" to build, only ${parts.join(", ")}`);
  await rm(dist, { recursive: true, force: true });
  const wanted = parts.filter((part) => asked.length === 0 || asked.includes(part));
  const builds = wanted.map(async (part) => {
    if (part === "cli") return void (await buildCli(dist));
    const { zip } = await buildCloud(part, dist);
    process.stdout.write(`${relative(ROOT, zip)}: ${((await stat(zip)).size / 1e6).toFixed(1)} MB\n`);
  });
  await Promise.all(builds);
}
