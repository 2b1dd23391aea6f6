import { freePorts, makeDir, removeDir, type Server, startServer, until } from "./process.ts";
import { pythonWith } from "./pythontool.ts";

const REGION = "us-east-1";

/** moto on 127.0.0.1: S3, Secrets Manager, Step Functions, SQS, EKS, STS and IAM of one AWS account, without checks of signatures. */
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

/** Starts the process only; its logs lie in `dir`. `itself`: the port at which moto asks its own services. */
export async function startMotoServer(dir: string, port: number, itself = port): Promise<Server> {
  const args = ["-m", "moto.server", "-H", "127.0.0.1", "-p", String(port)];
  return startServer(dir, "moto", await pythonWith("moto"), args, { MOTO_PORT: String(itself) });
}

/** Starts moto with one user. `itself`: the port at which moto asks its own services, where that is another one. */
export async function startMoto({ itself }: { itself?: number } = {}): Promise<Moto> {
  const dir = makeDir("moto");
  const [port = 0] = await freePorts(1);
  const endpoint = `http://127.0.0.1:${port}`;
  const server = await startMotoServer(dir, port, itself);
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
