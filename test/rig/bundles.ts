import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { buildCloud, type Cloud } from "../../functions/build.ts";
import { makeDir, removeDir } from "./process.ts";

const run = promisify(execFile);

/** A cloud's function as the platform has it: the zip that is deployed, unpacked. */
export interface Bundle extends AsyncDisposable {
  dir: string;
  zip: string;
  /** The modules that are in it, relative to the repository. */
  inputs: string[];
}

/**
 * Builds a cloud's zip and unpacks it (with python3) into a folder of its own, away from the repository and its
 * node_modules. `entry`: another module than the cloud's handler, relative to the repository.
 */
export async function makeBundle(cloud: Cloud, entry?: string): Promise<Bundle> {
  const scratch = makeDir(`bundle-${cloud}`);
  const { zip, metafile } = await buildCloud(cloud, join(scratch, "dist"), entry);
  const dir = join(scratch, "unpacked");
  await run("python3", ["-m", "zipfile", "-e", zip, dir]);
  return { dir, zip, inputs: Object.keys(metafile.inputs), [Symbol.asyncDispose]: () => removeDir(scratch) };
}
