import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const EC_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/** A PEM certificate with its PEM key, and the files that hold them. */
export interface Certificate {
  cert: string;
  key: string;
  certPath: string;
  keyPath: string;
}

/** A certificate authority of its own in the folder `dir`. */
export async function makeAuthority(dir: string): Promise<Certificate> {
  const { certPath, keyPath } = paths(dir, "ca");
  await openssl("req", "-x509", ...EC_KEY, "-days", "30", "-subj", "/CN=rig-ca", "-keyout", keyPath, "-out", certPath);
  return read(dir, "ca");
}

/**
 * A certificate signed by the authority in `dir`: for a client, whose user name is `commonName` and whose groups are
 * `organizations`, or with `server` for a server on 127.0.0.1, known by further `names` as well.
 */
export async function makeCertificate(
  dir: string,
  name: string,
  subject: { commonName: string; organizations?: readonly string[]; server?: boolean; names?: readonly string[] },
): Promise<Certificate> {
  const { certPath, keyPath } = paths(dir, name);
  const authority = paths(dir, "ca");
  const fields = [...(subject.organizations ?? []).map((group) => `/O=${group}`), `/CN=${subject.commonName}`];
  const names = ["localhost", "kubernetes.default.svc", ...(subject.names ?? [])].map((name) => `DNS:${name}`);
  const usage = subject.server
    ? ["extendedKeyUsage=serverAuth", `subjectAltName=${["IP:127.0.0.1", ...names].join(",")}`]
    : ["extendedKeyUsage=clientAuth"];
  await openssl(
    ...["req", "-x509", ...EC_KEY, "-days", "30", "-subj", fields.join("")],
    ...["-CA", authority.certPath, "-CAkey", authority.keyPath, "-keyout", keyPath, "-out", certPath],
    ...["basicConstraints=CA:FALSE", ...usage].flatMap((extension) => ["-addext", extension]),
  );
  return read(dir, name);
}

function paths(dir: string, name: string): { certPath: string; keyPath: string } {
  return { certPath: join(dir, `${name}.crt`), keyPath: join(dir, `${name}.key`) };
}

async function read(dir: string, name: string): Promise<Certificate> {
  const { certPath, keyPath } = paths(dir, name);
  const [cert, key] = await Promise.all([readFile(certPath, "utf8"), readFile(keyPath, "utf8")]);
  return { cert, key, certPath, keyPath };
}

async function openssl(...args: string[]): Promise<void> {
  await run("openssl", args);
}
