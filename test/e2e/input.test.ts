import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type Cluster, CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { requireOrSkip } from "../rig/require.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { type BackupDocument, document, lifeboat } from "./lifeboat.ts";

describe("what a real server refuses", { skip: requireOrSkip("rig", [...CONTROL_PLANE, "versitygw"]) }, () => {
  let cluster: Cluster;
  let s3: S3;
  let dir: string;

  before(async () => {
    [cluster, s3] = await Promise.all([startCluster(), startS3()]);
    dir = await mkdtemp(join(tmpdir(), "lifeboat-input-"));
  });
  after(async () => {
    await Promise.all([cluster?.stop(), s3?.stop()]);
    if (dir) await rm(dir, { recursive: true });
  });

  const kubeconfig = async (name: string, text: string) => {
    const path = join(dir, `${name}.kubeconfig`);
    await writeFile(path, text);
    return path;
  };
  const location = () => join(dir, "bucket");

  /** The run fails with one line of error and one of hint, and nothing lies in the location. */
  const refused = async (config: string, code: number, message: RegExp, place = `file://${location()}`) => {
    const flags = ["--kubeconfig", config, "--location", place];
    const { code: ended, stdout, stderr } = await lifeboat(["backup", "create", "x", ...flags], s3.env);
    assert.match(stderr, message);
    assert.match(stderr, /^error: .+\nhint: .+\n$/);
    assert.equal(stdout, "");
    assert.equal(ended, code);
    await assert.rejects(readdir(location()), { code: "ENOENT" });
    assert.doesNotMatch(stderr, /secret-token/);
  };

  it("a certificate that is not trusted", async () => {
    const stranger = cluster.kubeconfig.replace(/ *"?certificate-authority-data"?: .*\n/, "");
    assert.notEqual(stranger, cluster.kubeconfig);
    await refused(await kubeconfig("untrusted", stranger), 4, /certificate/);
  });

  it("a token that is not known", async () => {
    await refused(await kubeconfig("stranger", cluster.tokenUser("secret-token")), 4, /401|Unauthorized/);
  });

  it("a user who may not list namespaces", async () => {
    await refused(await kubeconfig("nobody", await cluster.user("nobody")), 4, /namespaces.*forbidden/);
  });

  it("a bucket that is not there", async () => {
    const place = s3.location("x").replace(s3.bucket, "no-such-bucket");
    await refused(cluster.kubeconfigPath, 5, /bucket/, place);
  });

  it("a bucket that does not let this credential in", async () => {
    const strangers = { ...s3.env, AWS_SECRET_ACCESS_KEY: "secret-token" };
    const flags = ["--kubeconfig", cluster.kubeconfigPath, "--location", s3.location("x")];
    const { code, stderr } = await lifeboat(["backup", "create", "x", ...flags], strangers);
    assert.match(stderr, /^error: .+\nhint: .+\n$/);
    assert.equal(code, 4);
    assert.doesNotMatch(stderr, /secret-token/);
  });

  it("some resources, and the rest is stored: a partial backup that names them", async () => {
    const rbac = "/apis/rbac.authorization.k8s.io/v1";
    const rules = [{ apiGroups: [""], resources: ["namespaces", "configmaps"], verbs: ["list"] }];
    const role = { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", metadata: { name: "half" }, rules };
    await cluster.api.request("POST", `${rbac}/clusterroles`, role);
    await cluster.api.request("POST", `${rbac}/clusterrolebindings`, {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: "half" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "half" },
      subjects: [{ kind: "User", name: "half", apiGroup: "rbac.authorization.k8s.io" }],
    });
    const config = await kubeconfig("half", await cluster.user("half"));
    const flags = ["--kubeconfig", config, "--location", `file://${join(dir, "partial")}`];
    const backup = await document<BackupDocument>(["backup", "create", "half", ...flags], {}, 3);
    assert.equal(backup.phase, "PartiallyFailed");
    const named = (backup.errors as { resource: string; message: string }[]).map(({ resource }) => resource);
    assert.ok(named.includes("secrets") && named.includes("deployments.apps") && !named.includes("configmaps"));
    assert.ok((backup.errors as { message: string }[]).every(({ message }) => message.includes("forbidden")));
    assert.ok(backup.items >= 5);
  });
});
