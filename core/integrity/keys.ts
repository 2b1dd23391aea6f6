import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { LifeboatError } from "../errors.ts";
import type { Signer } from "../ports.ts";
import type { CachedSecrets } from "../secrets.ts";

/** What of the configuration concerns signatures: references of secrets. */
export interface SigningKeys {
  /** The private key that signs. */
  key?: string;
  /** The public keys that are trusted: where there are some, only what one of them has signed is restored. */
  publicKeys?: string[];
}

const LABEL = /-----BEGIN ([A-Z0-9 ]+)-----/g;

const HINTS = {
  "PRIVATE KEY": "make one with: openssl genpkey -algorithm ed25519 -out signing.pem",
  "PUBLIC KEY": "take it from the private key with: openssl pkey -in signing.pem -pubout",
};

/** What else stands in PEM files, and why it isn't taken. */
const NOT_TAKEN: Record<string, string> = {
  CERTIFICATE: "a certificate, which expires, and backups don't",
  "ENCRYPTED PRIVATE KEY": "a private key with a passphrase",
  "OPENSSH PRIVATE KEY": "a private key of OpenSSH",
  "PRIVATE KEY": "a private key",
  "PUBLIC KEY": "a public key",
};

/** The Ed25519 key, PKCS#8 in PEM, of a secret. Throws `invalid` for another one, and what the secret's store throws. */
export async function openSigner(secrets: CachedSecrets, reference: string, signal?: AbortSignal): Promise<Signer> {
  const what = `the signing key ${reference}`;
  const text = await secrets.read(reference, { signal });
  const key = readKey(what, text, "PRIVATE KEY", createPrivateKey);
  return {
    publicKey: publicPart(createPublicKey(key)),
    sign: async (message) => sign(null, message, key),
  };
}

/** What signs by the configuration; undefined where nothing is to be signed. */
export function configuredSigner({ key }: SigningKeys, secrets: CachedSecrets): (() => Promise<Signer>) | undefined {
  return key === undefined ? undefined : () => openSigner(secrets, key);
}

/** The Ed25519 public keys, SPKI in PEM, of secrets, as a signature tells them. Throws as `openSigner`. */
export function readTrustedKeys(
  secrets: CachedSecrets,
  references: string[] = [],
  signal?: AbortSignal,
): Promise<string[]> {
  return Promise.all(
    references.map(async (reference) => {
      const text = await secrets.read(reference, { signal });
      return publicPart(readKey(`the trusted key ${reference}`, text, "PUBLIC KEY", createPublicKey));
    }),
  );
}

/**
 * By one of which what is made here has to be signed: the one that signs, and those that are trusted; none where nothing signs, as
 * where keys are trusted for restores alone. Throws as `openSigner`.
 */
export async function expectedKeys(
  { key, publicKeys }: SigningKeys,
  secrets: CachedSecrets,
  signal?: AbortSignal,
): Promise<string[]> {
  if (key === undefined) return [];
  const own = (await openSigner(secrets, key, signal)).publicKey;
  return [own, ...(await readTrustedKeys(secrets, publicKeys, signal))];
}

function readKey(what: string, text: string, wanted: keyof typeof HINTS, parse: (pem: string) => KeyObject): KeyObject {
  const refuse = (reason: string) => new LifeboatError("invalid", `${what} ${reason}`, { hint: HINTS[wanted] });
  const [label, another] = [...text.matchAll(LABEL)].map(([, label = ""]) => label);
  if (label === undefined) throw refuse("holds no key in PEM format");
  if (another !== undefined) throw refuse("holds more than one key");
  if (label !== wanted)
    throw refuse(`is ${NOT_TAKEN[label] ?? "something else"}, not an Ed25519 ${wanted.toLowerCase()}`);
  let key: KeyObject;
  try {
    key = parse(text);
  } catch {
    // OpenSSL's reasons say no more, and might quote.
    throw refuse("can't be read: it is damaged");
  }
  if (key.asymmetricKeyType !== "ed25519") throw refuse(`is of type ${key.asymmetricKeyType}, not ed25519`);
  return key;
}

function publicPart(key: KeyObject): string {
  return key.export({ format: "jwk" }).x!;
}

const SIGNATURE = /^ed25519:([\w-]{43}):([\w-]{86})$/;

/** A signature of a record's digest, and whose it is, as text. */
export async function signatureOf(digest: string, signer: Signer): Promise<string> {
  return `ed25519:${signer.publicKey}:${(await signer.sign(signed(digest))).toString("base64url")}`;
}

/** The public key of a signature as `signatureOf` gives it; undefined where it isn't one of that digest. */
export function signerOf(signature: string, digest: string): string | undefined {
  const [, x = "", value = ""] = SIGNATURE.exec(signature) ?? [];
  const bytes = Buffer.from(value, "base64url");
  const isCanonical = [x, value].every((text) => Buffer.from(text, "base64url").toString("base64url") === text);
  if (!x || !isCanonical) return undefined;
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  return verify(null, signed(digest), key, bytes) ? x : undefined;
}

/** What is signed: no key that signs other things too can be made to sign this by chance. */
function signed(digest: string): Buffer {
  return Buffer.from(`lifeboat-backup:${digest}`);
}
