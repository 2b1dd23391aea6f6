import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import {
  CreateSecretCommand,
  PutSecretValueCommand,
  ResourceNotFoundException,
  SecretsManagerClient,
} from "@aws-sdk/client-secrets-manager";
import { awsSecrets } from "../../functions/aws/secrets.ts";
import { listen } from "../core/kube-server.ts";
import { type Moto, startMoto } from "../rig/moto.ts";
import { startProxy } from "../rig/proxy.ts";
import { requireOrSkip } from "../rig/require.ts";
import { rejects } from "./bucket.ts";
import { secretsConformance } from "./secrets.ts";
import { assertNotQuoted } from "./troubles.ts";

describe("AWS Secrets Manager", { skip: requireOrSkip("rig", ["moto"]) }, () => {
  let moto: Moto;
  let client: SecretsManagerClient;
  before(async () => {
    moto = await startMoto();
    Object.assign(process.env, moto.env);
    client = new SecretsManagerClient({ endpoint: moto.endpoint });
  });
  after(async () => {
    client?.destroy();
    for (const name of Object.keys(moto?.env ?? {})) delete process.env[name];
    await moto?.stop();
  });

  const set = async (SecretId: string, value: { SecretString: string } | { SecretBinary: Uint8Array }) => {
    const command = new PutSecretValueCommand({ SecretId, ...value });
    await client.send(command).catch(async (error: unknown) => {
      if (!(error instanceof ResourceNotFoundException)) throw error;
      await client.send(new CreateSecretCommand({ Name: SecretId, ...value }));
    });
  };

  secretsConformance(
    "Secrets Manager on moto",
    async () => {
      const proxy = await startProxy(moto.endpoint);
      process.env.AWS_ENDPOINT_URL_SECRETS_MANAGER = `http://127.0.0.1:${proxy.port}`;
      return {
        secrets: awsSecrets(),
        set: async (name, value) => {
          if (value !== undefined) await set(`prod/${name}`, { SecretString: value });
          return `aws-sm://prod/${name}?region=us-east-1`;
        },
        inTrouble: async (trouble, run) => {
          if (trouble === "denied") await moto.refuse(true);
          else if (trouble === "silent") moto.pause(true);
          else {
            proxy.cut();
            proxy.cutAfter(0);
          }
          await run().finally(() => {
            proxy.cutAfter(undefined);
            if (trouble === "silent") moto.pause(false);
          });
          await moto.refuse(false);
        },
        stop: async () => {
          delete process.env.AWS_ENDPOINT_URL_SECRETS_MANAGER;
          await proxy.stop();
        },
      };
    },
    {
      malformed: [
        "aws-sm:",
        "aws-sm:name",
        "aws-sm://",
        "aws-sm://?region=eu-west-1",
        "aws-sm://a b",
        "aws-sm://a%20b",
        "aws-sm://a#b",
        "aws-sm://a:b",
        "aws-sm://name\n",
        `aws-sm://${"n".repeat(513)}`,
        "aws-sm://name?region=",
        "aws-sm://name?region=eu.example.com/",
        "aws-sm://name?key=",
        "aws-sm://name?key=a&key=b",
        "aws-sm://name?version=1",
        "aws-sm://arn:aws:s3:eu-west-1:123456789012:secret:a",
        "gcp-sm://name",
        "",
      ],
      versionless: "a reference of AWS means AWSCURRENT",
    },
  );

  const NAMES = ["/prod/eks/kubeconfig", "a.b-c_d+e=f@g", "Prod"];
  for (const name of NAMES) {
    test(`a secret may be named ${name}`, async () => {
      await set(name, { SecretString: `value of ${name}` });
      assert.equal(await awsSecrets().read(`aws-sm://${name}`), `value of ${name}`);
    });
  }

  test("an ARN is a name that holds its region", async () => {
    const Name = `arn-${randomUUID()}`;
    const { ARN = "" } = await client.send(new CreateSecretCommand({ Name, SecretString: "value" }));
    process.env.AWS_REGION = "eu-west-1";
    const read = awsSecrets().read(`aws-sm://${ARN}`);
    await read.finally(() => Object.assign(process.env, moto.env));
    assert.equal(await read, "value");
    await rejects("missing", awsSecrets().read(`aws-sm://${Name}?region=eu-west-1`));
  });

  test("without a region anywhere it is invalid, and says what to do", async () => {
    delete process.env.AWS_REGION;
    const error = await rejects("invalid", awsSecrets().read("aws-sm://name")).finally(() =>
      Object.assign(process.env, moto.env),
    );
    assert.match(error.hint ?? "", /AWS_REGION/);
  });

  test("a binary secret is UTF-8 text; other bytes are invalid and not quoted", async () => {
    await set("binary", { SecretBinary: Buffer.from("ü 日本\n") });
    assert.equal(await awsSecrets().read("aws-sm://binary"), "ü 日本\n");
    await set("binary", { SecretBinary: Buffer.from("the-value\xff", "latin1") });
    assertNotQuoted(await rejects("invalid", awsSecrets().read("aws-sm://binary")), "the-value");
  });

  describe("a field of a JSON secret", () => {
    const fields = {
      kubeconfig: "apiVersion: v1\n",
      "": "nothing",
      "a b&c": "odd",
      number: 1,
      deep: { a: "the-value" },
    };
    const found: [query: string, value: string][] = [
      ["key=kubeconfig", "apiVersion: v1\n"],
      ["region=us-east-1&key=kubeconfig", "apiVersion: v1\n"],
      ["key=a%20b%26c", "odd"],
    ];
    for (const [query, value] of found) {
      test(query, async () => {
        await set("json", { SecretString: JSON.stringify(fields) });
        assert.equal(await awsSecrets().read(`aws-sm://json?${query}`), value);
      });
    }

    const bad: [what: string, secret: string, key: string, kind: "missing" | "invalid"][] = [
      ["a field that isn't there", JSON.stringify(fields), "other", "missing"],
      ["a field that every object has", JSON.stringify(fields), "constructor", "missing"],
      ["a number", JSON.stringify(fields), "number", "invalid"],
      ["an object", JSON.stringify(fields), "deep", "invalid"],
      ["what is no JSON", "the-value: {", "a", "invalid"],
      ["JSON with an end too early", '{"a": "the-value', "a", "invalid"],
      ["a JSON string", '"the-value"', "length", "invalid"],
      ["a list", '["the-value"]', "0", "invalid"],
      ["null", "null", "a", "invalid"],
    ];
    for (const [what, secret, key, kind] of bad) {
      test(`${what} is ${kind}, and not quoted`, async () => {
        await set("json", { SecretString: secret });
        assertNotQuoted(await rejects(kind, awsSecrets().read(`aws-sm://json?key=${key}`)), "the-value");
      });
    }
  });

  for (const answer of ['{"SecretString": "the-value', '{"SecretString": the-value}', "the-value"]) {
    test(`an answer that was spoilt on its way (${answer}) is unreachable, and not quoted`, async (t) => {
      await using server = await listen(createServer(), (_, response) => {
        response.writeHead(200, { "content-type": "application/x-amz-json-1.1" }).end(answer);
      });
      t.after(() => delete process.env.AWS_ENDPOINT_URL_SECRETS_MANAGER);
      process.env.AWS_ENDPOINT_URL_SECRETS_MANAGER = server.url;
      assertNotQuoted(await rejects("unreachable", awsSecrets().read("aws-sm://name")), "the-value");
    });
  }
});
