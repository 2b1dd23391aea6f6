import assert from "node:assert/strict";
import { chmod, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createServer, type RequestListener, request as send } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, type TestContext, test } from "node:test";
import { inspect } from "node:util";
import { type ApiServer, startApiServer } from "../../core/apiserver/server.ts";
import { type ClusterReference, clusterReferenceSchema, openCluster } from "../../core/cluster.ts";
import { isLifeboatError, LifeboatError } from "../../core/errors.ts";
import { fieldProblems, problemText } from "../../core/fields.ts";
import { expectOk, type Kube } from "../../core/kube/client.ts";
import type { AksReference, EksReference, GkeReference, ManagedClusters, Platform } from "../../core/ports.ts";
import { openSecrets } from "../../core/secrets.ts";
import { type Certificate, makeAuthority, makeCertificate } from "../rig/certs.ts";
import { kubeconfig, listen } from "./kube-server.ts";

const MARK = "hunter2";
const MINUTE = 60_000;
const CONFIG_MAPS = "/api/v1/namespaces/default/configmaps";
const EKS_USER = { exec: { command: "aws", args: ["eks", "get-token", "--cluster-name", "prod"] } };
const EKS = { name: "prod", region: "eu-west-1" };

let dir = "";
let api: ApiServer;
let authority: Certificate;
let certificate: Certificate;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "lifeboat-cluster-"));
  api = await startApiServer();
  authority = await makeAuthority(dir);
  certificate = await makeCertificate(dir, "server", { commonName: "kube", server: true });
});
after(async () => {
  await api.stop();
  await rm(dir, { recursive: true });
});

/** The API server behind a check of tokens. */
interface Guarded extends AsyncDisposable {
  url: string;
  passed: number;
  refused: number;
}

async function guard(accepts: (token: string) => boolean, tls?: Certificate): Promise<Guarded> {
  const counts = { passed: 0, refused: 0 };
  const listener: RequestListener = (request, response) => {
    const { method, url, headers } = request;
    if (accepts((headers.authorization ?? "").replace("Bearer ", ""))) {
      counts.passed++;
      const forwarded = send(api.url + url, { method, headers: { ...headers, host: new URL(api.url).host } });
      forwarded.on("response", (answer) => answer.pipe(response.writeHead(answer.statusCode!, answer.headers)));
      request.pipe(forwarded);
      return;
    }
    counts.refused++;
    request.resume();
    const body = { kind: "Status", status: "Failure", reason: "Unauthorized", message: "Unauthorized", code: 401 };
    response.writeHead(401, { "content-type": "application/json" }).end(JSON.stringify(body));
  };
  const running = await listen(tls ? createHttpsServer(tls) : createServer(), listener);
  return Object.assign(counts, {
    url: tls ? running.url.replace("http:", "https:") : running.url,
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  });
}

/** A cloud that gives a new token each time, good for 15 minutes of this process's clock. */
function startCloud(endpoints: { server: string; ca?: string }[] = []) {
  const ends = new Map<string, number>();
  const asked = { endpoints: [] as unknown[], tokens: [] as unknown[] };
  const cloud = {
    asked,
    down: false,
    accepts: (token: string) => (ends.get(token) ?? 0) > Date.now(),
    revokeAll: () => ends.clear(),
    async endpoint(reference: unknown) {
      asked.endpoints.push(reference);
      return endpoints[Math.min(asked.endpoints.length, endpoints.length) - 1]!;
    },
    async token(reference: unknown) {
      asked.tokens.push(reference);
      await new Promise((answered) => setImmediate(answered));
      if (cloud.down) throw new LifeboatError("unreachable", "the cloud's token service can't be reached");
      const token = `${MARK}-${asked.tokens.length}`;
      const expires = new Date(Date.now() + 15 * MINUTE);
      ends.set(token, expires.getTime());
      return { token, expires };
    },
    async *list() {},
  };
  return cloud satisfies ManagedClusters<unknown>;
}

