import { http } from "@google-cloud/functions-framework";

/** A Cloud Function that shows what it is given. */
http("sample", (request, response) => {
  console.log(`${request.method} ${request.path}`);
  const { method, path, headers, rawBody } = request;
  response.status(201).json({ method, path, time: headers["x-cloudscheduler-scheduletime"], body: String(rawBody) });
});
