import type { LambdaFunctionURLEventWithIAMAuthorizer, LambdaFunctionURLResult } from "aws-lambda";

/** The request that a function URL's event (payload 2.0) tells of. */
export function requestOf(event: LambdaFunctionURLEventWithIAMAuthorizer): Request {
  const { rawPath, rawQueryString, headers, body, isBase64Encoded, requestContext } = event;
  const query = rawQueryString ? `?${rawQueryString}` : "";
  return new Request(`https://${requestContext.domainName}${rawPath}${query}`, {
    method: requestContext.http.method,
    headers: Object.entries(headers).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
    body: body === undefined ? undefined : Buffer.from(body, isBase64Encoded ? "base64" : "utf8"),
  });
}

/** The result that makes a function URL answer with `response`. */
export async function resultOf(response: Response): Promise<LambdaFunctionURLResult> {
  return { statusCode: response.status, headers: Object.fromEntries(response.headers), body: await response.text() };
}
