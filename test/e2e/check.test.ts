import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import {
  type Check,
  check,
  configuredClusters,
  createService,
  openBucket,
  openSecrets,
  parseConfig,
} from "../../core/index.ts";
import { terminal } from "../../functions/cli/platform.ts";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { createAndReadOnly, type S3Proxy, startS3Proxy } from "../rig/s3proxy.ts";
import { lifeboat } from "./lifeboat.ts";

const INFRA = join(import.meta.dirname, "../../infra/kubernetes");
const TOKENS = {
  "token-of-nobody": "nobody",
  "token-of-some": "some",
  "token-of-eyes": "eyes",
  "token-of-sneaky": "sneaky",
};

/** A cluster's authorizer beside RBAC, that has no opinion: with it no rules are complete. */
async function startAuthorizer(dir: string) {
  const server: Server = createServer((incoming, outgoing) => {
    incoming.resume();
    const review = { apiVersion: "authorization.k8s.io/v1", kind: "SubjectAccessReview", status: { allowed: false } };
    outgoing.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(review));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const config = {
    ...{ apiVersion: "v1", kind: "Config", "current-context": "a", users: [{ name: "a" }] },
    clusters: [{ name: "a", cluster: { server: url } }],
    contexts: [{ name: "a", context: { cluster: "a", user: "a" } }],
  };
  const path = join(dir, "authorizer.yaml");
  await writeFile(path, JSON.stringify(config));
  const flags = [
    "--authorization-mode=Webhook",
    "--authorization-webhook-version=v1",
    `--authorization-webhook-config-file=${path}`,
  ];
  return { flags, stop: () => new Promise((resolve) => server.close(resolve).closeAllConnections()) };
}

describe("location check", { skip: requireOrSkip("rig", [...CONTROL_PLANE, "versitygw"]) }, () => {
  let cluster: Cluster;
  let managed: Cluster;
  let authorizer: Awaited<ReturnType<typeof startAuthorizer>>;
  let s3: S3;
  let locked: S3;
  let proxy: S3Proxy;
  let dir: string;
  const configs: Record<string, string> = {};

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "lifeboat-check-"));
    authorizer = await startAuthorizer(dir);
    [cluster, managed, s3, locked] = await Promise.all([
      startCluster({ tokens: TOKENS }),
      startCluster({ tokens: TOKENS, apiServerFlags: authorizer.flags }),
      startS3(),
      startS3({ objectLock: true }),
    ]);
    proxy = await startS3Proxy(s3, createAndReadOnly);
    for (const one of [cluster, managed]) {
      await one.kubectl(["apply", "-f", join(INFRA, "backup.yaml")]);
      await one.kubectl(["create", "clusterrole", "some", "--verb=list", "--resource=namespaces,pods,configmaps"]);
      await one.kubectl(["create", "clusterrolebinding", "some", "--clusterrole=some", "--user=some"]);
      await one.kubectl(["create", "clusterrole", "sneaky", "--verb=create", "--resource=rolebindings"]);
      await one.kubectl(["create", "clusterrole", "runner", "--verb=create", "--resource=pods/exec"]);
      await one.kubectl(["create", "clusterrole", "mask", "--verb=impersonate", "--resource=users"]);
      await one.kubectl(["create", "clusterrole", "eyes", "--verb=list", "--resource=namespaces"]);
      await one.kubectl(["create", "clusterrolebinding", "eyes", "--clusterrole=eyes", "--user=eyes"]);
      await one.kubectl([
        "create",
        "rolebinding",
        "eyes",
        "-n",
        "default",
        "--clusterrole=lifeboat-backup",
        "--user=eyes",
      ]);
    }
    await cluster.kubectl(["create", "serviceaccount", "robot", "-n", "default"]);
    const robot = (await cluster.kubectl(["create", "token", "robot", "-n", "default", "--duration=10m"])).trim();
    const texts = {
      admin: cluster.kubeconfig,
      backup: await cluster.user("keeper", ["lifeboat:backup"]),
      managed: await managed.user("keeper", ["lifeboat:backup"]),
      managedNobody: managed.tokenUser("token-of-nobody"),
      some: cluster.tokenUser("token-of-some"),
      nobody: cluster.tokenUser("token-of-nobody"),
      eyes: cluster.tokenUser("token-of-eyes"),
      sneaky: cluster.tokenUser("token-of-sneaky"),
      managedSneaky: managed.tokenUser("token-of-sneaky"),
      wrong: cluster.tokenUser("token-of-a-stranger"),
      robot: cluster.tokenUser(robot),
      down: cluster.kubeconfig.replace(/server: .*/, "server: https://127.0.0.1:1"),
      anonymous: cluster.kubeconfig.replace(/\n {6}client-\S+ \S+/g, ""),
    };
    for (const [name, text] of Object.entries(texts)) {
      configs[name] = join(dir, name);
      await writeFile(configs[name], text);
    }
  });
  after(async () => {
    await proxy?.stop();
    await rm(dir, { recursive: true, force: true });
    await Promise.all([cluster?.stop(), managed?.stop(), s3?.stop(), locked?.stop()]);
    await authorizer?.stop();
  });

  /** What was found, by `lifeboat location check` as a program of its own. */
  async function run(flags: string[], env: Readonly<Record<string, string>> = {}) {
    const { code, stdout, stderr } = await lifeboat(["location", "check", ...flags, "-o", "json"], env);
    assert.ok(stdout, stderr);
    assert.doesNotMatch(stdout + stderr, /token-of/);
    return { code, ...read(JSON.parse(stdout)) };
  }

  /** What was found, by the core in this process. */
  async function ask(cluster: string, location = `file://${join(dir, "directory")}`) {
    const clusters = { rig: { kubeconfig: `file:${configs[cluster]}` } };
    const { config } = parseConfig(JSON.stringify({ location, clusters }), {});
    const secrets = openSecrets(terminal);
    const asked = {
      ...{ config, source: "the test", secrets, openBucket: (location: string) => openBucket(terminal, location) },
      clusters: configuredClusters(config, { secrets, clusters: {} }),
    };
    return read(await check(async () => asked, { signal: new AbortController().signal }));
  }

  function read({ checks, ok }: { checks: Check[]; ok: boolean }) {
    for (const { state, question, todo } of checks)
      assert.ok(["ok", "notAsked"].includes(state) || todo, `${question} says what to do`);
    const failed = checks.filter(({ state }) => state === "failed");
    assert.equal(ok, failed.length === 0);
    const of = (subject: string, question: string, name?: string): Check => {
      const found = checks.find(
        (check) => check.subject === subject && check.question === question && (!name || check.name === name),
      );
      return found ?? assert.fail(`${subject} ${question} is not told`);
    };
    const states = (subject: string) => statesOf(checks.filter((one) => one.subject === subject));
    return { ok, error: failed[0]?.error, checks, of, states };
  }

  const statesOf = (checks: Check[]) =>
    Object.fromEntries(checks.filter(({ state }) => state !== "ok").map(({ question, state }) => [question, state]));
  const asked = (config: string, location = `file://${join(dir, "directory")}`) => [
    ...["--kubeconfig", configs[config]!, "--location", location],
  ];

  /** What clusters without hooks, snapshots and disks of a cloud are not asked. */
  const NOT_NEEDED = { hooks: "notAsked", volumes: "notAsked", snapshots: "notAsked" };

  it("an administrator is well, and may more than a backup needs", async () => {
    const { code, states, of } = await run(asked("admin"));
    assert.equal(code, 0);
    assert.deepEqual(states("cluster"), { ...NOT_NEEDED, surplus: "note" });
    assert.deepEqual(states("location"), { "write-once": "note", hold: "notAsked" });
    assert.deepEqual(states("function"), { limits: "notAsked" });
    assert.match(of("cluster", "reach").message, /^Kubernetes v1\.\d+/);
    assert.match(of("cluster", "credential").message, /^admin, by a certificate that ends on 20/);
    assert.equal(of("cluster", "surplus").message, "may write everything");
    assert.deepEqual(await readdir(join(dir, "directory")), []);
  });

  it("a credential that only creates, and the ClusterRole of infra/kubernetes, are enough, and no more than that", async () => {
    const { code, states, of } = await run(asked("backup", proxy.location("once")), s3.env);
    assert.equal(code, 0);
    assert.deepEqual(states("cluster"), NOT_NEEDED);
    assert.deepEqual(states("location"), { hold: "notAsked" });
    assert.equal(of("cluster", "surplus").message, "may write nothing");
    assert.match(of("location", "write-once").message, /^may neither overwrite nor delete/);
    const backups = await lifeboat(["backup", "get", "--location", s3.location("once")], s3.env);
    assert.deepEqual([backups.code, backups.stdout], [0, ""]);
  });

  it("that ClusterRole is found to be enough where the authorizers tell no rules", async () => {
    const { ok, states } = await ask("managed");
    assert.deepEqual([ok, states("cluster")], [true, NOT_NEEDED]);
  });

  const NOT_ASKED = "of other kinds it was not asked, since the authorizers tell no rules";
  const ROLES: [config: string, role: string, state: string, message: string][] = [
    ["sneaky", "sneaky", "note", "may also create: rolebindings.rbac.authorization.k8s.io"],
    ["sneaky", "runner", "note", "may also create: pods/exec"],
    ["sneaky", "mask", "note", "may also impersonate: users"],
    ["managedSneaky", "sneaky", "ok", `may not write deployments.apps, namespaces, pods, secrets; ${NOT_ASKED}`],
    ["managedSneaky", "runner", "note", `may also create: pods/exec; ${NOT_ASKED}`],
    ["managedSneaky", "mask", "note", `may also impersonate: users; ${NOT_ASKED}`],
  ];
  for (const [config, role, state, message] of ROLES) {
    it(`of ClusterRole ${role} ${config} is told: ${message}`, async () => {
      const { kubectl } = config === "sneaky" ? cluster : managed;
      await kubectl(["create", "clusterrolebinding", "more", `--clusterrole=${role}`, "--user=sneaky"]);
      try {
        const surplus = (await ask(config)).of("cluster", "surplus");
        assert.deepEqual([surplus.state, surplus.message], [state, message]);
      } finally {
        await kubectl(["delete", "clusterrolebinding", "more"]);
      }
    });
  }

  const LACKS: [config: string, what: string, message: RegExp][] = [
    ["some", "Secrets and most kinds", /^may not list \d+ of \d+: /],
    ["nobody", "everything", /^may not list namespaces/],
    ["managedNobody", "everything, where the authorizers tell no rules", /^may not list namespaces/],
    ["eyes", "all that is not in one namespace", /^may not list \d+ of \d+: /],
  ];
  for (const [config, what, message] of LACKS) {
    it(`a lack of the right to list ${what} is told by name, with the command that gives it`, async () => {
      const found = await ask(config);
      assert.equal(found.error, "denied");
      const states = {
        list: "failed",
        secrets: "failed",
        uid: "warning",
        ...NOT_NEEDED,
        leftovers: "notAsked",
        restores: "notAsked",
      };
      assert.deepEqual(found.states("cluster"), states);
      const { message: said, resources = [], todo = "" } = found.of("cluster", "list");
      assert.match(said, message);
      assert.ok(resources.includes("deployments.apps") && !resources.includes("secrets"));
      assert.equal(resources.includes("pods"), config !== "some");
      assert.match(todo, /^kubectl apply -f infra\/kubernetes\/backup.yaml && kubectl create clusterrolebinding /);
    });
  }

  it("the command that is told mends it", async () => {
    const { of } = await ask("nobody");
    const [, ...words] = of("cluster", "list").todo!.split("&& ")[1]!.split(" ");
    try {
      await cluster.kubectl(words);
      const mended = await ask("nobody");
      assert.deepEqual([mended.ok, mended.states("cluster")], [true, NOT_NEEDED]);
    } finally {
      await cluster.kubectl(["delete", "clusterrolebinding", words[2]!]);
    }
  });

  const BROKEN: [config: string, question: string, message: RegExp, error: string][] = [
    ["wrong", "credential", /Unauthorized \(401\)/, "denied"],
    ["anonymous", "credential", /system:anonymous|Unauthorized/, "denied"],
    ["down", "reach", /refuses connections/, "unreachable"],
  ];
  for (const [config, question, message, error] of BROKEN) {
    it(`a cluster that is ${config} fails at ${question}, and what follows is not asked`, async () => {
      const found = await ask(config);
      assert.deepEqual([found.of("cluster", question).state, found.error], ["failed", error]);
      assert.match(found.of("cluster", question).message, message);
      assert.equal(found.of("cluster", "list").state, "notAsked");
      assert.equal(found.of("location", "create").state, "ok");
    });
  }

  it("a token that ends soon is a warning", async () => {
    const { state, message } = (await ask("robot")).of("cluster", "credential");
    assert.equal(state, "warning");
    assert.match(message, /^system:serviceaccount:default:robot, by a token that ends on .*, in 0\.[12] hours$/);
  });

  it("a clock that is minutes off is a warning, one that is more than a quarter of an hour off a failure", async () => {
    for (const [minutes, state, code] of [
      [3, "warning", 0],
      [20, "failed", 1],
    ] as const) {
      const shifted = join(dir, `${minutes}.mjs`);
      const shift = `const now = Date.now; const by = ${minutes * 60_000};
globalThis.Date = class extends Date { constructor(...given) { given.length ? super(...given) : super(now() - by); } static now() { return now() - by; } };
`;
      await writeFile(shifted, shift);
      const env = { ...s3.env, NODE_OPTIONS: `--import ${shifted}` };
      const found = await run(asked("backup", s3.location("clock")), env);
      assert.deepEqual(
        [found.code, found.of("cluster", "clock").state, found.of("location", "clock").state],
        [code, state, state],
      );
      assert.match(found.of("cluster", "clock").message, /s behind the API server's/);
    }
  });

  const BUCKETS: [
    what: string,
    location: () => string,
    env: () => Record<string, string>,
    question: string,
    message: RegExp,
    code: number,
  ][] = [
    [
      "does not exist",
      () => s3.location("x").replace("//backups/", "//nowhere/"),
      () => ({ ...s3.env }),
      "list",
      /NoSuchBucket/,
      5,
    ],
    [
      "is asked with a wrong key",
      () => s3.location("x"),
      () => ({ ...s3.env, AWS_SECRET_ACCESS_KEY: "wrong" }),
      "list",
      /SignatureDoesNotMatch/,
      4,
    ],
    [
      "can't be reached",
      () => s3.location("x").replace(encodeURIComponent(s3.endpoint), encodeURIComponent("http://127.0.0.1:1")),
      () => ({ ...s3.env }),
      "list",
      /ECONNREFUSED/,
      1,
    ],
    ["is a file", () => configs.admin!, () => ({}), "list", /can't be both|not a directory|one path/, 2],
  ];
  for (const [what, location, env, question, message, code] of BUCKETS) {
    it(`a location that ${what} fails at ${question}`, async () => {
      const found = await run(asked("backup", location()), env());
      assert.match(found.of("location", question).message, message);
      assert.deepEqual([found.of("location", question).state, found.code], ["failed", code]);
    });
  }

  it("all clusters of a configuration are asked, each for what its schedules store", async () => {
    const config = join(dir, "lifeboat.yaml");
    const hooks = { resources: [{ name: "sync", pre: [{ exec: { command: ["sync"] } }] }] };
    await writeFile(
      config,
      JSON.stringify({
        location: locked.location("held"),
        clusters: {
          here: { kubeconfig: `file:${configs.backup}` },
          part: { kubeconfig: `file:${configs.eyes}` },
          gone: { kubeconfig: `file:${join(dir, "gone")}` },
        },
        schedules: {
          hooked: { schedule: "@hourly", cluster: "here", template: { hooks, retainFor: "1h" } },
          one: {
            schedule: "@hourly",
            cluster: "part",
            template: { includedNamespaces: ["default"], includeClusterResources: false },
          },
        },
      }),
    );
    const found = await run(["--config", config], locked.env);
    assert.equal(found.code, 4);
    const { state, todo, message } = found.of("cluster", "hooks", "here");
    assert.deepEqual(
      [state, todo],
      [
        "failed",
        "kubectl apply -f infra/kubernetes/hooks.yaml && kubectl create clusterrolebinding lifeboat-hooks-keeper --clusterrole=lifeboat-hooks --user=keeper",
      ],
    );
    assert.match(message, /get pods\/exec, create pods\/exec/);
    assert.deepEqual(
      [found.of("cluster", "list", "part").state, found.of("cluster", "secrets", "part").state],
      ["ok", "ok"],
    );
    assert.match(found.of("cluster", "access", "here").message, /^kubeconfig file:.*backup: https:/);
    assert.deepEqual(found.of("cluster", "access", "gone").state, "failed");
    assert.equal(found.of("location", "hold").state, "ok");
    const one = await run(["--config", config, "--cluster", "part"], locked.env);
    assert.deepEqual([one.code, one.checks.some(({ name }) => name === "gone")], [0, false]);
    const backup = await lifeboat(["schedule", "run", "one", "--config", config], locked.env);
    assert.equal(backup.code, 0, backup.stderr);
  });

  it("Pods with hooks of their own want pods/exec", async () => {
    const pod = {
      ...{ apiVersion: "v1", kind: "Pod" },
      metadata: { name: "db", namespace: "default", annotations: { "pre.hook.backup.velero.io/command": '["sync"]' } },
      spec: { containers: [{ name: "db", image: "db" }] },
    };
    await cluster.kubectl(["create", "-f", "-"], { input: JSON.stringify(pod) });
    try {
      const { error, of } = await ask("backup");
      assert.deepEqual([error, of("cluster", "hooks").state], ["denied", "failed"]);
      assert.match(of("cluster", "hooks").message, /^Pod default\/db has hooks/);
      assert.equal((await ask("admin")).of("cluster", "hooks").state, "ok");
    } finally {
      await cluster.kubectl(["delete", "pod", "db", "-n", "default", "--force"]);
    }
  });

  it("a configuration that can't be read is an answer, too", async () => {
    const config = join(dir, "broken.yaml");
    await writeFile(config, "location: ftp\n");
    const { code, of, checks } = await run(["--config", config]);
    assert.deepEqual([code, of("configuration", "read").state, checks.length], [2, "failed", 4]);
  });

  it("a function is asked with its own identity, by a job and over HTTP, and tells its limits", async () => {
    const lines: string[] = [];
    await mkdir(join(dir, "function"));
    const service = createService(
      { ...terminal, jobs: () => Promise.reject(new Error("no job is enqueued")), memory: () => 256 * 1024 * 1024 },
      {
        env: {
          LIFEBOAT_LOCATION: `file://${join(dir, "function")}`,
          LIFEBOAT_CLUSTERS_PROD_KUBECONFIG: `file:${configs.some}`,
        },
        listen: (line) => lines.push(line),
      },
    );
    const deadline = new Date(Date.now() + 900_000);
    const ended = await service.run({ kind: "check" }, { deadline });
    assert.deepEqual([ended.kind, ended.ok], ["check", false]);
    const limits = ended.checks?.find(({ question }) => question === "limits");
    assert.deepEqual([limits?.state, limits?.message], ["warning", "256 MiB of memory, 900 s"]);
    assert.match(lines.at(-1) ?? "", /msg="check ended" ok=false$/);
    assert.match(lines.join("\n"), /level=error msg="may not list .* subject=cluster name=prod question=list/);

    const request = new Request("http://f/v1/checks", { method: "POST" });
    const response = await service.fetch(request);
    const body = (await response.json()) as { kind: string; ok: boolean; checks: Check[] };
    assert.deepEqual([response.status, body.kind, body.ok], [200, "check", false]);
    assert.deepEqual(statesOf(body.checks.filter(({ subject }) => subject === "cluster")).list, "failed");
  });

  it("the terminal shows a line for each question, and what to do below it", async () => {
    const { stdout, stderr, code } = await lifeboat(["location", "check", ...asked("some")]);
    assert.equal(code, 4);
    assert.match(stdout, /\n\ncluster rig\n {2}ok {7}access {8}kubeconfig /);
    assert.match(stdout, /\n {2}failed {3}list {10}may not list [^\n]+\n {25}→ kubectl apply -f/);
    assert.match(stdout, /\n {2}- {8}not asked {5}hooks \(neither/);
    assert.match(stderr, /^2 failed, 1 warning, 1 note\n$/);
  });

  it("a backup of which nothing but Namespaces may be listed is denied, and none", async () => {
    const location = `file://${join(dir, "denied")}`;
    await cluster.kubectl(["delete", "rolebinding", "eyes", "-n", "default"]);
    const { code, stderr } = await lifeboat(["backup", "create", "x", ...asked("eyes", location)]);
    assert.equal(code, 4, stderr);
    assert.match(stderr, /^error: nothing that is to be stored may be listed: .*\nhint: .*location check/);
    const { stdout } = await lifeboat(["backup", "get", "--location", location, "-o", "json"]);
    assert.deepEqual(JSON.parse(stdout).backups, []);
  });

  it("a directory that isn't there has no backups to get: exit code 5, and its path", async () => {
    const path = join(dir, "not-there");
    for (const verb of [
      ["backup", "get"],
      ["restore", "get"],
      ["backup", "search", "x"],
      ["backup", "verify", "--all"],
    ]) {
      const { code, stderr } = await lifeboat([...verb, "--location", path]);
      assert.equal(code, 5, verb.join(" "));
      assert.match(stderr, new RegExp(`^error: there is no directory ${path}\n`));
    }
  });
});
