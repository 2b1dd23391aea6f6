import { execFile } from "node:child_process";
import { stat } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { CLOUDS, type Cloud } from "../functions/build.ts";
import { makeBundle } from "../test/rig/bundles.ts";
import { startAzureHost } from "../test/rig/runtimes/azure.ts";
import { startCloudFunction } from "../test/rig/runtimes/gcf.ts";
import { startLambda } from "../test/rig/runtimes/lambda.ts";

/**
 * Measures the cold start of each cloud's zip, in fresh processes: how long its entry takes to import (the runtime's own
 * modules loaded before), and its first request, `GET /healthz`, through its real runtime.
 */
const { values } = parseArgs({ options: { repeat: { type: "string", default: "7" } } });
const run = promisify(execFile);
const REQUEST = { method: "GET", path: "/healthz" };
const IMPORT = `const [before, entry] = process.argv.slice(1);
  if (before) await import(before);
  const start = performance.now();
  await import(entry);
  process.stdout.write(String(performance.now() - start), () => process.exit());`;

/** Each cloud: what its runtime has loaded before the function, and the first request in a new process, in milliseconds. */
const RUNTIMES: Record<Cloud, { before?: string; location: string; request: (start: Start) => Promise<number> }> = {
  aws: {
    location: "s3://bucket/prefix?region=eu-west-1",
    request: async (start) => {
      await using lambda = await startLambda(start);
      expectOk(await lambda.invokeUrl(REQUEST));
      return lambda.reports[0]!.durationMs;
    },
  },
  gcp: {
    before: "node_modules/@google-cloud/functions-framework/build/src/index.js",
    location: "gs://bucket/prefix",
    request: async (start) => {
      await using server = await startCloudFunction({ ...start, target: "lifeboat" });
      return await timed(async () => expectOk(await fetch(`${server.url}${REQUEST.path}`)));
    },
  },
  azure: {
    location: "azblob://container/prefix?account=account",
    request: async (start) => {
      await using host = await startAzureHost(start);
      return await timed(async () => expectOk(await host.http(REQUEST)));
    },
  },
};

interface Start {
  dir: string;
  env: Record<string, string>;
}

async function timed(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

function expectOk({ status }: { status: number }): void {
  if (status !== 200) throw new Error(`GET /healthz answered ${status}`);
}

const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;
const print = (text: string) => process.stdout.write(`${text}\n`);

print(`${cpus()[0]?.model} × ${cpus().length}, Node ${process.version}, median of ${values.repeat} fresh processes\n`);
print("cloud        zip      import  first request");
for (const cloud of CLOUDS) {
  const { before, location, request } = RUNTIMES[cloud];
  await using bundle = await makeBundle(cloud);
  const start = { dir: bundle.dir, env: { LIFEBOAT_LOCATION: location } };
  const requests: number[] = [];
  const imports: number[] = [];
  for (let round = 0; round < Number(values.repeat); round++) {
    requests.push(await request(start));
    const files = [before ? join(bundle.dir, before) : "", join(bundle.dir, "index.mjs")];
    const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", IMPORT, ...files], {
      env: { PATH: process.env.PATH, ...start.env },
    });
    imports.push(Number(stdout));
  }
  const { size } = await stat(bundle.zip);
  const columns = [
    `${(size / 1e6).toFixed(2)} MB`,
    `${median(imports).toFixed(0)} ms`,
    `${median(requests).toFixed(0)} ms`,
  ];
  print(`${cloud.padEnd(6)}${columns[0]!.padStart(10)}${columns[1]!.padStart(12)}${columns[2]!.padStart(15)}`);
}
