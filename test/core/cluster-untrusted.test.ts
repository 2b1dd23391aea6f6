import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { inspect } from "node:util";
import fc from "fast-check";
import { isLifeboatError } from "../../core/errors.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import { type CloudUser, vetKubeconfig } from "../../core/kube/untrusted.ts";
import { kubeconfig } from "./kube-server.ts";

const SERVER = "https://api.example.com";
const AKS = "https://prod-0123abcd.hcp.westeurope.azmk8s.io:443";
const GKE = "https://gke-0123abcd-123456789012.europe-west1.gke.goog";
const EKS = "https://0123ABCD.gr7.eu-west-1.eks.amazonaws.com";
const MARK = "hunter2";
const ROLE = "arn:aws:iam::123456789012:role/backup";
const AKS_SERVER_ID = "6dae42f8-4368-4678-94ff-3960e28e3630";
const IDENTITY = "11111111-2222-3333-4444-555555555555";

function vetted(user: object, cluster: object = {}, server = SERVER): CloudUser | undefined {
  let found: CloudUser | undefined;
  readKubeconfig(kubeconfig(server, user, cluster), {
    vet: (chosen) => {
      found = vetKubeconfig(chosen);
      return undefined;
    },
  });
  return found;
}

const program = (command: string, ...args: string[]) => ({ exec: { command, args } });
const provider = (name: string, config: object = {}) => ({ "auth-provider": { name, config } });
const eks = (...args: string[]) => program("aws", "eks", "get-token", ...args);
const kubelogin = (...args: string[]) => program("kubelogin", "get-token", ...args);

