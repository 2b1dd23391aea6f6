import { readFileSync } from "node:fs";
import pLimit from "p-limit";
import {
  compressMember,
  connect,
  discover,
  expectOk,
  likenessOf,
  listItems,
  metadataOf,
  readKubeconfig,
  resourceKey,
  resourcePath,
} from "./lifeboat.ts";

/**
 * The least that any backup must do: the same LISTs, page by page at one revision. The bodies are dropped; with
 * "compressed" they are first compressed as an archive's are, every 2 KB twice as its objects are, and not looked at;
 * with "likened" it is the least that a restore of what is there must do: told of each object which one it is, and
 * what it is like.
 */
const PAGE_SIZE = "250";
const PIECE = 2048;
const IN_FLIGHT = 4;
const how = process.argv[3];
const limit = pLimit(IN_FLIGHT);

function twice(body: Buffer): Buffer {
  const doubled = Buffer.allocUnsafeSlow(2 * body.length);
  for (let at = 0; at < body.length; at += PIECE) {
    const end = Math.min(at + PIECE, body.length);
    body.copy(doubled, 2 * at, at, end);
    body.copy(doubled, at + end, at, end);
  }
  return doubled;
}

const kube = connect(readKubeconfig(readFileSync(process.argv[2]!, "utf8")));
const start = performance.now();
const { resources } = await discover(kube);
const listed = resources.filter(
  ({ preferred, verbs }) => preferred && ["list", "create", "get", "delete"].every((verb) => verbs.includes(verb)),
);
let resourceVersion: string | undefined;
let pages = 0;
let bytes = 0;
const members: Promise<Buffer>[] = [];
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
    if (how === "compressed") members.push(limit(() => compressMember(twice(body))));
    if (how === "likened") {
      for (const item of listItems(body).items) {
        metadataOf(item);
        likenessOf(item, resourceKey(resource));
      }
    }
  } while (next);
}
await Promise.all(members);
process.stdout.write(`${JSON.stringify({ seconds: (performance.now() - start) / 1000, pages, bytes })}\n`);
await kube.close();
