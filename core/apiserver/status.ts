/** The API's reasons of failure with their HTTP status codes. */
const CODES = {
  BadRequest: 400,
  Unauthorized: 401,
  Forbidden: 403,
  NotFound: 404,
  MethodNotAllowed: 405,
  NotAcceptable: 406,
  AlreadyExists: 409,
  Conflict: 409,
  Expired: 410,
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

/** A refusal about one object: `deployments.apps "web" <text>`. */
function about(
  reason: keyof typeof CODES,
  { group, name: kind }: Named,
  name: string,
  text: string,
  more: object = {},
) {
  const message = `${group === "" ? kind : `${kind}.${group}`} "${name}" ${text}`;
  const details = { name: name || undefined, group: group || undefined, kind, ...more };
  return new StatusError(reason, message, details);
}

/** 404 for an object: `deployments.apps "web" not found`. */
export function notFound(resource: Named, name: string): StatusError {
  return about("NotFound", resource, name, "not found");
}

/** 409 for a create: `pods "web" already exists`. */
export function alreadyExists(resource: Named, name: string): StatusError {
  return about("AlreadyExists", resource, name, "already exists");
}

/** 409 for a write that names a state the object is no longer in. */
export function conflict(resource: Named, name: string, why: string): StatusError {
  const { message, details } = about("Conflict", resource, name, "");
  return new StatusError("Conflict", `Operation cannot be fulfilled on ${message.trim()}: ${why}`, details);
}

/** 403 for an object: `namespaces "default" is forbidden: this namespace may not be deleted`. */
export function forbidden(resource: Named, name: string, why: string, cause?: string): StatusError {
  const causes = cause ? [{ reason: cause, message: why }] : undefined;
  return about("Forbidden", resource, name, `is forbidden: ${why}`, { causes });
}

/** 422 for one field: `Service "web" is invalid: spec.clusterIPs: Invalid value: …`. Here `details.kind` is the kind. */
export function invalid(resource: Named, name: string, field: string, why: string): StatusError {
  const causes = [{ reason: `FieldValue${why.split(/\W/, 1)[0]}`, message: why, field }];
  return about("Invalid", { ...resource, name: resource.kind }, name, `is invalid: ${field}: ${why}`, { causes });
}
