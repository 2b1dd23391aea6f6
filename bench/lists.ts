import { readFileSync } from "node:fs";
import { connect, discover, expectOk, readKubeconfig, resourceKey, resourcePath } from "./lifeboat.ts";

/** The least that any backup must do: the same LISTs, page by page at one revision; the bodies are read and dropped. */
const PAGE_SIZE = "250";
const kube = connect(readKubeconfig(readFileSync(process.argv[2]!, "utf8")));
const start = performance.now();
const { resources } = await discover(kube);
const listed = resources.filter(
  ({ preferred, verbs }) => preferred && ["list", "create", "get", "delete"].every((verb) => verbs.includes(verb)),
);
let resourceVersion: string | undefined;
let pages = 0;
let bytes = 0;
for (const resource of listed.sort(
  (a, b) => Number(resourceKey(b) === "namespaces") - Number(resourceKey(a) === "namespaces"),
)) {
  let next: string | undefined;
  do {
    const pinned = resourceVersion && !next ? { resourceVersion, resourceVersionMatch: "Exact" } : {};
    const query = { limit: PAGE_SIZE, continue: next, ...pinned };
    const { body } = expectOk(await kube.request({ path: resourcePath(resource), query }), "list");
    const head = body.subarray(0, 4096).toString();
    resourceVersion ??= /"resourceVersion":"(\d+)"/.exec(head)?.[1];
    next = /"continue":"([^"]+)"/.exec(head)?.[1];
    pages++;
    bytes += body.length;
  } while (next);
}
process.stdout.write(`${JSON.stringify({ seconds: (performance.now() - start) / 1000, pages, bytes })}\n`);
await kube.close();
