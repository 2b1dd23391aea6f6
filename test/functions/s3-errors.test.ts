import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type Bucket, type ErrorKind, listBackups } from "../../core/index.ts";
import { s3Bucket } from "../../functions/aws/bucket.ts";
import { listen } from "../core/kube-server.ts";
import { makeAuthority, makeCertificate } from "../rig/certs.ts";

/** An answer of S3's, as no server of the rig gives it. */
type Answer = [status: number, body: string];

const REFUSALS: Record<string, Answer> = {
  racing: refusal(409, "ConditionalRequestConflict"),
  taken: refusal(412, "PreconditionFailed"),
  archived: refusal(403, "InvalidObjectState"),
};

const ENV = { AWS_ACCESS_KEY_ID: "key", AWS_SECRET_ACCESS_KEY: "secret", AWS_EC2_METADATA_DISABLED: "true" };

describe("what S3 refuses", () => {
  before(() => {
    Object.assign(process.env, ENV);
  });
  after(() => {
    for (const name of Object.keys(ENV)) delete process.env[name];
  });

  it("a put that met another one of the same key is sent again, until the other has ended", async () => {
    for (const [body, answers] of [
      [Buffer.from("1"), [REFUSALS.racing!, REFUSALS.racing!, [200, ""]]],
      [streamOf("1"), [REFUSALS.racing!, [200, ""]]],
    ] satisfies [Buffer | AsyncIterable<Buffer>, Answer[]][]) {
      await using s3 = await serve(answers);
      await s3.bucket.put("a", body, { ifAbsent: true });
      assert.deepEqual(
        s3.requests,
        answers.map(() => "PUT /bucket/a"),
      );
    }
  });

  const ends: [what: string, answers: Answer[], kind: ErrorKind, puts: number][] = [
    ["the other has won", [REFUSALS.racing!, REFUSALS.taken!], "conflict", 2],
    ["the other never ends: the object need not be there", [REFUSALS.racing!], "unreachable", 5],
  ];
  for (const [what, answers, kind, puts] of ends) {
    it(`a put that met another one is ${kind} where ${what}`, async () => {
      await using s3 = await serve(answers);
      await assert.rejects(s3.bucket.put("a", Buffer.from("1"), { ifAbsent: true }), { kind });
      assert.equal(s3.requests.filter((request) => request.startsWith("PUT")).length, puts);
    });
  }

  it("an object in an archive class is denied, and hides no other backup", async () => {
    const record = { kind: "Backup", metadata: { name: "good" } };
    await using s3 = await serve((path) => {
      if (path.includes("list-type=2")) return [200, listing(["backups/cold/", "backups/good/"])];
      return path.includes("cold") ? REFUSALS.archived! : [200, JSON.stringify(record)];
    });
    const [cold, good] = await listBackups(s3.bucket);
    assert.match(cold?.problem ?? "", /^can't get backups\/cold\/velero-backup\.json .*InvalidObjectState/);
    assert.deepEqual(good, { name: "good", record });
  });

  it("a certificate that isn't trusted is denied, as it is of an API server", async (t) => {
    const dir = await mkdtemp(join(tmpdir(), "lifeboat-s3-"));
    t.after(() => rm(dir, { recursive: true }));
    await makeAuthority(dir);
    const { cert, key } = await makeCertificate(dir, "server", { commonName: "s3", server: true });
    await using server = await listen(createTlsServer({ cert, key }), (_, response) => response.end());
    const bucket = bucketAt(server.url.replace("http:", "https:"));
    await assert.rejects(bucket.get("a"), { kind: "denied", hint: /NODE_EXTRA_CA_CERTS/ });
  });
});

/** A bucket whose server gives these answers in turn, the last one for good; the object asked for by HEAD is not ours. */
async function serve(answers: Answer[] | ((path: string) => Answer)) {
  const requests: string[] = [];
  const answer: RequestListener = (request, response) => {
    request.resume().on("end", () => {
      const { method, url = "" } = request;
      requests.push(`${method} ${url.split("?")[0]}`);
      const [status, body] =
        method === "HEAD"
          ? [200, ""]
          : typeof answers === "function"
            ? answers(url)
            : answers[Math.min(requests.length, answers.length) - 1]!;
      response.writeHead(status, { "content-type": "application/xml" }).end(body);
    });
  };
  const server = await listen(createServer(), answer);
  return { ...server, requests, bucket: bucketAt(server.url) };
}

function bucketAt(endpoint: string): Bucket {
  const location = new URL("s3://bucket");
  location.searchParams.set("endpoint", endpoint);
  location.searchParams.set("forcePathStyle", "true");
  return s3Bucket(location);
}

function refusal(status: number, code: string): Answer {
  return [status, `<Error><Code>${code}</Code><Message>no</Message></Error>`];
}

function listing(prefixes: string[]): string {
  const rows = prefixes.map((prefix) => `<CommonPrefixes><Prefix>${prefix}</Prefix></CommonPrefixes>`);
  return `<ListBucketResult>${rows.join("")}</ListBucketResult>`;
}

async function* streamOf(text: string): AsyncGenerator<Buffer> {
  yield Buffer.from(text);
}
