/** The API's reasons of failure with their HTTP status codes. */
const CODES = {
  BadRequest: 400,
  Forbidden: 403,
  NotFound: 404,
  MethodNotAllowed: 405,
  NotAcceptable: 406,
  AlreadyExists: 409,
  Conflict: 409,
  RequestEntityTooLarge: 413,
  UnsupportedMediaType: 415,
  Invalid: 422,
  InternalError: 500,
  Timeout: 504,
} as const;

/** What a `Status` document tells about the object that a request was about. */
export interface StatusDetails {
  name?: string;
  group?: string;
  kind?: string;
  uid?: string;
  causes?: { reason?: string; message: string; field?: string }[];
}

/** A request refused: thrown anywhere below a route, answered as the `Status` document that Kubernetes would send. */
export class StatusError extends Error {
  readonly reason: keyof typeof CODES;
  readonly details: StatusDetails | undefined;

  constructor(reason: keyof typeof CODES, message: string, details?: StatusDetails) {
    super(message);
    this.name = "StatusError";
    this.reason = reason;
    this.details = details;
  }
}

/** Any thrown value as a `Status` document; what is not a StatusError is an InternalError. */
export function failure(error: unknown): { code: number; body: object } {
  const known =
    error instanceof StatusError
      ? error
      : new StatusError("InternalError", `Internal error occurred: ${error instanceof Error ? error.message : error}`);
  const { reason, message, details } = known;
  const head = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure" };
  return { code: CODES[reason], body: { ...head, message, reason, details, code: CODES[reason] } };
}

interface Named {
  group: string;
  name: string;
  kind: string;
}

const qualified = (name: string, group: string) => (group === "" ? name : `${name}.${group}`);

/** 404 for an object: `deployments.apps "web" not found`. */
export function notFound(resource: Named, name: string): StatusError {
  const message = `${qualified(resource.name, resource.group)} "${name}" not found`;
  return new StatusError("NotFound", message, { name, group: resource.group || undefined, kind: resource.name });
}

/** 409 for a create: `pods "web" already exists`. */
export function alreadyExists(resource: Named, name: string): StatusError {
  const message = `${qualified(resource.name, resource.group)} "${name}" already exists`;
  return new StatusError("AlreadyExists", message, { name, group: resource.group || undefined, kind: resource.name });
}

/** 409 for a write that names a state the object is no longer in. */
export function conflict(resource: Named, name: string, why: string): StatusError {
  const message = `Operation cannot be fulfilled on ${qualified(resource.name, resource.group)} "${name}": ${why}`;
  return new StatusError("Conflict", message, { name, group: resource.group || undefined, kind: resource.name });
}

/** 403 for an object: `namespaces "default" is forbidden: this namespace may not be deleted`. */
export function forbidden(resource: Named, name: string, why: string, cause?: string): StatusError {
  const message = `${qualified(resource.name, resource.group)} "${name}" is forbidden: ${why}`;
  const details = { name, group: resource.group || undefined, kind: resource.name };
  return new StatusError(
    "Forbidden",
    message,
    cause ? { ...details, causes: [{ reason: cause, message: why }] } : details,
  );
}

/** 422 for one field: `Service "web" is invalid: spec.clusterIPs: Invalid value: …`. */
export function invalid(resource: Named, name: string, field: string, why: string): StatusError {
  const message = `${qualified(resource.kind, resource.group)} "${name}" is invalid: ${field}: ${why}`;
  const details = { name, group: resource.group || undefined, kind: resource.kind };
  return new StatusError("Invalid", message, {
    ...details,
    causes: [{ reason: "FieldValueInvalid", message: why, field }],
  });
}
