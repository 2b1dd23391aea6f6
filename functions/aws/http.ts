import type { LambdaFunctionURLEventWithIAMAuthorizer, LambdaFunctionURLResult } from "aws-lambda";
import type { Service } from "../../core/index.ts";

/** Answers what came to the function's URL. It must be one that lets in only whom IAM knows (`AWS_IAM`). */
export async function answer(
  service: Pick<Service, "fetch">,
  event: LambdaFunctionURLEventWithIAMAuthorizer,
): Promise<LambdaFunctionURLResult> {
  const caller = event.requestContext.authorizer?.iam?.userArn;
  if (!caller) return problem(401, "Unauthorized", "the function's URL must have the authorization type AWS_IAM");
  let request: Request;
  try {
    request = requestOf(event);
  } catch {
    return problem(400, "Bad Request", "the event can't be read as a request");
  }
  const response = await service.fetch(request, { caller });
  return { statusCode: response.status, headers: Object.fromEntries(response.headers), body: await response.text() };
}

/** The request that a function URL's event (payload 2.0) tells of. */
function requestOf(event: LambdaFunctionURLEventWithIAMAuthorizer): Request {
  const { rawPath, rawQueryString, headers, body, isBase64Encoded, requestContext } = event;
  const { method } = requestContext.http;
  const bytes = body === undefined ? undefined : Buffer.from(body, isBase64Encoded ? "base64" : "utf8");
  return new Request(`https://${requestContext.domainName}${rawPath}${rawQueryString ? `?${rawQueryString}` : ""}`, {
    method,
    headers: Object.entries(headers).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
    body: method === "GET" || method === "HEAD" ? undefined : bytes,
  });
}

function problem(status: number, title: string, detail: string): LambdaFunctionURLResult {
  const body = JSON.stringify({ type: "about:blank", title, status, detail });
  return { statusCode: status, headers: { "content-type": "application/problem+json" }, body };
}
