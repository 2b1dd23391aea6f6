import { createReadStream, readFileSync } from "node:fs";
import { connect, type KubernetesObject, readKubeconfig, readTar } from "./lifeboat.ts";

/**
 * The least that any restore must do: bare POSTs of an archive's objects by 64 connections, without a look at what is
 * there. The bodies are made before the clock starts; namespaces and definitions go first.
 */
const CONNECTIONS = 64;
const [kubeconfig, archive] = process.argv.slice(2) as [string, string];
const kube = connect(readKubeconfig(readFileSync(kubeconfig, "utf8")), { connections: CONNECTIONS });
const first: { path: string; body: string }[] = [];
const rest: { path: string; body: string }[] = [];
for await (const { path, body } of readTar(createReadStream(archive))) {
  const [root, resource = "", scope, namespace] = path.split("/");
  if (root !== "resources" || scope?.endsWith("-preferredversion")) continue;
  const object = JSON.parse(body.toString()) as KubernetesObject;
  const seeded =
    /^seed-\d+$/.test(scope === "namespaces" ? namespace! : object.metadata.name) ||
    object.metadata.name === "widgets.seed.example.com";
  if (!seeded || object.metadata.name === "kube-root-ca.crt") continue;
  const { name, labels, annotations } = object.metadata;
  const { clusterIP, clusterIPs, ...spec } = (object.spec ?? {}) as Record<string, unknown>;
  const bare = {
    ...object,
    metadata: { name, labels, annotations },
    status: undefined,
    ...(object.spec ? { spec } : {}),
  };
  const [plural, ...group] = resource.split(".");
  const apiRoot = object.apiVersion === "v1" ? "/api/v1" : `/apis/${object.apiVersion}`;
  const place = scope === "namespaces" ? `/namespaces/${namespace}` : "";
  (scope === "namespaces" || group.length === 0 ? (scope === "cluster" ? first : rest) : first).push({
    path: `${apiRoot}${place}/${plural}`,
    body: JSON.stringify(bare),
  });
}
const post = async (queue: Iterator<{ path: string; body: string }>) => {
  for (let next = queue.next(); !next.done; next = queue.next()) {
    const { status, body } = await kube.request({ method: "POST", ...next.value });
    if (status >= 400) throw new Error(`${next.value.path}: ${status} ${body}`);
  }
};
const all = (requests: typeof rest) => {
  const queue = requests.values();
  return Promise.all(Array.from({ length: CONNECTIONS }, () => post(queue)));
};
const start = performance.now();
await all(first);
await all(rest);
process.stdout.write(
  `${JSON.stringify({ seconds: (performance.now() - start) / 1000, objects: first.length + rest.length })}\n`,
);
await kube.close();
