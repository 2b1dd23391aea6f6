import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import { binary } from "../rig/binaries.ts";
import { type Cluster, startCluster, WITH_CONTROLLERS } from "../rig/cluster.ts";
import { until } from "../rig/process.ts";
import { requireOrSkip } from "../rig/require.ts";
import { applyShop } from "../rig/shop.ts";
import { applyKinds } from "./kinds.ts";
import { document, lifeboat, type Running, start } from "./lifeboat.ts";

const run = promisify(execFile);
/** What differs by when it is asked. */
const AGE = /\b(\d+[ydhms])+\b/g;

suite("kubectl on a backup", { skip: requireOrSkip("rig", WITH_CONTROLLERS) }, () => {
  let cluster: Cluster;
  let directory: string;
  let env: Record<string, string>;
  let browsing: Running;
  let kubeconfig: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "lifeboat-browse-test-"));
    env = { LIFEBOAT_LOCATION: join(directory, "bucket") };
    kubeconfig = join(directory, "kubeconfig");
    cluster = await startCluster({ controllers: true });
    await applyShop(cluster);
    await applyKinds(cluster);
    const scaler = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/web";
    const counted = async () => (await cluster.api.request("GET", scaler)).status as { currentReplicas?: number };
    await until("the autoscaler to have counted", async () => (await counted()).currentReplicas === 3);
    await document(["backup", "create", "full", "--kubeconfig", cluster.kubeconfigPath], env);
    browsing = start(["browse", "full", "--kubeconfig-out", kubeconfig], env);
    await until("the backup to be served", () => readFile(kubeconfig).then(Boolean, () => false));
  });
  after(async () => {
    browsing?.kill();
    await cluster?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  /** kubectl on the backup: what it prints, warnings and errors too. */
  async function browse(...args: string[]): Promise<string> {
    const places = ["--kubeconfig", kubeconfig, "--cache-dir", join(directory, "cache")];
    const ended = run(await binary("kubectl"), [...places, ...args], { maxBuffer: 1 << 26 });
    return await ended.then(
      ({ stdout, stderr }) => stdout + stderr,
      ({ stdout, stderr }) => stdout + stderr,
    );
  }

  test("every kind has the rows that it has on the cluster", async () => {
    const listable = ["api-resources", "--verbs=list", "-o", "name"];
    const resources = (await browse(...listable)).trim().split("\n");
    const source = (await cluster.kubectl(listable)).trim().split("\n");
    assert.deepEqual(
      source.filter((name) => !resources.includes(name)).sort(),
      ["componentstatuses", "events.events.k8s.io"],
      "what the cluster stores nowhere, and the second name of events",
    );
    // The excluded Ingress of the shop is in no backup; what controllers tell again is counted on.
    const changes =
      /^shop\s+web\s+<none>\s+shop\.example\.com|horizontalpodautoscaler\/|WaitForFirstConsumer|^No resources/;
    const rows = (text: string) => {
      const lines = text.split("\n").filter((line) => line && !changes.test(line));
      return lines
        .map((line) => line.replace(AGE, "AGE").replace(/ +/g, " ").trim())
        .sort()
        .join("\n");
    };
    for (const resource of resources) {
      const get = ["get", resource, "-A", "-o", "wide"];
      assert.equal(rows(await browse(...get)), rows(await cluster.kubectl(get)), resource);
    }
  });

  test("get pods -A without -o wide too, with ages as of the backup", async () => {
    const get = ["get", "pods", "-A", "--no-headers"];
    const plain = (text: string) => text.replace(AGE, "").replace(/ +/g, " ");
    const shown = await browse(...get);
    assert.equal(plain(shown), plain(await cluster.kubectl(get)));
    await new Promise((resolve) => setTimeout(resolve, 1100));
    assert.equal(shown, await browse(...get));
  });

  for (const object of ["deploy/web", "secret/shop-tls", "certificate/shop-tls", "cm/kube-root-ca.crt"])
    test(`get ${object} -o yaml is the cluster's object`, async () => {
      const get = ["get", object, "-n", "shop", "-o", "yaml", "--show-managed-fields"];
      assert.equal(await browse(...get), await cluster.kubectl(get));
    });

  test("describe says the same as on the cluster", async () => {
    const heartbeat = /(True|False) +\w+, \d+ \w+ \d+ [\d:]+/g;
    const said = (text: string) => text.replace(AGE, "AGE").replace(heartbeat, "$1").replace(/ +/g, " ");
    for (const args of [
      ["deploy", "web", "-n", "shop"],
      ["pod", "-n", "shop", "-l", "app=web"],
      ["pod", "-n", "kinds", "crashing"],
      ["node", "node-1"],
      ["gadget", "full", "-n", "kinds"],
      ["sts", "-n", "shop-data"],
      ["crd", "gadgets.example.com"],
    ])
      assert.equal(said(await browse("describe", ...args)), said(await cluster.kubectl(["describe", ...args])));
  });

  test("selectors, categories, pages and metadata alone", async () => {
    for (const args of [
      ["pods", "-A", "-l", "app in (web, cart)", "-o", "name"],
      ["pods", "-A", "--field-selector", "spec.nodeName=node-1,status.phase!=Pending", "-o", "name"],
      ["events", "-n", "kinds", "--field-selector", "involvedObject.name=crashing", "-o", "name"],
      ["all", "-n", "shop", "-o", "name"],
      ["gd", "-n", "kinds", "-o", "name"],
      ["pods", "-A", "--chunk-size=3", "-o", "name"],
      ["clusterroles", "--chunk-size=7", "-o", "name"],
      ["pod", "crashing", "-n", "kinds", "-o", "jsonpath={.status.phase}"],
    ])
      assert.equal(await browse("get", ...args), await cluster.kubectl(["get", ...args]), args.join(" "));
    assert.equal(await browse("get", "pods", "-n", "nowhere"), "No resources found in nowhere namespace.\n");
  });

  test("what is written, run or logged is refused with a reason", async () => {
    const pod = (await browse("get", "pods", "-n", "shop", "-l", "app=web", "-o", "name")).split("\n")[0]!;
    for (const args of [
      ["delete", "-n", "shop", pod],
      ["label", "-n", "shop", "deploy/web", "a=b"],
      ["scale", "-n", "shop", "deploy/web", "--replicas=0"],
      ["create", "cm", "x"],
      ["apply", "-f", join(import.meta.dirname, "../rig/shop/shop.yaml")],
    ])
      assert.match(
        await browse(...args),
        /this is backup "full" of [\d-]+ [\d:]+ UTC: it is read-only/,
        args.join(" "),
      );
    for (const args of [
      ["logs", "-n", "shop", pod],
      ["exec", "-n", "shop", pod, "--", "ls"],
      ["port-forward", "-n", "shop", pod, "12345:80"],
    ])
      assert.match(await browse(...args), /this is backup "full" of .*: nothing runs in it, and it holds no logs/);
  });

  test("auth can-i: reading yes, writing no", async () => {
    assert.equal(await browse("auth", "can-i", "list", "pods"), "yes\n");
    assert.equal(await browse("auth", "can-i", "delete", "deploy", "-n", "shop"), "no - a backup is read-only\n");
    assert.match(await browse("auth", "can-i", "get", "pods", "--subresource", "log"), /^no/);
    assert.match(await browse("auth", "can-i", "--list"), /^\*\.\*\s+\[\]\s+\[\]\s+\[get list watch\]$/m);
  });

  test("a watch shows what there is, and then nothing", async () => {
    const watched = await browse("get", "pods", "-n", "shop-data", "-w", "--no-headers", "--request-timeout=3s");
    assert.equal(watched.match(/^db-\d/gm)?.length, 2);
    const wait = ["wait", "-n", "shop", "deploy/web", "--for=condition=Available", "--timeout=5s"];
    assert.equal(await browse(...wait), "deployment.apps/web condition met\n");
  });

  test("only who has the kubeconfig is served; it is its owner's alone, and gone at the end", async () => {
    const [url = ""] = /http:\/\/127\.0\.0\.1:\d+\/[\w-]{32}/.exec(await readFile(kubeconfig, "utf8")) ?? [];
    const secrets = "/api/v1/secrets";
    assert.equal((await fetch(`${url}${secrets}`)).status, 200);
    assert.equal((await fetch(new URL(secrets, url))).status, 401);
    assert.equal((await fetch(`${url}x${secrets}`)).status, 401);
    assert.equal((await stat(kubeconfig)).mode & 0o777, 0o600);
    process.kill(browsing.pid, "SIGTERM");
    const { code, stdout, stderr } = await browsing.ended;
    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(stdout, /^Backup full \([\d-]+ [\d:]+ UTC\) is served.*\n\n {2}export KUBECONFIG=.*\n {2}kubectl get/);
    await assert.rejects(stat(kubeconfig), { code: "ENOENT" });
    await assert.rejects(fetch(url));
  });

  test("a command after -- runs with the kubeconfig, and its exit code is kept", async () => {
    const kubectl = await binary("kubectl");
    const get = ["get", "pods", "-n", "shop-data", "--no-headers", "-o", "name"];
    const own = { ...env, TMPDIR: await mkdtemp(join(directory, "tmp-")) };
    const ran = await lifeboat(["browse", "full", "--", kubectl, ...get], own);
    assert.deepEqual([ran.code, ran.stderr], [0, ""]);
    assert.equal(ran.stdout, await cluster.kubectl(get));
    assert.equal((await lifeboat(["browse", "full", "--", "sh", "-c", "exit 7"], own)).code, 7);
    assert.match((await lifeboat(["browse", "full", "--", "no-such-program"], own)).stderr, /it is not found/);
    assert.deepEqual(await readdir(own.TMPDIR), []);
  });
});
