import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { isLifeboatError } from "../../core/errors.ts";
import { type ClusterAccess, readKubeconfig } from "../../core/kube/kubeconfig.ts";
import { kubeconfig } from "./kube-server.ts";

const SERVER = "https://127.0.0.1:6443";
const signal = new AbortController().signal;
const credentials = (access: ClusterAccess) => access.authenticate(signal);

suite("readKubeconfig", () => {
  const two = `
apiVersion: v1
kind: Config
current-context: prod
contexts:
  - { name: prod, context: { cluster: eu, user: admin } }
  - { name: test, context: { cluster: local } }
clusters:
  - { name: eu, cluster: { server: "https://eu.example.com/", tls-server-name: kube, proxy-url: "http://proxy:3128" } }
  - { name: local, cluster: { server: "http://127.0.0.1:8080", insecure-skip-tls-verify: true } }
users:
  - { name: admin, user: { token: t } }
`;

  test("takes the current context, or the one asked for", async () => {
    const prod = readKubeconfig(two);
    assert.deepEqual([prod.name, prod.server, prod.proxyUrl], ["prod", "https://eu.example.com", "http://proxy:3128"]);
    assert.deepEqual(prod.tls, { ca: undefined, servername: "kube", rejectUnauthorized: true });
    const local = readKubeconfig(two, { context: "test" });
    assert.deepEqual([local.server, local.tls.rejectUnauthorized], ["http://127.0.0.1:8080", false]);
    assert.deepEqual((await credentials(local)).headers, {});
  });

  const valid = JSON.parse(kubeconfig(SERVER));
  const broken: [string, string, RegExp, RegExp?][] = [
    ["nothing", " \n", /it is empty/, /kubectl/],
    ["no YAML", "contexts:\n  - token: secret-token\n bad", /line 3 is not valid YAML: it is indented/],
    ["a word", "hello", /not a mapping/],
    ["an unknown alias", "token: *secret-token", /can't be used/],
    ["no contexts", "kind: Config", /has no current-context/, /has no contexts at all/],
    [
      "no current context",
      JSON.stringify({ ...valid, "current-context": "" }),
      /has no current-context/,
      /its contexts are: test/,
    ],
    [
      "no such cluster",
      JSON.stringify({ ...valid, clusters: [] }),
      /context "test" names "test", which is not among its clusters/,
    ],
    ["no such user", JSON.stringify({ ...valid, users: [] }), /"tester", which is not among its users/],
    [
      "no server",
      JSON.stringify({ ...valid, clusters: [{ name: "test", cluster: {} }] }),
      /clusters\["test"\].cluster.server is missing/,
    ],
    [
      "a server without a scheme",
      kubeconfig("10.0.0.1:6443"),
      /server is not a URL that begins with http:\/\/ or https:\/\//,
    ],
    ["a password in the server", kubeconfig("https://u:secret-token@k"), /server holds a password/],
    ["a proxy of another kind", kubeconfig(SERVER, {}, { "proxy-url": "ftp://proxy" }), /proxy-url is not a URL/],
    [
      "an authority that is no PEM",
      kubeconfig(SERVER, {}, { "certificate-authority-data": "c2VjcmV0LXRva2Vu" }),
      /certificate-authority-data is not the base64 of a PEM/,
    ],
    [
      "an authority that is no file",
      kubeconfig(SERVER, {}, { "certificate-authority": "missing.crt" }),
      /ENOENT.*missing.crt/,
    ],
  ];
  for (const [name, text, message, hint] of broken) {
    test(`refuses ${name} in one line that quotes no secret`, () => {
      assert.throws(
        () => readKubeconfig(text),
        (error) => {
          assert.ok(isLifeboatError(error, "invalid"), String(error));
          assert.match(error.message, message);
          if (hint) assert.match(error.hint ?? "", hint);
          assert.doesNotMatch(`${error.message}${error.hint}`, /secret-token|\n/);
          assert.equal(error.cause, undefined);
          return true;
        },
      );
    });
  }

  test("names the contexts there are where it lacks the one asked for", () => {
    assert.throws(() => readKubeconfig(two, { context: "prd" }), {
      kind: "invalid",
      message: 'the kubeconfig has no context "prd"',
      hint: "its contexts are: prod, test",
    });
  });
});

suite("credentials", () => {
  let dir = "";
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "lifeboat-kube-"));
    await writeFile(join(dir, "token"), "from-file\n");
    await writeFile(join(dir, "client.crt"), "-----BEGIN CERTIFICATE-----\n");
  });
  after(() => rm(dir, { recursive: true }));

  const read = (user: object, cluster?: object) =>
    readKubeconfig(kubeconfig(SERVER, user, cluster), { directory: dir });
  const plugin = (script: string, more: object = {}) =>
    read({
      exec: { apiVersion: "client.authentication.k8s.io/v1", command: process.execPath, args: ["-e", script], ...more },
    });

  const users: [string, object, Record<string, unknown>][] = [
    ["a token", { token: "abc\n" }, { Authorization: "Bearer abc" }],
    ["a token file before a token", { token: "abc", tokenFile: "token" }, { Authorization: "Bearer from-file" }],
    ["a password", { username: "u", password: "p" }, { Authorization: "Basic dTpw" }],
    [
      "impersonation",
      { token: "a", as: "jane", "as-groups": ["x", "y"] },
      { Authorization: "Bearer a", "Impersonate-User": "jane", "Impersonate-Group": ["x", "y"] },
    ],
    [
      "an unexpired OpenID Connect token",
      { "auth-provider": { name: "oidc", config: { "id-token": jwt(4_000_000_000) } } },
      { Authorization: `Bearer ${jwt(4_000_000_000)}` },
    ],
    ["nothing", {}, {}],
  ];
  for (const [name, user, headers] of users) {
    test(`from ${name}`, async () => assert.deepEqual((await credentials(read(user))).headers, headers));
  }

  test("from client certificates, in files beside the kubeconfig or in it", async () => {
    const data = Buffer.from("-----BEGIN EC PRIVATE KEY-----").toString("base64");
    const { cert, key } = await credentials(read({ "client-certificate": "client.crt", "client-key-data": data }));
    assert.deepEqual([String(cert), String(key)], ["-----BEGIN CERTIFICATE-----\n", "-----BEGIN EC PRIVATE KEY-----"]);
  });

  test("a token file is read anew each time", async () => {
    const access = read({ tokenFile: "turning" });
    for (const token of ["one", "two"]) {
      await writeFile(join(dir, "turning"), token);
      assert.equal((await credentials(access)).headers.Authorization, `Bearer ${token}`);
    }
  });

  test("from a credential program, which is told its protocol and its cluster and gets its own environment", async () => {
    const script = `
      const info = JSON.parse(process.env.KUBERNETES_EXEC_INFO);
      const token = [info.kind, info.spec.interactive, info.spec.cluster.server, info.spec.cluster.config.audience, process.env.REGION].join();
      const expirationTimestamp = "2030-01-01T00:00:00Z";
      console.log(JSON.stringify({ apiVersion: info.apiVersion, kind: "ExecCredential", status: { token, expirationTimestamp, clientCertificateData: "C", clientKeyData: "K" } }));`;
    const exec = {
      command: process.execPath,
      args: ["-e", script],
      env: [{ name: "REGION", value: "eu" }],
      provideClusterInfo: true,
    };
    const extensions = [{ name: "client.authentication.k8s.io/exec", extension: { audience: "me" } }];
    assert.deepEqual(await credentials(read({ exec }, { extensions })), {
      headers: { Authorization: `Bearer ExecCredential,false,${SERVER},me,eu` },
      cert: "C",
      key: "K",
      expires: new Date("2030-01-01T00:00:00Z"),
      renewed: true,
    });
  });

  test("from a credential program that lies beside the kubeconfig", async () => {
    await writeFile(join(dir, "plugin"), '#!/bin/sh\necho \'{"status":{"token":"beside"}}\'\n');
    await chmod(join(dir, "plugin"), 0o755);
    assert.equal((await credentials(read({ exec: { command: "./plugin" } }))).headers.Authorization, "Bearer beside");
  });

  const failing: [string, () => ClusterAccess, RegExp, RegExp][] = [
    [
      "is not installed",
      () => read({ exec: { command: "no-such-plugin", installHint: "Get it from example.com\nor so" } }),
      /"no-such-plugin" was not found/,
      /^Get it from example.com$/,
    ],
    [
      "fails",
      () => plugin(`console.error("debug\\nlogin expired for ${"secret-token".repeat(5)}"); process.exit(7)`),
      /failed \(7\)/,
      /^it said: login expired for …$/,
    ],
    ["prints something else", () => plugin('console.log("secret-token")'), /printed no ExecCredential/, /by hand/],
    [
      "prints no credential",
      () => plugin("console.log(JSON.stringify({ status: {} }))"),
      /printed no ExecCredential/,
      /by hand/,
    ],
    [
      "reads a password that nobody types",
      () => plugin('process.stdin.on("data", () => {}).on("end", () => process.exit(3))'),
      /failed \(3\)/,
      /by hand/,
    ],
    [
      "is of an unknown auth-provider",
      () => read({ "auth-provider": { name: "ldap" } }),
      /unknown auth-provider "ldap"/,
      /oidc, gcp, azure/,
    ],
  ];
  for (const [name, access, message, hint] of failing) {
    test(`are refused with a hint where the program ${name}`, async () => {
      await assert.rejects(credentials(access()), (error) => {
        assert.ok(isLifeboatError(error), String(error));
        assert.match(error.message, message);
        assert.match(error.hint ?? "", hint);
        assert.doesNotMatch(`${error.message}${error.hint}${error.cause}`, /secret-token/);
        return true;
      });
    });
  }

  test("a credential program ends with the signal", async () => {
    const reason = new Error("interrupted");
    const controller = new AbortController();
    const asked = plugin("setInterval(() => {}, 1000)").authenticate(controller.signal);
    setTimeout(() => controller.abort(reason), 100);
    await assert.rejects(asked, (error) => error === reason);
  });
});

test("printing what was read shows no credential", () => {
  assert.doesNotMatch(JSON.stringify(readKubeconfig(kubeconfig(SERVER))), /secret-token/);
});

function jwt(exp: number): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "none" })}.${part({ exp })}.c2ln`;
}
