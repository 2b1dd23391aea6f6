import { LifeboatError, type Meaning, messageOf, NETWORK_CODES } from "../../core/index.ts";

const CREDENTIALS: Meaning = {
  kind: "denied",
  hint: "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, the profile, or the function's role",
};
const REGION: Meaning = { kind: "invalid", hint: "name the bucket's own region in the location: ?region=R" };
const NETWORK: Meaning = { kind: "unreachable" };
const LATER: Meaning = { kind: "unreachable", hint: "try again later" };
const BUSY: Meaning = { kind: "busy", hint: "try again later" };
const KEY: Meaning = { kind: "denied", hint: "the policy of the KMS key must allow it, and the key be enabled" };

/** By the code that AWS answers, the SDK's name of an error, or Node's code of a network error. */
const BY_CODE: Record<string, Meaning> = {
  ...NETWORK_CODES,
  NoSuchBucket: { kind: "missing", hint: "create the bucket, or correct the location" },
  NoSuchUpload: { kind: "conflict", hint: "something else ended the multipart upload, perhaps a lifecycle rule" },
  PreconditionFailed: { kind: "conflict" },
  ConditionalRequestConflict: { kind: "unreachable", hint: "another put of the same object was under way: try again" },
  AccessDenied: {
    kind: "denied",
    hint: "the policy must allow it; without s3:ListBucket, S3 says this of a missing object too",
  },
  InvalidAccessKeyId: CREDENTIALS,
  AccessDeniedException: { kind: "denied", hint: "the policies of the role or user must allow it" },
  ResourceNotFoundException: { kind: "missing" },
  StateMachineDoesNotExist: {
    kind: "missing",
    hint: "deploy it: infra/modules/aws makes it, and so does serverless.yml",
  },
  DecryptionFailure: KEY,
  KMSAccessDeniedException: KEY,
  KMSDisabledException: KEY,
  "InvalidVolume.NotFound": { kind: "missing" },
  "InvalidSnapshot.NotFound": { kind: "missing" },
  "InvalidSnapshot.InUse": { kind: "conflict", hint: "an image is made of it: deregister that first" },
  VolumeInUse: { kind: "conflict", hint: "detach it first" },
  UnauthorizedOperation: { kind: "denied", hint: "the policies of the role or user must allow it" },
  AuthFailure: CREDENTIALS,
  RequestLimitExceeded: BUSY,
  SnapshotCreationPerVolumeRateExceeded: BUSY,
  ConcurrentSnapshotLimitExceeded: BUSY,
  PendingSnapshotLimitExceeded: BUSY,
  ExecutionLimitExceeded: LATER,
  ThrottlingException: LATER,
  Throttling: LATER,
  ResourceConflictException: LATER,
  // versitygw's word for it, which comes with a 404.
  XAdminUserNotFound: CREDENTIALS,
  InvalidClientTokenId: CREDENTIALS,
  UnrecognizedClientException: CREDENTIALS,
  SignatureDoesNotMatch: CREDENTIALS,
  InvalidSignatureException: CREDENTIALS,
  IncompleteSignature: CREDENTIALS,
  MissingAuthenticationToken: CREDENTIALS,
  MissingAuthenticationTokenException: CREDENTIALS,
  ExpiredToken: CREDENTIALS,
  ExpiredTokenException: CREDENTIALS,
  InvalidToken: CREDENTIALS,
  CredentialsProviderError: CREDENTIALS,
  TokenProviderError: CREDENTIALS,
  RequestTimeTooSkewed: { kind: "denied", hint: "set this machine's clock" },
  PermanentRedirect: REGION,
  AuthorizationHeaderMalformed: REGION,
  IllegalLocationConstraintException: REGION,
  RequestTimeout: { kind: "timeout" },
};

/** By the HTTP status, where the code says nothing. */
const BY_STATUS: Record<number, Meaning> = {
  301: REGION,
  401: CREDENTIALS,
  403: { kind: "denied" },
  404: { kind: "missing" },
  412: { kind: "conflict" },
  429: NETWORK,
};

/**
 * What an error thrown by the AWS SDK means: `can't <wanted>: …`. The error itself is not passed on as the cause,
 * since AWS puts a session token that has expired among its fields.
 */
export function awsError(error: unknown, wanted: string): LifeboatError {
  const { name = "", code = "", status } = described(error);
  // The SDK also calls a connection that was reset a TimeoutError; Node's code tells them apart.
  const { kind, hint } = BY_CODE[code] ?? (code ? NETWORK : undefined) ?? BY_CODE[name] ?? byStatus(status);
  // What JSON.parse says of a spoilt answer quotes it, and it may hold a secret.
  const message = error instanceof SyntaxError ? "the answer can't be read" : readable(messageOf(error));
  const said = [code || name, message === name ? "" : message].filter(Boolean).join(": ");
  return new LifeboatError(kind, `can't ${wanted}: ${said}${status ? ` (HTTP ${status})` : ""}`, { hint });
}

/** The HTTP status of an error thrown by the AWS SDK, if an answer came at all. */
export function awsStatus(error: unknown): number | undefined {
  return described(error).status;
}

/** What EC2 says to whom it refuses something ends in a kilobyte that nobody can read. */
const readable = (message: string) => message.replace(/\s*Encoded authorization failure message:.*/, "");

function byStatus(status = 0): Meaning {
  return BY_STATUS[status] ?? { kind: status >= 400 && status < 500 ? "invalid" : "unreachable" };
}

function described(error: unknown): { name?: string; code?: string; status?: number } {
  if (!(error instanceof Error)) return {};
  const { $metadata, code } = error as { $metadata?: { httpStatusCode?: number }; code?: unknown };
  return {
    name: error.name,
    code: typeof code === "string" ? code : undefined,
    status: $metadata?.httpStatusCode,
  };
}