suite("a kubeconfig from a secret is refused", () => {
  const cases: [string, object, object, RegExp, RegExp, string?][] = [
    [
      "for another program",
      program("/bin/sh", "-c", MARK),
      {},
      /would run the program "sh", which is not aws/,
      /token/,
    ],
    ["for a program that begins like a known one", program("aws-login"), {}, /"aws-login"/, /token/],
    ["for a command line as program", program(`sh -c 'echo ${MARK}'`), {}, /"sh"/, /token/],
    ["for a program with a name like a token", program(MARK.repeat(9)), {}, /the program "…"/, /token/],
    ["for a program without a name", { exec: { args: [MARK] } }, {}, /the program ""/, /token/],
    ["for a program that is no mapping", { exec: MARK }, {}, /the program ""/, /token/],
    ["for another use of aws", program("aws", "s3", "cp", MARK), {}, /"aws", which is not aws eks get-token/, /token/],
    ["for another kubelogin", kubelogin("--oidc-issuer-url", MARK), {}, /not .*Azure's kubelogin/, /token/],
    ["for a token without a cluster name", eks("--region", "eu-west-1"), {}, /told no cluster name/, /update-kube/],
    ["for a cluster name that is none", eks("--cluster-name", `${MARK}\n`), {}, /cluster name, or none/, /update-kube/],
    [
      "for a region that is another host",
      eks("--cluster-name", "a", "--region", `${MARK}.example.com/`),
      {},
      /told no region, or none that can be one/,
      /update-kubeconfig/,
    ],
    ["for a role that is none", eks("--cluster-name", "a", "--role-arn", MARK), {}, /told no role ARN/, /update-kube/],
    ["for tokens for another audience", kubelogin("--server-id", MARK), {}, /for another server than AKS/, /6dae42f8/],
    ["for EKS tokens to another host", eks("--cluster-name", "a"), {}, /no host of that cloud/, /by eks: /, SERVER],
    ["for GKE tokens to another host", program("gke-gcloud-auth-plugin"), {}, /Google GKE, is no host/, /by gke: /],
    ["for GKE tokens of a provider to another host", provider("gcp"), {}, /Google GKE, is no host/, /by gke: /],
    ["for AKS tokens to another host", kubelogin("--server-id", AKS_SERVER_ID), {}, /Azure AKS, is no/, /by aks: /],
    ["for AKS tokens of a provider to another host", provider("azure"), {}, /Azure AKS, is no host/, /by aks: /],
    [
      "for one cloud's tokens to another cloud's host",
      eks("--cluster-name", "a", "--region", "eu-west-1"),
      {},
      /Amazon EKS, is no host/,
      /by eks: /,
      AKS,
    ],
    [
      "for a cloud's tokens through a proxy",
      eks("--cluster-name", "a"),
      { "proxy-url": `http://${MARK}:1` },
      /its proxy-url could get the function's token for Amazon EKS/,
      /service account's token/,
      EKS,
    ],
    [
      "for a cloud's tokens through a proxy to its loopback",
      eks("--cluster-name", "a"),
      { "proxy-url": `http://${MARK}:1` },
      /its proxy-url could get/,
      /service account's token/,
      "https://127.0.0.1:6443",
    ],
    [
      "for an auth-provider's command",
      provider("gcp", { "cmd-path": "/opt/gcloud", "cmd-args": MARK }),
      {},
      /auth-provider "gcp" would run the program "gcloud" \(cmd-path\)/,
      /leave out cmd-path/,
    ],
    [
      "for another auth-provider",
      provider("oidc", { "id-token": MARK }),
      {},
      /"oidc" is neither gcp/,
      /service account/,
    ],
    ["for a token file", { tokenFile: `/run/${MARK}` }, {}, /its tokenFile is a path/, /as `token`/],
    [
      "for a token file that only client-node knows",
      { "token-file": "/etc/hostname" },
      {},
      /token-file is a path/,
      /as/,
    ],
    ["for a certificate's file", { "client-certificate": MARK }, {}, /client-certificate is a path/, /--flatten/],
    ["for a key's file", { "client-key": MARK }, {}, /client-key is a path/, /client-key-data/],
    [
      "for an authority's file, beside its data too",
      {},
      { "certificate-authority": MARK, "certificate-authority-data": MARK },
      /certificate-authority is a path/,
      /certificate-authority-data/,
    ],
    ["for plain http", { token: MARK }, {}, /its server is plain http/, /https/, "http://10.0.0.1:8080"],
    ["for http to what looks like loopback", {}, {}, /plain http/, /https/, "http://127.0.0.1.example.com"],
    ["for http to a proxy's loopback", {}, { "proxy-url": "http://p:1" }, /plain http/, /https/, "http://127.0.0.1:1"],
    [
      "for skipped verification",
      { token: MARK },
      { "insecure-skip-tls-verify": true },
      /insecure-skip/,
      /authority-data/,
    ],
  ];
  for (const [name, user, cluster, message, hint, server] of cases) {
    test(name, () => {
      assert.throws(
        () => vetted(user, cluster, server),
        (error) => {
          assert.ok(isLifeboatError(error, "invalid"), String(error));
          assert.match(error.message, message);
          assert.match(error.hint ?? "", hint);
          assert.doesNotMatch(`${error.message}${error.hint}`, /\n/);
          assert.doesNotMatch(inspect(error), new RegExp(MARK));
          return true;
        },
      );
    });
  }

  test("or is for one of the clouds, whatever its user's program and arguments are", () => {
    const word = fc.oneof(fc.string(), fc.constantFrom("aws", "eks", "get-token", "--cluster-name", "-i", "kubelogin"));
    const anything = fc.oneof(word, fc.jsonValue());
    const chosen = (exec: object) => ({ server: new URL(EKS), cluster: {}, user: { exec } });
    fc.assert(
      fc.property(anything, fc.oneof(fc.array(anything), anything), anything, (command, args, env) => {
        try {
          assert.notEqual(vetKubeconfig(chosen({ command, args, env }))?.cloud, undefined);
        } catch (error) {
          assert.ok(isLifeboatError(error, "invalid"), String(error));
          assert.doesNotMatch(`${error.message}${error.hint}`, /\n/);
        }
      }),
    );
  });

  test("or read, whatever stands where names, texts and mappings should", () => {
    const any = fc.jsonValue();
    const field = fc.constantFrom(
      "server",
      "token",
      "exec",
      "auth-provider",
      "client-key-data",
      "as",
      "toString",
      "env",
    );
    const mapping = fc.oneof(fc.dictionary(field, any), any);
    const name = fc.oneof(fc.constant("test"), any);
    const kubeconfigs = fc.record({
      "current-context": name,
      contexts: fc.oneof(fc.tuple(fc.record({ name, context: fc.record({ cluster: name, user: name }) })), any),
      clusters: fc.oneof(
        fc.tuple(fc.record({ name, cluster: fc.oneof(fc.constant({ server: SERVER }), mapping) })),
        any,
      ),
      users: fc.oneof(fc.tuple(fc.record({ name, user: mapping })), any),
    });
    fc.assert(
      fc.property(kubeconfigs, (config) => {
        try {
          const access = readKubeconfig(JSON.stringify(config), { vet: (chosen) => void vetKubeconfig(chosen) });
          assert.equal(access.server, SERVER);
        } catch (error) {
          assert.ok(isLifeboatError(error, "invalid"), inspect(error));
        }
      }),
    );
  });
});

suite("a kubeconfig from a secret is for", () => {
  const region = "eu-west-1";
  const cases: [string, object, CloudUser | undefined, string?][] = [
    ["nobody's cloud with a token", { token: "t" }, undefined],
    ["nobody's cloud with a password", { username: "u", password: "p" }, undefined],
    [
      "EKS by aws, as update-kubeconfig writes it",
      program("aws", "--region", region, "eks", "get-token", "--cluster-name", "prod", "--output", "json"),
      { cloud: "eks", reference: { name: "prod", region } },
      EKS,
    ],
    [
      "EKS by aws, with a role, in flags with =",
      eks(`--region=${region}`, "--cluster-name=prod", `--role-arn=${ROLE}`),
      { cloud: "eks", reference: { name: "prod", region, roleArn: ROLE } },
      EKS,
    ],
    [
      "EKS by an absolute path of Windows",
      program("C:\\Program Files\\Amazon\\AWSCLIV2\\aws.exe", "eks", "get-token", "--cluster-name", "prod"),
      { cloud: "eks", reference: { name: "prod" } },
      "https://127.0.0.1:6443",
    ],
    [
      "EKS by aws-iam-authenticator, with the region of its environment",
      {
        exec: {
          command: "/usr/local/bin/aws-iam-authenticator",
          args: ["token", "-i", "prod", "-r", ROLE],
          env: [
            { name: "AWS_DEFAULT_REGION", value: "us-east-1" },
            { name: "AWS_REGION", value: region },
          ],
        },
      },
      { cloud: "eks", reference: { name: "prod", region, roleArn: ROLE } },
      EKS,
    ],
    [
      "EKS in AWS_DEFAULT_REGION",
      { exec: { ...eks("--cluster-name", "prod").exec, env: [{ name: "AWS_DEFAULT_REGION", value: region }] } },
      { cloud: "eks", reference: { name: "prod", region } },
      EKS,
    ],
    [
      "EKS in the region of its endpoint",
      eks("--cluster-name", "p"),
      { cloud: "eks", reference: { name: "p", region } },
      EKS,
    ],
    [
      "EKS in the region of its Chinese endpoint",
      eks("--cluster-name", "p"),
      { cloud: "eks", reference: { name: "p", region: "cn-north-1" } },
      "https://0123ABCD.yl4.cn-north-1.eks.amazonaws.com.cn",
    ],
    [
      "EKS in the region of its dual-stack endpoint",
      eks("--cluster-name", "p"),
      { cloud: "eks", reference: { name: "p", region } },
      `https://0123ABCD.gr7.eks-cluster.${region}.api.aws`,
    ],
    ["GKE by its plugin", program("gke-gcloud-auth-plugin"), { cloud: "gke", reference: {} }, GKE],
    [
      "GKE by its plugin's path",
      program("/snap/bin/gke-gcloud-auth-plugin.exe"),
      { cloud: "gke", reference: {} },
      "https://34.1.2.3",
    ],
    ["GKE by auth-provider", provider("gcp"), { cloud: "gke", reference: {} }, "https://10.0.0.2"],
    [
      "AKS by a person's kubelogin, whose client-id is not the identity to be",
      kubelogin(
        "--login",
        "devicecode",
        "--server-id",
        AKS_SERVER_ID,
        "--client-id",
        IDENTITY,
        "--tenant-id",
        IDENTITY,
      ),
      { cloud: "aks", reference: {} },
      AKS,
    ],
    [
      "AKS by a managed identity's kubelogin",
      program("/usr/bin/kubelogin", "get-token", "-l", "msi", "--server-id", AKS_SERVER_ID, "--client-id", IDENTITY),
      { cloud: "aks", reference: { clientId: IDENTITY } },
      AKS,
    ],
    [
      "AKS by workload identity's kubelogin",
      kubelogin("--login=workloadidentity", `--server-id=${AKS_SERVER_ID}`, `--client-id=${IDENTITY}`),
      { cloud: "aks", reference: { clientId: IDENTITY } },
      AKS,
    ],
    [
      "AKS by auth-provider",
      provider("azure", { "apiserver-id": AKS_SERVER_ID, "client-id": IDENTITY }),
      { cloud: "aks", reference: {} },
      AKS,
    ],
  ];
  for (const [name, user, expected, server] of cases) {
    test(name, () => assert.deepEqual(vetted(user, {}, server), expected));
  }

  const loopback = ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"];
  for (const server of loopback) test(`${server} as it is`, () => assert.equal(vetted({}, {}, server), undefined));

  test("a server without verification on loopback, and one through a proxy", () => {
    vetted({}, { "insecure-skip-tls-verify": true }, "https://127.0.0.1:6443");
    vetted({}, { "proxy-url": "http://proxy:3128" });
  });

  test("what its context chooses: what other users would run or read does not matter", () => {
    const config = JSON.parse(kubeconfig(SERVER));
    config.users.unshift(
      { name: "other", user: program("sh") },
      { name: "third", user: { tokenFile: "/etc/hostname" } },
    );
    readKubeconfig(JSON.stringify(config), { vet: (chosen) => void vetKubeconfig(chosen) });
  });
});
