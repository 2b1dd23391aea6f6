import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { request } from "node:http";
import { after, before, describe, it } from "node:test";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { type Browsing, browseBackup, openBucket } from "../../core/index.ts";
import { terminal } from "../../functions/cli/platform.ts";
import { lifeboat } from "../e2e/lifeboat.ts";
import { makeScratch, type Scratch, shop, startCluster } from "./cli-sample.ts";

const TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

interface List {
  metadata: { continue?: string; resourceVersion: string };
  items: { metadata: { name: string } }[];
}

interface Table {
  rows: { cells: unknown[]; object?: { kind: string; data?: object } }[];
}

describe("a backup as an API server", () => {
  let scratch: Scratch;
  let env: Record<string, string>;
  let browsing: Browsing;
  before(async () => {
    scratch = await makeScratch();
    const location = scratch.path("bucket");
    env = { LIFEBOAT_LOCATION: location, NODE_COMPILE_CACHE: scratch.path("cache") };
    const cluster = await startCluster(scratch, "source", shop(9));
    const identity = await generateX25519Identity();
    await scratch.write("identity.txt", identity);
    const encrypt = ["--secrets", "encrypt", "--recipient", await identityToRecipient(identity)];
    for (const args of [["plain"], ["locked", ...encrypt]]) {
      const made = await lifeboat(["backup", "create", ...args, "--kubeconfig", cluster.file], env);
      assert.equal(made.code, 0, made.stderr);
    }
    await cluster.stop();
    browsing = await browseBackup(await openBucket(terminal, location), "plain");
  });
  after(async () => {
    await browsing?.stop();
    await scratch?.remove();
  });

  async function get(path: string, headers: Record<string, string> = {}) {
    const response = await fetch(`${browsing.url}${path}`, { headers });
    return { status: response.status, body: await response.json() };
  }

  it("pages show each object once, in order", async () => {
    const names: string[] = [];
    let token: string | undefined = "";
    for (let pages = 0; token !== undefined && pages < 20; pages++) {
      const query = new URLSearchParams({ limit: "4", continue: token });
      const { items, metadata } = (await get(`/api/v1/namespaces/shop/configmaps?${query}`)).body as List;
      assert.ok(items.length <= 4);
      names.push(...items.map((item) => item.metadata.name));
      token = metadata.continue;
    }
    assert.deepEqual(names, ["kube-root-ca.crt", ...Array.from({ length: 9 }, (_, i) => `settings-${i}`)]);
  });

  it("another revision is gone, and one that was never reached is waited for in vain", async () => {
    const { metadata } = (await get("/api/v1/pods")).body as List;
    const at = (revision: number) => get(`/api/v1/pods?resourceVersion=${revision}&resourceVersionMatch=Exact`);
    const now = Number(metadata.resourceVersion);
    assert.deepEqual(
      await Promise.all([at(now - 1), at(now), at(now + 1)].map(async (one) => (await one).status)),
      [410, 200, 504],
    );
  });

  it("a watch gives what there is and a bookmark, and ends when it should", async () => {
    const query = "watch=true&allowWatchBookmarks=true&sendInitialEvents=true&timeoutSeconds=1";
    const response = await fetch(`${browsing.url}/api/v1/namespaces/shop/configmaps?${query}&labelSelector=app`);
    const events = (await response.text()).trim().split("\n");
    const told = events.map((line) => JSON.parse(line));
    assert.deepEqual([...new Set(told.map(({ type }) => type))], ["ADDED", "BOOKMARK"]);
    assert.equal(told.length, 10);
    assert.deepEqual(told.at(-1).object.metadata.annotations, { "k8s.io/initial-events-end": "true" });
  });

  it("a table's rows hold metadata, objects or nothing, as is asked", async () => {
    const rows = async (include: string) =>
      ((await get(`/api/v1/namespaces/shop/secrets?includeObject=${include}`, { accept: TABLE })).body as Table).rows;
    const plain = (await rows(""))[0]!;
    assert.deepEqual(plain.cells.slice(0, 3), ["password", "Opaque", 1]);
    assert.deepEqual([plain.object?.kind, plain.object?.data], ["PartialObjectMetadata", undefined]);
    assert.deepEqual((await rows("Object"))[0]?.object?.data, { password: "c2VjcmV0" });
    assert.equal((await rows("None"))[0]!.object, undefined);
  });

  it("another host, and a path without the secret, get nothing", async () => {
    const { port, pathname } = new URL(browsing.url);
    const ask = (path: string, host: string) =>
      new Promise<number | undefined>((resolve) => {
        request({ host: "127.0.0.1", port, path, headers: { host } }, (answer) => {
          answer.resume();
          resolve(answer.statusCode);
        }).end();
      });
    assert.equal(await ask(`${pathname}/version`, `127.0.0.1:${port}`), 200);
    assert.equal(await ask(`${pathname}/version`, "evil.example.com"), 403);
    assert.equal(await ask("/version", `127.0.0.1:${port}`), 401);
  });

  it("Secrets that are encrypted are refused with the reason, and shown to who has the identity", async () => {
    const script = `fetch(require("fs").readFileSync(process.env.KUBECONFIG, "utf8").match(/http:[^"]+/)[0] + "/api/v1/namespaces/shop/PLURAL")
      .then((answer) => answer.json()).then(({ message, items }) => console.log(message ?? items.length))`;
    const count = async (plural: string, ...flags: string[]) =>
      (
        await lifeboat(
          ["browse", "locked", ...flags, "--", process.execPath, "-e", script.replace("PLURAL", plural)],
          env,
        )
      ).stdout.trim();
    assert.equal(await count("configmaps"), "10");
    assert.match(await count("secrets"), /^secrets is forbidden: .* is encrypted; the identity .* reads it$/);
    assert.equal(await count("secrets", "--identity", `file:${scratch.path("identity.txt")}`), "1");
  });

  it("a kubeconfig that is there already is not overwritten, and not deleted", async () => {
    const file = await scratch.write("mine", "mine");
    const { code, stderr } = await lifeboat(["browse", "plain", "--kubeconfig-out", file], env);
    assert.deepEqual([code, await readFile(file, "utf8")], [2, "mine"]);
    assert.match(stderr, /can't be written: EEXIST/);
  });

  it("ends with its command when it is told to end", async () => {
    const command = ["sh", "-c", "echo up; kill -TERM $PPID; exec sleep 60"];
    const { code, stdout } = await lifeboat(["browse", "plain", "--", ...command], env);
    assert.deepEqual([code, stdout], [143, "up\n"]);
  });
});
