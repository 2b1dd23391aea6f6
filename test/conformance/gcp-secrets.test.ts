import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { googleSecrets } from "../../functions/gcp/secrets.ts";
import { type Gcp, startGcp } from "../rig/gcp.ts";
import { rejects } from "./bucket.ts";
import { secretsConformance } from "./secrets.ts";
import { assertNotQuoted } from "./troubles.ts";

describe("Google Secret Manager", () => {
  let gcp: Gcp;
  before(async () => {
    gcp = await startGcp();
    Object.assign(process.env, gcp.env);
  });
  after(() => gcp?.stop());
  const reference = (name: string) => `gcp-sm://projects/${gcp.project}/secrets/${name}`;

  const newest = new Map<string, number>();
  secretsConformance(
    "Google Secret Manager's stand-in",
    async () => ({
      secrets: googleSecrets(),
      set: async (name, value) => {
        if (value !== undefined) newest.set(name, gcp.addSecret(name, value));
        return reference(name);
      },
      versionOf: async (name) => `${reference(name)}/versions/${newest.get(name)}`,
      inTrouble: async (trouble, run) => {
        gcp.trouble = trouble;
        await run().finally(() => {
          gcp.trouble = undefined;
        });
      },
    }),
    {
      malformed: [
        "gcp-sm:projects/p/secrets/s",
        "gcp-sm://p/s",
        "gcp-sm://projects/p/secrets/",
        "gcp-sm://projects/p/secrets/a b",
        "gcp-sm://projects/p/secrets/../x",
        "gcp-sm://projects/p/secrets/s/versions/",
        "gcp-sm://projects/p/secrets/s/versions/1:destroy",
        "gcp-sm://projects/p/secrets/s?key=k",
        "aws-sm://projects/p/secrets/s",
      ],
      missingVersion: (reference) => `${reference}/versions/99`,
    },
  );

  test("what doesn't have its CRC32C is not given", async () => {
    const name = `s-${randomUUID()}`;
    gcp.addSecret(name, "the-secret-value");
    gcp.damageSecret(name);
    const error = await rejects("unreachable", googleSecrets().read(reference(name)));
    assert.match(error.message, /CRC32C/);
    assertNotQuoted(error, "the-secret-value");
  });

  test("bytes that are no text are invalid", async () => {
    const name = `s-${randomUUID()}`;
    gcp.addSecret(name, Buffer.from([0x61, 0xff, 0xfe]));
    await rejects("invalid", googleSecrets().read(reference(name)));
  });

  test("one token serves many reads, and never shows in an error", async () => {
    const name = `s-${randomUUID()}`;
    gcp.addSecret(name, "a");
    const secrets = googleSecrets();
    const before = gcp.tokens.length;
    for (let round = 0; round < 3; round++) assert.equal(await secrets.read(reference(name)), "a");
    assert.equal(gcp.tokens.length, before + 1);
    gcp.trouble = "denied";
    const error = await rejects("denied", secrets.read(reference(name))).finally(() => {
      gcp.trouble = undefined;
    });
    for (const token of gcp.tokens) assertNotQuoted(error, token);
  });

  test("the API's address may not be one that would get the token in clear text", (t) => {
    t.after(() => Object.assign(process.env, gcp.env));
    process.env.LIFEBOAT_GCP_ENDPOINT = "http://example.com";
    assert.throws(() => googleSecrets(), { kind: "invalid", message: /LIFEBOAT_GCP_ENDPOINT.*clear text/ });
  });
});
