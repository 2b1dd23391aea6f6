import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import { shopObjects } from "../../functions/cli/demo/shop.ts";
import { binary } from "../rig/binaries.ts";
import { requireOrSkip } from "../rig/require.ts";

const skip = requireOrSkip("rig", ["kubectl"]);
const run = promisify(execFile);

let server: ApiServer;
let directory: string;
before(async () => {
  server = await startApiServer({ objects: shopObjects() });
  directory = await mkdtemp(join(tmpdir(), "lifeboat-kubectl-"));
  await writeFile(join(directory, "config"), server.kubeconfig);
});
after(async () => {
  await server.stop();
  await rm(directory, { recursive: true });
});

async function kubectl(...args: string[]): Promise<string> {
  const places = ["--kubeconfig", join(directory, "config"), "--cache-dir", join(directory, "cache")];
  return (await run(await binary("kubectl"), [...places, ...args])).stdout;
}

test("kubectl reads", { skip }, async () => {
  assert.match(await kubectl("get", "pods", "-A", "--no-headers"), /^shop\s+web-\w+-\w+\s/m);
  assert.match(await kubectl("get", "deploy", "web", "-n", "shop", "-o", "yaml"), /^kind: Deployment$/m);
  assert.match(await kubectl("get", "sealedsecrets", "-A"), /shop\s+db/);
  assert.match(
    await kubectl("get", "cm", "-n", "shop", "-l", "app in (web, cart)", "-o", "name"),
    /^configmap\/cart\nconfigmap\/web\n$/,
  );
  assert.match(
    await kubectl("describe", "deploy", "web", "-n", "shop"),
    /NewReplicaSet:\s+web-\w+ \(3\/3 replicas created\)/,
  );
  assert.match(await kubectl("api-resources", "--verbs=list,create"), /^certificates\s+cert-manager\.io\/v1/m);
});

test("kubectl writes", { skip }, async () => {
  const file = join(directory, "object.json");
  await writeFile(
    file,
    JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "made", namespace: "shop" } }),
  );
  await kubectl("create", "--validate=false", "-f", file);
  await kubectl("label", "cm/made", "-n", "shop", "colour=red");
  await kubectl("patch", "cm/made", "-n", "shop", "--type=merge", "-p", '{"data":{"a":"b"}}');
  assert.equal(
    await kubectl("get", "cm", "made", "-n", "shop", "-o", "jsonpath={.metadata.labels.colour} {.data.a}"),
    "red b",
  );
  await kubectl("delete", "cm", "made", "-n", "shop", "--wait=false");
  assert.equal(await kubectl("get", "cm", "made", "-n", "shop", "--ignore-not-found"), "");
});
