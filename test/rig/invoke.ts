import { createServer } from "node:http";

/** What a client of the stand-in is answered: as Lambda does, a refusal for lack of rights, or nothing at all. */
export type InvokeMood = "well" | "denied" | "silent";

/** The Invoke API of Lambda on 127.0.0.1, for one function, of which nothing runs. */
export interface InvokeApi extends AsyncDisposable {
  endpoint: string;
  functionName: string;
  /** The asynchronous invocations that were accepted, oldest first. */
  received: { job: unknown; at: Date }[];
  mood: InvokeMood;
  stop(): Promise<void>;
}

const MAX_BYTES = 1024 * 1024;

/** Starts the stand-in. It answers as Lambda's documentation of Invoke says, to signed requests of type Event only. */
export async function startInvokeApi(functionName = "lifeboat"): Promise<InvokeApi> {
  const received: InvokeApi["received"] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const refuse = (status: number, type: string, Message: string) => {
      response.writeHead(status, { "content-type": "application/json", "x-amzn-errortype": type });
      response.end(JSON.stringify({ Message }));
    };
    const { authorization = "", "x-amz-invocation-type": type } = request.headers;
    const name = /^\/2015-03-31\/functions\/([^/]+)\/invocations$/.exec(request.url ?? "")?.[1];

    if (api.mood === "silent") return;
    if (!/^AWS4-HMAC-SHA256 Credential=[^/]+\/\d+\/[^/]+\/lambda\/aws4_request, /.test(authorization))
      return refuse(403, "MissingAuthenticationTokenException", "Missing Authentication Token");
    if (api.mood === "denied")
      return refuse(403, "AccessDeniedException", "User is not authorized to perform: lambda:InvokeFunction");
    if (request.method !== "POST" || name === undefined || type !== "Event")
      return refuse(400, "InvalidParameterValueException", "this stand-in takes asynchronous invocations only");
    if (name !== functionName) return refuse(404, "ResourceNotFoundException", `Function not found: ${name}`);
    if (body.length > MAX_BYTES)
      return refuse(413, "RequestTooLargeException", `${body.length} byte payload is too large for the Event type`);
    received.push({ job: JSON.parse(body.toString()), at: new Date() });
    response.writeHead(202).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("rig: the Invoke API has no port");
  const stop = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  const api: InvokeApi = {
    endpoint: `http://127.0.0.1:${address.port}`,
    functionName,
    received,
    mood: "well",
    stop,
    [Symbol.asyncDispose]: stop,
  };
  return api;
}
