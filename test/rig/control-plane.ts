import { generateKeyPairSync } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Api } from "./api.ts";
import type { Certificate } from "./certs.ts";

/** Flags of an etcd that keeps its data in `dir`. */
export function etcdFlags(dir: string, clientUrl: string, peerUrl: string): string[] {
  return [
    `--data-dir=${join(dir, "etcd")}`,
    `--listen-client-urls=${clientUrl}`,
    `--advertise-client-urls=${clientUrl}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=default=${peerUrl}`,
    "--unsafe-no-fsync=true",
    "--quota-backend-bytes=4294967296",
    "--log-level=warn",
  ];
}

/** Flags of an API server with RBAC and client certificates; what they don't name stays at its default. */
export function apiServerFlags(from: {
  etcdUrl: string;
  port: number;
  authority: Certificate;
  serving: Certificate;
  serviceAccountKey: string;
}): string[] {
  return [
    `--etcd-servers=${from.etcdUrl}`,
    `--secure-port=${from.port}`,
    "--bind-address=127.0.0.1",
    "--advertise-address=127.0.0.1",
    `--tls-cert-file=${from.serving.certPath}`,
    `--tls-private-key-file=${from.serving.keyPath}`,
    `--client-ca-file=${from.authority.certPath}`,
    `--service-account-key-file=${from.serviceAccountKey}`,
    `--service-account-signing-key-file=${from.serviceAccountKey}`,
    "--service-account-issuer=https://kubernetes.default.svc",
    "--service-cluster-ip-range=10.0.0.0/16",
    "--authorization-mode=RBAC",
    "--allow-privileged=true",
  ];
}

/** Flags for an API server that accepts these bearer tokens, each for the user named, and one for an administrator. */
export async function tokenFlags(
  dir: string,
  tokens: Readonly<Record<string, string>>,
  adminToken?: string,
): Promise<string[]> {
  const file = join(dir, "tokens.csv");
  const users = Object.entries(tokens).map(([token, user]) => `${token},${user},${user}\n`);
  const admin = adminToken ? [`${adminToken},admin,admin,system:masters\n`] : [];
  await writeFile(file, [...users, ...admin].join(""));
  return [`--token-auth-file=${file}`];
}

/** A new key that signs the tokens of ServiceAccounts; gives its path. */
export async function makeServiceAccountKey(dir: string): Promise<string> {
  const path = join(dir, "service-account.key");
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  await writeFile(path, privateKey.export({ type: "sec1", format: "pem" }));
  return path;
}

/** The API server's flag that makes exact lists of forgotten revisions fail at once, see `compact`. */
export const WITHOUT_SNAPSHOTS = "--feature-gates=ListFromCacheSnapshot=false";

/**
 * Compacts etcd to its current revision. The API server also answers exact lists from snapshots in its cache; it
 * drops them within 15 s of seeing the compaction's revision in `compact_rev_key`, where its own compactor notes it
 * too. `WITHOUT_SNAPSHOTS` turns them off.
 */
export async function compact(etcdUrl: string, api: Api): Promise<void> {
  const call = async (path: string, body: unknown) => {
    const answer = await fetch(`${etcdUrl}/v3/kv/${path}`, { method: "POST", body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`rig: etcd ${path}: ${answer.status} ${await answer.text()}`);
  };
  const list = await api.request<{ metadata: { resourceVersion: string } }>("GET", "/api/v1/namespaces?limit=1");
  const revision = list.metadata.resourceVersion;
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  await call("put", { key: base64("compact_rev_key"), value: base64(revision) });
  await call("compaction", { revision });
}
