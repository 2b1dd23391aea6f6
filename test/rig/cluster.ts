import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Api, connect } from "./api.ts";
import { type AuditEntry, auditFlags, readAudit } from "./audit.ts";
import { type BinaryName, binary, kwokStages } from "./binaries.ts";
import { makeAuthority, makeCertificate } from "./certs.ts";
import { apiServerFlags, compact, etcdFlags, makeServiceAccountKey, tokenFlags } from "./control-plane.ts";
import { type KubeUser, kubeconfig } from "./kubeconfig.ts";
import { addNodes, kubeletFlags } from "./nodes.ts";
import { freePorts, makeDir, removeDir, type Server, startServer, until } from "./process.ts";

const run = promisify(execFile);

/** What `startCluster` runs without and with controllers, for `requireOrSkip`. */
export const CONTROL_PLANE: readonly BinaryName[] = ["etcd", "kube-apiserver", "kubectl"];
export const WITH_CONTROLLERS: readonly BinaryName[] = [
  ...CONTROL_PLANE,
  "kube-controller-manager",
  "kube-scheduler",
  "kwok",
];

export interface ClusterOptions {
  /** Also run kube-controller-manager, kube-scheduler and kwok nodes; default false. */
  controllers?: boolean;
  /** How many nodes kwok plays, default 3; with none it isn't started, and other nodes are left to others. Only with controllers. */
  nodes?: number;
  /** kwok runs what is executed in its Pods (pods/exec), as a command on this machine in the cluster's `dir`. Only with controllers. */
  exec?: boolean;
  /** Write an audit log, for `audit()`. */
  audit?: boolean;
  /** Bearer tokens that the API server accepts, each with its user's name. */
  tokens?: Readonly<Record<string, string>>;
  /** The administrator's kubeconfig bears a token, as those of managed clusters do, in place of a certificate. */
  adminToken?: boolean;
  /** Further flags for the API server. */
  apiServerFlags?: readonly string[];
  /** Further flags for the controller-manager. */
  controllerFlags?: readonly string[];
}

/** A real Kubernetes control plane on 127.0.0.1. */
export interface Cluster extends AsyncDisposable {
  url: string;
  /** The administrator's kubeconfig, as YAML and as a file. Its user is `admin`. */
  kubeconfig: string;
  kubeconfigPath: string;
  /** The same rights as PEM: the serving certificate's authority, a client certificate and its key. Its user is `rig`. */
  credentials: { ca: string; cert: string; key: string };
  /** The administrator's plain connection; its user is `rig`. */
  api: Api;
  /** Runs kubectl as `admin`; gives its stdout, throws with its stderr. */
  kubectl(args: readonly string[], options?: { input?: string }): Promise<string>;
  /** A kubeconfig of another user, by client certificate. It may do what RBAC grants to its name and groups. */
  user(name: string, groups?: readonly string[]): Promise<string>;
  /** A kubeconfig of a bearer token, good or bad. */
  tokenUser(token: string): string;
  /** The requests answered so far, in the log's order. Only with `audit`. */
  audit(): Promise<AuditEntry[]>;
  /**
   * Makes etcd forget all revisions before the current one: exact lists of older ones then answer 410, within 15 s or,
   * where `apiServerFlags` has `WITHOUT_SNAPSHOTS`, at once.
   */
  compact(): Promise<void>;
  /** The cluster's folder: certificates, data and the servers' logs. */
  dir: string;
  /** The process ids of its servers by name. */
  pids: Readonly<Record<string, number>>;
  /** Ends its servers and removes its folder. */
  stop(): Promise<void>;
}

