import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Fault, isWrite, startApiProxy } from "../rig/apiproxy.ts";
import type { Cluster } from "../rig/cluster.ts";
import { start } from "./lifeboat.ts";

/**
 * Runs `lifeboat` with the arguments that a kubeconfig gives, and kills it when it sends its write number `nth`, dry runs not
 * counted, which the server then gets or doesn't. Gives the exit code: null where it was killed, and did not end before.
 */
export async function killedAtWrite(
  nth: number,
  args: (kubeconfig: string) => string[],
  { cluster, fate = "cut before" }: { cluster: Cluster; fate?: Fault },
): Promise<number | null> {
  const victim: { run?: ReturnType<typeof start> } = {};
  let seen = 0;
  const proxy = await startApiProxy(cluster, (request) => {
    if (!isWrite(request) || request.url?.includes("dryRun=") || ++seen !== nth) return "pass";
    victim.run?.kill();
    return fate;
  });
  const kubeconfig = join(cluster.dir, "killed.kubeconfig");
  await writeFile(kubeconfig, proxy.kubeconfig);
  try {
    victim.run = start(args(kubeconfig));
    return (await victim.run.ended).code;
  } finally {
    await proxy.stop();
  }
}
