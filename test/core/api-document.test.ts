import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type SampleApi, startApi } from "./api-sample.ts";

interface Document {
  openapi: string;
  info: { version: string };
  paths: Record<string, Record<string, { responses: Record<string, unknown>; security?: unknown[] }>>;
  components: { schemas: Record<string, unknown>; securitySchemes?: Record<string, unknown> };
  security?: unknown;
}

describe("the OpenAPI document", () => {
  let api: SampleApi;
  let document: Document;
  before(async () => {
    api = await startApi();
    document = (await api.send("GET", "/openapi.json")).body;
  });
  after(() => api?.stop());

  it("is one of OpenAPI 3.1, and tells of every route", () => {
    assert.deepEqual([document.openapi, document.info.version], ["3.1.0", "1.2.3"]);
    const routes = Object.entries(document.paths).map(([path, methods]) => `${path} ${Object.keys(methods).sort()}`);
    assert.deepEqual(routes.sort(), [
      "/healthz get",
      "/v1/backups get,post",
      "/v1/backups/{name} delete,get",
      "/v1/backups/{name}/findings get",
      "/v1/backups/{name}/items get",
      "/v1/backups/{name}/logs get",
      "/v1/backups/{name}/pin delete,put",
      "/v1/backups/{name}/verify get,post",
      "/v1/checks post",
      "/v1/history get",
      "/v1/plans/{name} get",
      "/v1/restores get,post",
      "/v1/restores/{name} delete,get",
      "/v1/restores/{name}/logs get",
      "/v1/restores/{name}/objects get",
      "/v1/restores/{name}/report get",
      "/v1/retention get,post",
      "/v1/search get",
    ]);
  });

  it("refers only to what it has", () => {
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)];
    assert(references.length > 0);
    for (const [, name] of references) assert(document.components.schemas[name!], name);
  });

  it("says of every route that a problem may be the answer", () => {
    for (const methods of Object.values(document.paths)) {
      for (const { responses } of Object.values(methods)) {
        assert.deepEqual(Object.keys((responses.default as { content: object }).content), ["application/problem+json"]);
      }
    }
  });

  it("tells of a token only where one is wanted", async () => {
    assert.deepEqual([document.security, document.components.securitySchemes], [undefined, undefined]);
    const other = await startApi({ token: "x" });
    try {
      const { body } = await other.send("GET", "/openapi.json", { headers: { authorization: "Bearer x" } });
      assert.deepEqual(body.components.securitySchemes, { token: { type: "http", scheme: "bearer" } });
      assert.deepEqual([body.security, body.paths["/healthz"].get.security], [[{ token: [] }], []]);
    } finally {
      await other.stop();
    }
  });
});
