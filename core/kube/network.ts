import { type ErrorKind, LifeboatError } from "../errors.ts";

/**
 * How an attempt ended without a complete answer: "refused", no connection came about, so nothing was sent; "cut", it
 * broke on the way, so a write may have been done; "timeout", it took too long.
 */
export type Failure = "refused" | "cut" | "timeout";

export interface NetworkFailure {
  /** undefined where trying again can't help. */
  failure: Failure | undefined;
  /** What to throw where there is no further attempt. */
  error: LifeboatError;
}

/** The `code` of the error that `send` rejects with when an attempt's time is over. */
export const ATTEMPT_TIMEOUT = "LIFEBOAT_ATTEMPT_TIMEOUT";

interface NetworkRule {
  codes: string[];
  failure: Failure | undefined;
  kind: ErrorKind;
  /** Follows "the API server <url>". */
  what: string;
  hint: string;
}

const UNTRUSTED =
  "put the authority's certificate into the kubeconfig's certificate-authority-data (base64 of its PEM)";

/** What Node's, OpenSSL's and undici's error codes mean for the user, first match wins. */
const NETWORK_RULES: NetworkRule[] = [
  {
    codes: ["ECONNREFUSED"],
    failure: "refused",
    kind: "unreachable",
    what: "refuses connections",
    hint: "nothing listens there: is the cluster running, and is `server` in the kubeconfig right?",
  },
  {
    codes: ["ENOTFOUND", "EAI_AGAIN", "EAI_FAIL", "EAI_NODATA", "EAI_NONAME"],
    failure: "refused",
    kind: "unreachable",
    what: "has a host name that can't be resolved",
    hint: "check `server` in the kubeconfig, DNS, and whether a private cluster's network (VPN, VPC) can be reached from here",
  },
  {
    codes: ["UND_ERR_CONNECT_TIMEOUT", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "EADDRNOTAVAIL"],
    failure: "refused",
    kind: "unreachable",
    what: "can't be reached over the network",
    hint: "a private endpoint or a firewall? Run where the cluster's network can be reached, or set proxy-url in the kubeconfig",
  },
  {
    codes: [
      "SELF_SIGNED_CERT_IN_CHAIN",
      "DEPTH_ZERO_SELF_SIGNED_CERT",
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      "UNABLE_TO_GET_ISSUER_CERT",
      "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
      "CERT_SIGNATURE_FAILURE",
      "CERT_UNTRUSTED",
      "INVALID_CA",
    ],
    failure: undefined,
    kind: "denied",
    what: "shows a certificate of an authority that is not trusted",
    hint: UNTRUSTED,
  },
  {
    codes: ["ERR_TLS_CERT_ALTNAME_INVALID"],
    failure: undefined,
    kind: "denied",
    what: "shows a certificate for another name",
    hint: "use the name the certificate was made for as `server`, or give it as tls-server-name in the kubeconfig",
  },
  {
    codes: ["CERT_HAS_EXPIRED", "CERT_NOT_YET_VALID"],
    failure: undefined,
    kind: "denied",
    what: "shows a certificate that is not valid now",
    hint: "renew the cluster's certificate; if it is fresh, check the clock here",
  },
  {
    codes: ["ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_PACKET_LENGTH_TOO_LONG", "EPROTO"],
    failure: undefined,
    kind: "unreachable",
    what: "does not speak TLS",
    hint: "check scheme and port of `server` in the kubeconfig",
  },
  {
    codes: ["UND_ERR_INVALID_ARG"],
    failure: undefined,
    kind: "invalid",
    what: "was not asked: a header of the request can't be sent",
    hint: "check the kubeconfig's token (or what its credential program gives) and `as`: is there a line feed in it?",
  },
  {
    codes: [
      "ECONNRESET",
      "EPIPE",
      "ECONNABORTED",
      "UND_ERR_SOCKET",
      "UND_ERR_REQ_CONTENT_LENGTH_MISMATCH",
      "UND_ERR_RES_CONTENT_LENGTH_MISMATCH",
    ],
    failure: "cut",
    kind: "unreachable",
    what: "cut the connection",
    hint: "a restart of the server or something in between; try again",
  },
  {
    codes: [ATTEMPT_TIMEOUT],
    failure: "timeout",
    kind: "timeout",
    what: "did not answer in time",
    hint: "is it overloaded, or is something in between dropping packets?",
  },
];

/** Errors of TLS alerts and of OpenSSL's own checks come in many codes: those about our certificate and key. */
const OWN_CERTIFICATE = /^ERR_SSL_.*(ALERT_.*CERTIFICATE|ALERT_.*CA|ALERT_ACCESS_DENIED)|^ERR_OSSL_/;

/**
 * The error to show for what Node or undici threw at a request to `server`, and what kind of failure it was. Neither
 * the message of the original nor a proxy's URL, which may hold a password, is passed on.
 */
export function networkFailure(
  thrown: unknown,
  attempt: { server: string; proxied: boolean; timeoutMs: number },
): NetworkFailure {
  const code = codeOf(thrown);
  const rule = NETWORK_RULES.find(({ codes }) => codes.includes(code)) ?? otherRule(code, attempt.proxied);
  const where = `the API server ${attempt.server}${attempt.proxied ? " (through the kubeconfig's proxy-url)" : ""}`;
  const detail = code === ATTEMPT_TIMEOUT ? `${attempt.timeoutMs / 1000} s` : code;
  const error = new LifeboatError(rule.kind, `${where} ${rule.what}${detail && ` (${detail})`}`, { hint: rule.hint });
  return { failure: rule.failure, error };
}

function otherRule(code: string, proxied: boolean): Omit<NetworkRule, "codes"> {
  if (OWN_CERTIFICATE.test(code)) {
    const what = "or TLS itself refuses the client certificate";
    return {
      failure: undefined,
      kind: "denied",
      what,
      hint: "client-certificate-data and client-key-data must fit together and be current",
    };
  }
  const hint = proxied
    ? "does the proxy accept us (user, password) and let us through to the server?"
    : "check `server` in the kubeconfig";
  return { failure: "cut", kind: "unreachable", what: "can't be talked to", hint };
}

/** The innermost code: undici and happy eyeballs wrap what happened. */
function codeOf(thrown: unknown): string {
  for (let error = thrown; error instanceof Error; error = error.cause) {
    const { code, cause } = error as Error & { code?: unknown };
    if (typeof code === "string" && !(cause instanceof Error && "code" in cause)) return code;
    if (error instanceof AggregateError) return codeOf(error.errors[0]);
  }
  return "";
}