/** Opens the cluster with a kubeconfig in a store that counts its readers, or by another reference. */
async function open(
  cluster: { yaml: () => string } | ClusterReference,
  clusters: Platform["clusters"] = {},
): Promise<{ kube: Kube & AsyncDisposable; reads: () => number }> {
  let reads = 0;
  const read = async () => {
    reads++;
    return (cluster as { yaml: () => string }).yaml();
  };
  const secrets = openSecrets({ secrets: { "store:": async () => ({ read }) } });
  const kube = await openCluster("yaml" in cluster ? { kubeconfig: "store://prod" } : cluster, { secrets, clusters });
  return { kube: { ...kube, [Symbol.asyncDispose]: () => kube.close() }, reads: () => reads };
}

/** So many requests at once: their statuses, each once. */
async function statuses(kube: Kube, count: number): Promise<number[]> {
  const answers = await Promise.all(Array.from({ length: count }, () => kube.request({ path: CONFIG_MAPS })));
  return [...new Set(answers.map(({ status }) => status))];
}

/** Only the time of day is ours to turn; timers and the network go on by themselves. */
function turnableClock(t: TestContext): (ms: number) => void {
  t.mock.timers.enable({ apis: ["Date"], now: Date.now() });
  return (ms) => t.mock.timers.tick(ms);
}

function tellsNothing(error: unknown): boolean {
  assert.ok(isLifeboatError(error), String(error));
  assert.doesNotMatch(`${error.message}${error.hint}`, /\n/);
  assert.doesNotMatch(inspect(error), new RegExp(MARK));
  return true;
}

