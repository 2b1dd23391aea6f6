import assert from "node:assert/strict";
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { after, before, describe, it } from "node:test";
import { buildCli, buildCloud, CLOUDS } from "../../functions/build.ts";
import { type Bundle, makeBundle } from "../rig/bundles.ts";
import { makeDir, removeDir } from "../rig/process.ts";

/** The packages of each cloud's SDK. */
const SDKS = {
  aws: /^(@aws-sdk|@aws-crypto|@smithy|@aws)\//,
  gcp: /^(@google-cloud\/|google-|gaxios$|gcp-metadata$|gtoken$)/,
  azure: /^@(azure|typespec)\//,
};

/** What lies beside the code and the licences, and what its package.json says. */
const FILES = { aws: [], gcp: ["package.json"], azure: ["host.json", "package.json"] };
const MANIFESTS = {
  aws: undefined,
  gcp: {
    private: true,
    type: "module",
    main: "index.mjs",
    scripts: { "gcp-build": "" },
    dependencies: { "@google-cloud/functions-framework": "5.0.5" },
  },
  azure: { private: true, type: "module", main: "index.mjs" },
};

const ROOT = join(import.meta.dirname, "../..");

/** The files that say how to deploy, relative to the repository. */
async function deploying(): Promise<string[]> {
  const within = async (folder: string, recursive = true) =>
    (await readdir(join(ROOT, folder), { recursive })).map((name) => join(folder, name));
  const names = (await Promise.all([within("infra"), within("docs"), within(".", false)])).flat();
  return names.filter((name) => /\.(tf|md|ya?ml)$/.test(name) && !name.includes(".terraform"));
}

/** The packages in a bundle, by the folder below node_modules. */
const packagesOf = (inputs: readonly string[]) =>
  new Set(inputs.flatMap((path) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? []));
const generatedModels = (inputs: readonly string[]) =>
  inputs.filter((path) => path.includes("@kubernetes/client-node/dist/gen/"));

for (const cloud of CLOUDS) {
  describe(`the bundle for ${cloud}`, () => {
    let bundle: Bundle;
    before(async () => {
      bundle = await makeBundle(cloud);
    });
    after(() => bundle?.[Symbol.asyncDispose]());

    it("holds its own cloud's SDK and no other's, no tool's and none of Kubernetes' generated models", () => {
      const packages = [...packagesOf(bundle.inputs)];
      for (const other of CLOUDS) {
        const found = packages.filter((name) => SDKS[other].test(name));
        if (other === cloud) assert.ok(found.length > 0, `no package is ${SDKS[other]}`);
        else assert.deepEqual(found, []);
      }
      assert.ok(!packages.includes("commander"));
      assert.deepEqual(generatedModels(bundle.inputs), []);
      assert.deepEqual(
        bundle.inputs.filter((path) => /^functions\/\w+\//.test(path) && !path.startsWith(`functions/${cloud}/`)),
        [],
      );
    });

    it("is a zip below 4 MB, the same bytes on every build", async () => {
      const { size } = await stat(bundle.zip);
      assert.ok(size < 4_000_000, `${size} bytes`);
      const again = makeDir(`bundle-${cloud}-again`);
      const { zip } = await buildCloud(cloud, again);
      assert.ok((await readFile(zip)).equals(await readFile(bundle.zip)), "another build, other bytes");
      await removeDir(again);
    });

    it("is called and lies where what deploys it and the documentation say", async () => {
      const built = join(ROOT, "dist", basename(bundle.zip));
      let said = 0;
      for (const file of await deploying()) {
        const text = await readFile(join(ROOT, file), "utf8");
        const own = RegExp(`^infra/(modules|examples)/${cloud}(-\\w+)?/`).test(file);
        for (const [, path = "", name = "", of] of text.matchAll(/((?:[\w.-]+\/)*)(lifeboat-(\w+)\.zip)/g)) {
          if (own) assert.equal(name, basename(bundle.zip), file);
          if (of !== cloud) continue;
          const from = path.startsWith(".") ? join(ROOT, file, "..") : ROOT;
          assert.equal(resolve(from, path, name), built, `${file}: ${path}${name}`);
          said++;
        }
      }
      assert.ok(said > 0, `nothing says where ${basename(bundle.zip)} is`);
    });

    it("holds what its runtime reads, and the licences", async () => {
      const names = (await readdir(bundle.dir)).filter((name) => name !== "chunks").sort();
      assert.deepEqual(names, [...FILES[cloud], "index.mjs", "third-party-licenses.txt"].sort());
      const manifest = MANIFESTS[cloud] && JSON.parse(await readFile(join(bundle.dir, "package.json"), "utf8"));
      assert.deepEqual(manifest, MANIFESTS[cloud]);
      const licenses = await readFile(join(bundle.dir, "third-party-licenses.txt"), "utf8");
      for (const name of packagesOf(bundle.inputs)) assert.ok(licenses.includes(`${name} `), `no licence of ${name}`);
    });
  });
}

describe("the bundle of the command line", () => {
  it("holds none of Kubernetes' generated models", async () => {
    const dir = makeDir("bundle-cli");
    const { metafile } = await buildCli(dir);
    await removeDir(dir);
    assert.deepEqual(generatedModels(Object.keys(metafile.inputs)), []);
  });
});
