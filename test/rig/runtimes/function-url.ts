import { randomUUID } from "node:crypto";
import type { Invocation } from "./lambda.ts";

const HOST = "lifeboat.lambda-url.eu-west-1.on.aws";

/** Content types whose bodies a function URL hands over as they are; all others come as base64. */
const TEXT = /^(text\/|application\/(json|javascript|xml)\b)/;

/** A request to a function's URL, signed by an IAM user or role. */
export interface UrlRequest {
  method: string;
  path: string;
  query?: Record<string, string>;
  headers?: Record<string, string>;
  body?: string | Buffer;
  /** The ARN of who signed it. */
  caller?: string;
}

/** What the function's URL answered. */
export interface UrlAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** The event that Lambda makes of a request: payload format 2.0, lower-case headers, IAM authorizer. */
export function urlEvent(request: UrlRequest): object {
  const { method, path, query, caller = "arn:aws:iam::123456789012:user/alice" } = request;
  const headers = Object.fromEntries(
    Object.entries({ host: HOST, "user-agent": "test", ...request.headers }).map(([name, value]) => [
      name.toLowerCase(),
      value,
    ]),
  );
  const body = request.body === undefined ? undefined : Buffer.from(request.body);
  const isBase64Encoded = body !== undefined && !TEXT.test(headers["content-type"] ?? "");
  const now = new Date();
  return {
    version: "2.0",
    routeKey: "$default",
    rawPath: path,
    rawQueryString: new URLSearchParams(query).toString(),
    headers,
    ...(query ? { queryStringParameters: query } : {}),
    requestContext: {
      accountId: "123456789012",
      apiId: "lifeboat",
      authentication: null,
      authorizer: {
        iam: {
          accessKey: "AKIAIOSFODNN7EXAMPLE",
          accountId: "123456789012",
          callerId: "AIDAEXAMPLE",
          cognitoIdentity: null,
          principalOrgId: "o-example",
          userArn: caller,
          userId: "AIDAEXAMPLE",
        },
      },
      domainName: HOST,
      domainPrefix: "lifeboat",
      http: { method, path, protocol: "HTTP/1.1", sourceIp: "192.0.2.1", userAgent: headers["user-agent"] ?? "" },
      requestId: randomUUID(),
      routeKey: "$default",
      stage: "$default",
      time: now.toUTCString(),
      timeEpoch: now.getTime(),
    },
    ...(body ? { body: body.toString(isBase64Encoded ? "base64" : "utf8") } : {}),
    isBase64Encoded,
  };
}

/** What a function URL makes of the handler's result: without a statusCode it is the body itself, as JSON. */
export function fromUrlResult({ payload, error }: Invocation): UrlAnswer {
  if (error) return { status: 502, headers: {}, body: "Internal Server Error" };
  const result = payload as { statusCode?: number; headers?: Record<string, unknown>; body?: string } & {
    isBase64Encoded?: boolean;
  };
  if (typeof result?.statusCode !== "number")
    return { status: 200, headers: { "content-type": "application/json" }, body: JSON.stringify(payload) };
  const { statusCode, headers = {}, body = "", isBase64Encoded } = result;
  return {
    status: statusCode,
    headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)])),
    body: isBase64Encoded ? Buffer.from(body, "base64").toString() : body,
  };
}
