import type { HttpRequest, HttpResponseInit } from "@azure/functions";

export async function requestOf(request: HttpRequest): Promise<Request> {
  const { url, method } = request;
  const body = method === "GET" ? undefined : await request.arrayBuffer();
  return new Request(url, { method, headers: [...request.headers], body });
}

export async function answerOf(response: Response): Promise<HttpResponseInit> {
  return { status: response.status, headers: Object.fromEntries(response.headers), body: await response.text() };
}

/** Who is asking: whom App Service's own authentication names, where it is on; it then lets nobody else set the header. */
export function callerOf({ headers }: HttpRequest): string {
  const authenticated = process.env.WEBSITE_AUTH_ENABLED?.toLowerCase() === "true";
  return (authenticated && headers.get("x-ms-client-principal-name")) || "a holder of the function's key";
}