suite("a cluster whose kubeconfig is a secret", () => {
  test("is opened without a word to the cluster or the cloud", async () => {
    const cloud = startCloud();
    await using server = await guard(cloud.accepts);
    const { kube, reads } = await open({ yaml: () => kubeconfig(server.url, EKS_USER) }, { eks: async () => cloud });
    await using _ = kube;
    assert.deepEqual([kube.server, kube.context], [server.url, "test"]);
    assert.deepEqual([reads(), cloud.asked, server.refused], [1, { endpoints: [], tokens: [] }, 0]);
  });

  test("is a real one, by a file: reference and a context", async () => {
    const file = join(dir, "kubeconfig");
    await writeFile(file, api.kubeconfig);
    const secrets = openSecrets({ secrets: {} });
    const kube = await openCluster({ kubeconfig: `file:${file}`, context: "lifeboat" }, { secrets, clusters: {} });
    assert.deepEqual(await statuses(kube, 3), [200]);
    await kube.close();
  });

  test("is reached with the cloud's token: its credential program is never run", async () => {
    const ran = await mkdtemp(join(dir, "ran-"));
    const command = join(dir, "aws");
    await writeFile(command, `#!/bin/sh\ntouch ${ran}/it\n`);
    await chmod(command, 0o755);
    const cloud = startCloud();
    await using server = await guard(cloud.accepts);
    const user = { exec: { ...EKS_USER.exec, command } };
    const { kube } = await open({ yaml: () => kubeconfig(server.url, user) }, { eks: async () => cloud });
    await using _ = kube;
    assert.deepEqual(await statuses(kube, 20), [200]);
    assert.deepEqual(cloud.asked.tokens, [{ name: "prod" }]);
    assert.deepEqual(await readdir(ran), []);
  });

  test("that was rotated is read once more, whoever meets the 401", async () => {
    let token = "old";
    await using server = await guard((sent) => sent === token);
    const { kube, reads } = await open({ yaml: () => kubeconfig(server.url, { token }) });
    await using _ = kube;
    assert.deepEqual(await statuses(kube, 20), [200]);
    token = "new";
    assert.deepEqual(await statuses(kube, 20), [200]);
    assert.deepEqual(await statuses(kube, 20), [200]);
    assert.equal(reads(), 2);
  });

  test("that is no longer good is denied, and told nowhere", async () => {
    await using server = await guard(() => false);
    const { kube, reads } = await open({ yaml: () => kubeconfig(server.url, { token: MARK }) });
    await using _ = kube;
    const answer = await kube.request({ path: CONFIG_MAPS });
    assert.throws(
      () => expectOk(answer, "list configmaps"),
      (error) => isLifeboatError(error, "denied") && tellsNothing(error),
    );
    assert.deepEqual([reads(), server.refused], [2, 2]);
  });

  test("has a token of digits", async () => {
    await using server = await guard((sent) => sent === "12345");
    const { kube } = await open({ yaml: () => kubeconfig(server.url, { token: 12345 }) });
    await using _ = kube;
    assert.deepEqual(await statuses(kube, 1), [200]);
  });

  test("is given up with the signal", async () => {
    const reason = new Error("interrupted");
    const { promise, resolve } = Promise.withResolvers<string>();
    const secrets = openSecrets({ secrets: { "store:": async () => ({ read: () => promise }) } });
    const controller = new AbortController();
    const opening = openCluster({ kubeconfig: "store:x" }, { secrets, clusters: {} }, { signal: controller.signal });
    controller.abort(reason);
    await assert.rejects(opening, (error) => error === reason);
    resolve("late");
  });

  const unusable: [string, string, RegExp][] = [
    ["is empty", "\n", /secret store:\/\/prod is empty/],
    ["is a key", `-----BEGIN PRIVATE KEY-----\n${MARK}\n-----END PRIVATE KEY-----\n`, /not a mapping/],
    ["is an encrypted key", `-----BEGIN RSA-----\nProc-Type: 4,${MARK}\n\n${MARK}\n`, /not valid YAML|something else/],
    ["is JSON of something else", JSON.stringify({ username: "admin", password: MARK }), /it is something else/],
    ["is a list", JSON.stringify([MARK]), /not a mapping/],
    ["is a word", MARK, /not a mapping/],
    [
      "is a kubeconfig in base64",
      Buffer.from(kubeconfig("https://k", { token: MARK })).toString("base64"),
      /not a map/,
    ],
    ["is binary", `\u0000\u0001\ufffd\u007f${MARK}\ufffd`, /can't be used/],
    ["is broken YAML", `users:\n  - token: ${MARK}\n bad: {${MARK}`, /line \d is not valid YAML: /],
    ["has an unknown alias", `users: *${MARK}`, /an alias in it/],
    ["has keys that are no text", `? [${MARK}, x]\n: 1\n`, /it is something else/],
    ["is nested without end", "[".repeat(60_000), /not valid YAML/],
    ["has a token that is no text", kubeconfig("https://k", { token: [MARK] }), /its token is not text/],
    [
      "has a key that is no PEM",
      kubeconfig("https://k", {}, { "certificate-authority-data": MARK }),
      /base64 of a PEM/,
    ],
    ["has a user in its server", kubeconfig(`https://${MARK}@k`), /its server holds a password/],
    ["has a query in its server", kubeconfig(`https://k/?token=${MARK}`), /its server has a query/],
    ["would run a program", kubeconfig("https://k", { exec: { command: "sh", args: [MARK] } }), /run the program "sh"/],
  ];
  for (const [name, secret, message] of unusable) {
    test(`can't be used where the secret ${name}, which is not quoted`, async () => {
      const warnings: string[] = [];
      const onWarning = (warning: Error) => void warnings.push(warning.message);
      process.on("warning", onWarning);
      await assert.rejects(open({ yaml: () => secret }), (error) => {
        assert.ok(isLifeboatError(error, "invalid"));
        assert.match(error.message, message);
        assert.match(error.message, /secret store:\/\/prod/);
        return tellsNothing(error);
      });
      await new Promise((warned) => setImmediate(warned));
      process.off("warning", onWarning);
      assert.deepEqual(warnings, []);
    });
  }
});

suite("a cluster of a cloud", () => {
  const gke: GkeReference = { project: "p", location: "l", name: "prod" };
  const aks: AksReference = { subscription: "s", resourceGroup: "g", name: "prod", clientId: "c" };
  const eks: EksReference = { ...EKS, roleArn: "arn:aws:iam::123456789012:role/r" };
  const references: [keyof Platform["clusters"], ClusterReference, object][] = [
    ["eks", { eks }, eks],
    ["gke", { gke }, gke],
    ["aks", { aks }, aks],
  ];
  for (const [cloudName, reference, asked] of references) {
    test(`by ${cloudName}: its endpoint and authority are asked for once, then its token`, async () => {
      const endpoints: { server: string; ca?: string }[] = [];
      const cloud = startCloud(endpoints);
      await using server = await guard(cloud.accepts, certificate);
      endpoints.push({ server: `${server.url}/`, ca: authority.cert });
      const { kube } = await open(reference, { [cloudName]: async () => cloud });
      await using _ = kube;
      assert.deepEqual(cloud.asked, { endpoints: [asked], tokens: [] });
      assert.deepEqual([kube.server, kube.context], [server.url, "prod"]);
      for (let round = 0; round < 3; round++) assert.deepEqual(await statuses(kube, 20), [200]);
      assert.deepEqual(cloud.asked, { endpoints: [asked], tokens: [asked] });
    });
  }

  test("is asked for again after a 401: it may have moved", async () => {
    await using moved = await guard(() => false);
    const endpoints = [{ server: moved.url }];
    const cloud = startCloud(endpoints);
    await using server = await guard(cloud.accepts);
    endpoints.push({ server: server.url });
    const { kube } = await open({ eks: EKS }, { eks: async () => cloud });
    await using _ = kube;
    assert.deepEqual(await statuses(kube, 20), [200]);
    assert.deepEqual([cloud.asked.endpoints.length, cloud.asked.tokens.length], [2, 2]);
  });

  const absent: [string, ClusterReference | { yaml: () => string }, RegExp][] = [
    [
      "an EKS kubeconfig",
      { yaml: () => kubeconfig("https://127.0.0.1", EKS_USER) },
      /Amazon EKS, whose tokens can't be had/,
    ],
    ["eks", { eks }, /Amazon EKS/],
    ["gke", { gke }, /Google GKE/],
    ["aks", { aks }, /Azure AKS/],
  ];
  for (const [name, cluster, message] of absent) {
    test(`by ${name} is refused on a platform without that cloud`, async () => {
      await assert.rejects(open(cluster), { kind: "invalid", message, hint: /service account/ });
    });
  }
});

suite("a cloud's token", () => {
  test("is renewed before it ends, once for all, all through a restore of an hour: no request meets a 401", async (t) => {
    const tick = turnableClock(t);
    const cloud = startCloud();
    await using server = await guard(cloud.accepts);
    const { kube, reads } = await open({ yaml: () => kubeconfig(server.url, EKS_USER) }, { eks: async () => cloud });
    await using _ = kube;
    const create = async (name: string) => {
      const body = JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name } });
      expectOk(await kube.request({ method: "POST", path: CONFIG_MAPS, body }), `create ${name}`);
    };
    for (let second = 0; second < 3600; second += 20) {
      await Promise.all([1, 2, 3, 4].map((at) => create(`restored-${second}-${at}`)));
      tick(20_000);
    }
    assert.deepEqual([server.passed, server.refused], [720, 0]);
    assert.equal(cloud.asked.tokens.length, Math.ceil(60 / 14), "every 14 minutes");
    assert.equal(reads(), 1, "a renewal does not need the secret");
  });

  test("goes on being used until its end while the cloud can't give another", async (t) => {
    const tick = turnableClock(t);
    const cloud = startCloud();
    await using server = await guard(cloud.accepts);
    const { kube } = await open({ yaml: () => kubeconfig(server.url, EKS_USER) }, { eks: async () => cloud });
    await using _ = kube;
    assert.deepEqual(await statuses(kube, 4), [200]);
    cloud.down = true;
    tick(14 * MINUTE + 1_000);
    assert.deepEqual(await statuses(kube, 4), [200]);
    tick(20_000);
    assert.deepEqual(await statuses(kube, 4), [200]);
    assert.equal(cloud.asked.tokens.length, 2, "not asked again by every request");
    tick(35_000);
    assert.deepEqual(await statuses(kube, 4), [200]);
    tick(10_000);
    await assert.rejects(kube.request({ path: CONFIG_MAPS }), { kind: "unreachable", message: /token service/ });
    cloud.down = false;
    assert.deepEqual(await statuses(kube, 4), [200]);
    assert.equal(server.refused, 0);
  });

  test("that was revoked is replaced by a new one", async () => {
    const cloud = startCloud();
    await using server = await guard(cloud.accepts);
    const { kube, reads } = await open({ yaml: () => kubeconfig(server.url, EKS_USER) }, { eks: async () => cloud });
    await using _ = kube;
    assert.deepEqual(await statuses(kube, 20), [200]);
    cloud.revokeAll();
    assert.deepEqual(await statuses(kube, 20), [200]);
    assert.deepEqual([cloud.asked.tokens.length, reads()], [2, 2]);
  });
});

