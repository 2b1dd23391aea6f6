import type { ErrorKind } from "./errors.ts";

/** What an error means to the user: its kind, and what to do. */
export interface Meaning {
  kind: ErrorKind;
  hint?: string;
}

const TIMEOUT: Meaning = { kind: "timeout" };
const AUTHORITY: Meaning = { kind: "denied", hint: "for a CA of your own, name its file in NODE_EXTRA_CA_CERTS" };

/** What Node's and undici's codes of a failed connection mean, where that is more than `unreachable`. */
export const NETWORK_CODES: Readonly<Record<string, Meaning>> = {
  ETIMEDOUT: TIMEOUT,
  TimeoutError: TIMEOUT,
  UND_ERR_CONNECT_TIMEOUT: TIMEOUT,
  UND_ERR_HEADERS_TIMEOUT: TIMEOUT,
  UND_ERR_BODY_TIMEOUT: TIMEOUT,
  DEPTH_ZERO_SELF_SIGNED_CERT: AUTHORITY,
  SELF_SIGNED_CERT_IN_CHAIN: AUTHORITY,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: AUTHORITY,
  ERR_TLS_CERT_ALTNAME_INVALID: { kind: "denied", hint: "the endpoint's certificate is for another name" },
  CERT_HAS_EXPIRED: {
    kind: "denied",
    hint: "renew the endpoint's certificate; if it is fresh, set this machine's clock",
  },
};
