import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { CreateClusterCommand, EKSClient } from "@aws-sdk/client-eks";
import type { EksReference } from "../../core/ports.ts";
import { eksClusters, eksToken } from "../../functions/aws/clusters.ts";
import { type Moto, startMoto } from "../rig/moto.ts";
import { freePorts } from "../rig/process.ts";
import { pythonWith } from "../rig/pythontool.ts";
import { requireOrSkip } from "../rig/require.ts";
import { rejects } from "./bucket.ts";
import { assertNotQuoted } from "./troubles.ts";

/** A token's request as botocore signs it; the keys are AWS's examples. */
interface Vector {
  name: string;
  region: string;
  at: string;
  credentials: { accessKeyId: string; secretAccessKey: string; sessionToken?: string };
  url: string;
}

const VECTORS = JSON.parse(
  readFileSync(join(import.meta.dirname, "../golden/eks-tokens.json"), "utf8"),
) as readonly Vector[];

const urlOf = (token: string) => new URL(Buffer.from(token.replace(/^k8s-aws-v1\./, ""), "base64url").toString());
const parts = (url: URL) => ({ host: url.host, path: url.pathname, query: Object.fromEntries(url.searchParams) });
const never = new AbortController().signal;

for (const vector of VECTORS) {
  const { name, region, at, credentials } = vector;
  test(`the token of ${name} in ${region} is signed as by botocore`, async () => {
    const { token, expires } = await eksToken(name, { region, credentials }, new Date(at));
    assert.match(token, /^k8s-aws-v1\.[\w-]+$/);
    assert.deepEqual(parts(urlOf(token)), parts(new URL(vector.url)));
    assert.equal(expires.getTime() - Date.parse(at), 14 * 60_000);
  });
}

test("a token ends with the credentials it was signed with", async () => {
  const [{ name, region, credentials } = assert.fail()] = VECTORS;
  const at = new Date("2026-01-02T03:04:05Z");
  const expiration = new Date("2026-01-02T03:05:00Z");
  const { expires } = await eksToken(name, { region, credentials: { ...credentials, expiration } }, at);
  assert.deepEqual(expires, expiration);
});

