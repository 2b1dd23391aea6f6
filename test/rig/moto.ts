import { execFile, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { cacheRoot, once } from "./cache.ts";
import { freePorts, makeDir, removeDir, type Server, startServer, until } from "./process.ts";

const run = promisify(execFile);
const REQUIREMENTS = join(import.meta.dirname, "python/requirements.txt");
const PYTHON = "python3";
const PYTHON_MINOR = 11;
const REGION = "us-east-1";

/** moto on 127.0.0.1: S3, Secrets Manager, EKS, STS and IAM of one AWS account, without checks of signatures. */
export interface Moto extends AsyncDisposable {
  endpoint: string;
  region: string;
  /** For the AWS SDKs: the endpoint of every service, the region and the credentials of a user who may do anything. */
  env: Readonly<Record<string, string>>;
  /** Takes every right from that user, or gives them back. */
  refuse(refused: boolean): Promise<void>;
  /** Stops answering, or goes on. */
  pause(paused: boolean): void;
  stop(): Promise<void>;
}

function installDir(): string {
  const hash = createHash("sha256").update(readFileSync(REQUIREMENTS));
  hash.update(JSON.stringify([process.platform, process.arch]));
  return join(cacheRoot(), `moto-${hash.digest("hex").slice(0, 12)}`);
}

/** Why moto can't be had here (not in the cache, and no Python, or one too old or without venv), or undefined. */
export function motoUnavailable(): string | undefined {
  if (existsSync(installDir())) return undefined;
  const probe = "import sys, venv, ensurepip; print(sys.version_info.minor)";
  const { status, stdout } = spawnSync(PYTHON, ["-c", probe], { encoding: "utf8" });
  if (status === 0 && Number(stdout) >= PYTHON_MINOR) return undefined;
  const found = status === 0 ? `3.${stdout.trim()}` : `no ${PYTHON} with venv`;
  return `needs Python 3.${PYTHON_MINOR} or later with venv to install moto (found: ${found})`;
}

/**
 * The path of a Python with moto and botocore. They are installed from `python/requirements.txt` at first use and kept
 * in the cache. Throws with pip's last lines.
 */
export async function motoPython(): Promise<string> {
  const dir = await once(installDir(), async (dir) => {
    await run(PYTHON, ["-m", "venv", dir]);
    const args = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", REQUIREMENTS];
    await run(join(dir, "bin/python"), args).catch((error: unknown) => {
      const output = error instanceof Error && "stderr" in error ? String(error.stderr) : "";
      const tail = output.trim().split("\n").slice(-15).join("\n");
      throw new Error(`rig: installing moto failed:\n${tail || String(error)}`);
    });
  });
  return join(dir, "bin/python");
}

/** Starts the process only; its logs lie in `dir`. */
export async function startMotoServer(dir: string, port: number): Promise<Server> {
  return startServer(dir, "moto", await motoPython(), ["-m", "moto.server", "-H", "127.0.0.1", "-p", String(port)]);
}

/** Starts moto with one user. */
export async function startMoto(): Promise<Moto> {
  const dir = makeDir("moto");
  const [port = 0] = await freePorts(1);
  const endpoint = `http://127.0.0.1:${port}`;
  const server = await startMotoServer(dir, port);
  const pause = (paused: boolean) => {
    process.kill(-server.pid, paused ? "SIGSTOP" : "SIGCONT");
  };
  const stop = async () => {
    await server.stop();
    await removeDir(dir);
  };
  try {
    await until("moto", async () => (await fetch(`${endpoint}/moto-api/data.json`)).ok, { servers: [server] });
    await iam(endpoint, { Action: "CreateUser", UserName: "rig" });
    const key = await iam(endpoint, { Action: "CreateAccessKey", UserName: "rig" });
    const field = (name: string) => new RegExp(`<${name}>([^<]+)</${name}>`).exec(key)?.[1] ?? "";
    return {
      endpoint,
      region: REGION,
      env: {
        AWS_ENDPOINT_URL: endpoint,
        AWS_REGION: REGION,
        AWS_ACCESS_KEY_ID: field("AccessKeyId"),
        AWS_SECRET_ACCESS_KEY: field("SecretAccessKey"),
        AWS_EC2_METADATA_DISABLED: "true",
      },
      refuse: async (refused) => {
        // From the first request on, moto asks for a policy that allows it; the user has none.
        await post(`${endpoint}/moto-api/reset-auth`, refused ? "0" : "inf");
      },
      pause,
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

const iam = (endpoint: string, parameters: Record<string, string>) =>
  post(endpoint, new URLSearchParams({ ...parameters, Version: "2010-05-08" }), {
    authorization: `AWS4-HMAC-SHA256 Credential=RIG/20260101/${REGION}/iam/aws4_request, SignedHeaders=host, Signature=0`,
  });

async function post(url: string, body: string | URLSearchParams, headers: Record<string, string> = {}) {
  const response = await fetch(url, { method: "POST", body, headers });
  const text = await response.text();
  if (!response.ok) throw new Error(`rig: moto answered ${response.status}: ${text.slice(0, 500)}`);
  return text;
}