suite("a cluster in the configuration", () => {
  const valid: ClusterReference[] = [
    { kubeconfig: "aws-sm://prod" },
    { kubeconfig: "env:KUBECONFIG_PROD", context: "prod" },
    { eks: EKS },
    { gke: { project: "p", location: "europe-west1", name: "c" } },
    { aks: { subscription: "s", resourceGroup: "g", name: "c" } },
  ];
  for (const reference of valid) {
    test(`is ${JSON.stringify(reference)}`, () => assert.deepEqual(clusterReferenceSchema.parse(reference), reference));
  }

  const wrong: [unknown, RegExp][] = [
    [{}, /^needs exactly one of kubeconfig, eks, gke, aks, and has none$/],
    [{ kubeconfig: "env:A", eks: EKS }, /and has kubeconfig, eks$/],
    [{ eks: EKS, context: "prod" }, /^context is one of a kubeconfig's: it needs kubeconfig$/],
    [{ kubeconfig: "" }, /^kubeconfig: /],
    [{ kubeconfig: "/etc/kubeconfig" }, /^kubeconfig: is no reference: write file:\/path\/to\/kubeconfig or env:NAME/],
    [{ kubeconfig: "vault://prod" }, /^(?!.*vault:\/\/)kubeconfig: is no reference/],
    [
      { kubeconfig: "kind: Config\nusers: [{ user: { token: hunter2 } }]" },
      /^(?!.*hunter2)kubeconfig: is no reference/s,
    ],
    [{ kubeConfig: "env:A" }, /did you mean kubeconfig/],
    [{ eks: { name: "prod" } }, /^eks.region: is missing$/],
    [{ eks: { name: "prod", region: "evil.example.com/" } }, /^eks.region: is not an AWS region$/],
    [{ eks: { ...EKS, roleArn: "admin" } }, /^eks.roleArn: is not the ARN of a role/],
    [{ gke: { project: "p", location: "l", name: "n", zone: "z" } }, /^gke: unknown field "zone"/],
    ["aws-sm://prod", /should be a mapping/],
  ];
  for (const [reference, problem] of wrong) {
    test(`is not ${JSON.stringify(reference)}`, () => {
      const parsed = clusterReferenceSchema.safeParse(reference);
      assert.ok(parsed.error);
      assert.match(fieldProblems(parsed.error).map(problemText).join("\n"), problem);
    });
  }
});