describe("EKS on moto", { skip: requireOrSkip("rig", ["moto"]) }, () => {
  const clusters = eksClusters();
  let moto: Moto;
  let endpoint: string | undefined;
  let ca: string | undefined;
  before(async () => {
    moto = await startMoto();
    Object.assign(process.env, moto.env);
    const client = new EKSClient();
    const roleArn = "arn:aws:iam::123456789012:role/eks";
    const { cluster } = await client.send(
      new CreateClusterCommand({ name: "prod", roleArn, resourcesVpcConfig: { subnetIds: [] } }),
    );
    client.destroy();
    endpoint = cluster?.endpoint;
    ca = Buffer.from(cluster?.certificateAuthority?.data ?? "", "base64").toString();
  });
  after(async () => {
    for (const name of Object.keys(moto?.env ?? {})) delete process.env[name];
    await moto?.stop();
  });

  test("botocore still signs the vectors like that", async () => {
    const python = await pythonWith("moto");
    const script = join(import.meta.dirname, "../rig/python/ekstoken.py");
    for (const vector of VECTORS) {
      const input = JSON.stringify({ ...vector, host: new URL(vector.url).host });
      assert.equal(execFileSync(python, [script], { input, encoding: "utf8" }).trim(), vector.url);
    }
  });

  test("a cluster's endpoint and authority are those that EKS tells", async () => {
    assert(endpoint && ca);
    assert.deepEqual(await clusters.endpoint({ name: "prod", region: "us-east-1" }, never), { server: endpoint, ca });
  });

  describe("clusters are listed", () => {
    const region = "eu-west-1";
    const tags = { backup: "yes", team: "shop" };
    const names = Array.from({ length: 120 }, (_, number) => `c-${String(number).padStart(3, "0")}`);
    before(async () => {
      const client = new EKSClient({ region });
      const roleArn = "arn:aws:iam::123456789012:role/eks";
      for (const name of names) {
        const own = name === "c-000" ? { tags } : {};
        await client.send(new CreateClusterCommand({ name, roleArn, resourcesVpcConfig: { subnetIds: [] }, ...own }));
      }
      client.destroy();
    });
    const listed = (known: Partial<EksReference>) => Array.fromAsync(clusters.list(known, never));

    test("all of a region, over several pages, with their tags", async () => {
      const found = await listed({ region });
      assert.deepEqual(found.map(({ reference }) => reference.name).sort(), names);
      const first = found.find(({ reference }) => reference.name === "c-000");
      assert.deepEqual(first, { reference: { name: "c-000", region }, tags });
      assert(found.every(({ reference, tags }) => reference.name === "c-000" || Object.keys(tags).length === 0));
    });

    test("one alone, as the role that is to be assumed", async () => {
      const roleArn = "arn:aws:iam::123456789012:role/backup";
      const reference = { name: "c-000", region, roleArn };
      assert.deepEqual(await listed(reference), [{ reference, tags }]);
      assert.deepEqual(await listed({ name: "none", region }), []);
      assert.deepEqual(await listed({ name: "a/../c-000", region }), []);
    });

    test("those that can't be described are named after the others", async (t) => {
      const refused = new Map([
        ["/clusters/c-003", { status: 403, code: "AccessDeniedException" }],
        ["/clusters/c-117", { status: 429, code: "ThrottlingException" }],
      ]);
      const front = createServer(async (request, response) => {
        const url = new URL(request.url ?? "/", moto.endpoint);
        const { status, code } = refused.get(url.pathname) ?? {};
        if (status && code)
          return response
            .writeHead(status, { "x-amzn-errortype": code })
            .end(JSON.stringify({ message: "not this one" }));
        const { authorization = "" } = request.headers;
        const answer = await fetch(url, { headers: { authorization } });
        return response.writeHead(answer.status).end(await answer.text());
      });
      await new Promise<void>((listening) => front.listen(0, "127.0.0.1", listening));
      process.env.AWS_ENDPOINT_URL_EKS = `http://127.0.0.1:${(front.address() as AddressInfo).port}`;
      t.after(() => {
        delete process.env.AWS_ENDPOINT_URL_EKS;
        front.closeAllConnections();
        front.close();
      });
      const failing = async (error: "denied" | "unreachable", missing: string[], said: RegExp) => {
        const found: string[] = [];
        const all = async () => {
          for await (const { reference } of clusters.list({ region }, never)) found.push(reference.name);
        };
        assert.match((await rejects(error, all())).message, said);
        assert.deepEqual(
          found.sort(),
          names.filter((name) => !missing.includes(name)),
        );
      };
      await failing(
        "unreachable",
        ["c-003", "c-117"],
        /describe 2 of the EKS clusters in eu-west-1: c-003, c-117; .*c-117/,
      );
      refused.delete("/clusters/c-117");
      await failing("denied", ["c-003"], /describe 1 of the EKS clusters in eu-west-1: c-003; .*HTTP 403/);
    });

    test("not without the right to, and not beyond a signal", async (t) => {
      await moto.refuse(true);
      t.after(() => moto.refuse(false));
      const error = await rejects("denied", listed({ region }));
      assert.match(error.message, /list the EKS clusters in eu-west-1: .*HTTP 403/);
      const reason = new Error("out of time");
      const late = Array.fromAsync(clusters.list({ region }, AbortSignal.abort(reason)));
      await assert.rejects(late, (thrown) => thrown === reason);
    });
  });

  test("a token needs no answer of AWS", async (t) => {
    moto.pause(true);
    t.after(() => moto.pause(false));
    const { token } = await clusters.token({ name: "prod" }, never);
    const { host, query } = parts(urlOf(token));
    assert.equal(host, "sts.us-east-1.amazonaws.com");
    assert.equal(query["X-Amz-SignedHeaders"], "host;x-k8s-aws-id");
    assert(query["X-Amz-Credential"]?.startsWith(`${moto.env.AWS_ACCESS_KEY_ID}/`));
  });

  test("a role is assumed first: the token and the question for the endpoint are signed as that", async () => {
    const reference: EksReference = {
      name: "prod",
      region: "us-east-1",
      roleArn: "arn:aws:iam::123456789012:role/ops/backup",
    };
    const { token, expires } = await clusters.token(reference, never);
    const { query } = parts(urlOf(token));
    assert.match(query["X-Amz-Credential"] ?? "", /^ASIA/);
    assert(query["X-Amz-Security-Token"]);
    assert(expires.getTime() > Date.now() + 10 * 60_000 && expires.getTime() < Date.now() + 15 * 60_000);
    assert.equal((await clusters.endpoint(reference, never)).server, endpoint);
  });

  test("what is refused is denied, and says what; no key is quoted", async (t) => {
    await moto.refuse(true);
    t.after(() => moto.refuse(false));
    const roleArn = "arn:aws:iam::123456789012:role/backup";
    const failures: [attempt: () => Promise<unknown>, said: RegExp][] = [
      [() => clusters.endpoint({ name: "prod", region: "us-east-1" }, never), /EKS cluster prod: .*HTTP 403/],
      [() => clusters.token({ name: "prod", roleArn }, never), /assume the role arn:.*: .*sts:AssumeRole/],
    ];
    for (const [attempt, said] of failures) {
      const error = await rejects("denied", attempt());
      assert.match(error.message, said);
      assertNotQuoted(error, moto.env.AWS_SECRET_ACCESS_KEY ?? "");
    }
  });

  test("a cluster that isn't there is missing", async () => {
    const error = await rejects("missing", clusters.endpoint({ name: "other", region: "us-east-1" }, never));
    assert.match(error.message, /EKS cluster other/);
  });

  const bad: [what: string, reference: Partial<EksReference>][] = [
    ["no name", {}],
    ["a name that is none", { name: "a/../b" }],
    ["a region that would be another host", { name: "prod", region: "evil.example.com/" }],
    ["a role that is no ARN of one", { name: "prod", roleArn: "backup" }],
    ["an ARN of something else", { name: "prod", roleArn: "arn:aws:iam::123456789012:user/backup" }],
  ];
  for (const [what, reference] of bad) {
    test(`${what} is invalid`, async () => {
      await rejects("invalid", clusters.token(reference, never));
      await rejects("invalid", clusters.endpoint(reference as EksReference, never));
    });
  }

  test("without credentials it is denied, with a hint", async (t) => {
    t.after(() => Object.assign(process.env, moto.env));
    const nothing = { AWS_SHARED_CREDENTIALS_FILE: `/no/${randomUUID()}`, AWS_CONFIG_FILE: `/no/${randomUUID()}` };
    Object.assign(process.env, nothing, { AWS_ACCESS_KEY_ID: "", AWS_SECRET_ACCESS_KEY: "" });
    t.after(() => {
      for (const name of Object.keys(nothing)) delete process.env[name];
    });
    const error = await rejects("denied", clusters.token({ name: "prod" }, never));
    assert.match(error.hint ?? "", /AWS_ACCESS_KEY_ID/);
  });

  test("a server that isn't there is unreachable, one that is silent ends with the signal", async (t) => {
    const reason = new Error("out of time");
    const roleArn = "arn:aws:iam::123456789012:role/backup";
    const attempts = [
      (signal: AbortSignal) => clusters.endpoint({ name: "prod", region: "us-east-1" }, signal),
      (signal: AbortSignal) => clusters.token({ name: "prod", roleArn }, signal),
    ];
    moto.pause(true);
    t.after(() => moto.pause(false));
    for (const attempt of attempts) {
      const controller = new AbortController();
      setTimeout(() => controller.abort(reason), 50);
      await assert.rejects(attempt(controller.signal), (thrown) => thrown === reason);
      await assert.rejects(attempt(AbortSignal.abort(reason)), (thrown) => thrown === reason);
    }
    t.after(() => Object.assign(process.env, moto.env));
    const [port] = await freePorts(1);
    process.env.AWS_ENDPOINT_URL = `http://127.0.0.1:${port}`;
    for (const attempt of attempts) await rejects("unreachable", attempt(never));
  });
});