/** Starts a cluster and waits until it is ready: default namespace and, with controllers, its ServiceAccount and nodes. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const { controllers = false, nodes = 3 } = options;
  const dir = makeDir("cluster");
  const servers = new Map<string, Server>();
  const launch = async (name: BinaryName, args: readonly string[]) =>
    servers.set(name, startServer(dir, name, await binary(name), args));
  let api: Api | undefined;
  const stop = async () => {
    await api?.close();
    await Promise.all([...servers.values()].map((server) => server.stop()));
    await removeDir(dir);
  };
  try {
    const [etcdPort = 0, peerPort = 0, apiPort = 0, kubeletPort = 0] = await freePorts(4);
    const authority = await makeAuthority(dir);
    const [serving, admin, rig] = await Promise.all([
      makeCertificate(dir, "server", { commonName: "kube-apiserver", server: true }),
      makeCertificate(dir, "admin", { commonName: "admin", organizations: ["system:masters"] }),
      makeCertificate(dir, "rig", { commonName: "rig", organizations: ["system:masters"] }),
    ]);
    const serviceAccountKey = await makeServiceAccountKey(dir);
    const etcdUrl = `http://127.0.0.1:${etcdPort}`;
    const url = `https://127.0.0.1:${apiPort}`;
    const config = (user: KubeUser) => kubeconfig(url, authority.cert, user);

    const adminToken = options.adminToken ? randomBytes(24).toString("hex") : undefined;
    await launch("etcd", etcdFlags(dir, etcdUrl, `http://127.0.0.1:${peerPort}`));
    await launch("kube-apiserver", [
      ...apiServerFlags({ etcdUrl, port: apiPort, authority, serving, serviceAccountKey }),
      // Without a controller-manager nobody makes the ServiceAccount that this plugin asks every Pod to have.
      ...(controllers ? [] : ["--disable-admission-plugins=ServiceAccount"]),
      // Nodes have host names as well, which nobody resolves.
      ...(options.exec || nodes === 0 ? ["--kubelet-preferred-address-types=InternalIP"] : []),
      ...(options.audit ? await auditFlags(dir) : []),
      ...(options.tokens || adminToken ? await tokenFlags(dir, options.tokens ?? {}, adminToken) : []),
      ...(options.apiServerFlags ?? []),
    ]);
    const credentials = { ca: authority.cert, cert: rig.cert, key: rig.key };
    const ready: Api = connect(url, credentials);
    api = ready;
    const waiting = { servers: [...servers.values()] };
    await until("the API server", () => ready.request<string>("GET", "/readyz"), waiting);
    await until("the default namespace", () => ready.request("GET", "/api/v1/namespaces/default"), waiting);

    if (controllers) {
      const component = async (name: string) => {
        const path = join(dir, `${name}.kubeconfig`);
        const subject = { commonName: `system:${name}`, organizations: ["system:masters"] };
        await writeFile(path, config(await makeCertificate(dir, name, subject)));
        return path;
      };
      await launch("kube-controller-manager", [
        `--kubeconfig=${await component("kube-controller-manager")}`,
        `--service-account-private-key-file=${serviceAccountKey}`,
        `--root-ca-file=${authority.certPath}`,
        "--leader-elect=false",
        "--secure-port=0",
        ...(options.controllerFlags ?? []),
      ]);
      await launch("kube-scheduler", [
        `--kubeconfig=${await component("kube-scheduler")}`,
        "--leader-elect=false",
        "--secure-port=0",
      ]);
      if (nodes > 0) {
        await launch("kwok", [
          `--kubeconfig=${await component("kwok")}`,
          `--config=${await kwokStages()}`,
          "--manage-all-nodes",
          ...(options.exec ? await kubeletFlags(dir, kubeletPort) : []),
        ]);
      }
      await addNodes(ready, nodes, [...servers.values()]);
    }

    const kubeconfigPath = join(dir, "admin.kubeconfig");
    const adminConfig = config(adminToken ? { token: adminToken } : admin);
    await writeFile(kubeconfigPath, adminConfig);
    return {
      url,
      kubeconfig: adminConfig,
      kubeconfigPath,
      credentials,
      api: ready,
      kubectl: async (args, { input } = {}) => {
        const env = { PATH: process.env.PATH, HOME: dir, KUBECONFIG: kubeconfigPath };
        const command = run(await binary("kubectl"), [...args], { env, maxBuffer: 512 * 1024 * 1024 });
        // One that ends without having read it says itself how it ended.
        command.child.stdin?.on("error", () => {}).end(input ?? "");
        return (await command).stdout;
      },
      user: async (name, groups = []) =>
        config(
          await makeCertificate(dir, `user-${name.replaceAll(/\W/g, "-")}`, {
            commonName: name,
            organizations: groups,
          }),
        ),
      tokenUser: (token) => config({ token }),
      audit: () => readAudit(dir),
      compact: () => compact(etcdUrl, ready),
      dir,
      pids: Object.fromEntries([...servers].map(([name, server]) => [name, server.pid])),
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
