import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { LifeboatError, type Secrets, secretText } from "../../core/index.ts";
import { awsError } from "./errors.ts";
import { PATIENCE, regionOf } from "./region.ts";

/** A name, which may hold "/", or a whole ARN, which another account's secret needs. */
const REFERENCE =
  /^aws-sm:\/\/((?:arn:[a-z-]+:secretsmanager:([a-z0-9-]+):\d{12}:secret:)?[\w/+=.@-]{1,512})(?:\?(.*))?$/;
const PARAMETERS = ["region", "key"];

/**
 * The secrets of AWS Secrets Manager, `aws-sm://name[?region=R&key=jsonField]`, in their current version, with the
 * credentials that the AWS SDK finds. `name` is taken as it is, nothing in it is decoded, or an ARN. The region: the
 * parameter, the ARN's, AWS_REGION, AWS_DEFAULT_REGION. `key`: the secret is a JSON object, and wanted is the string in
 * that field; `missing` where it has none. A binary secret is UTF-8 text.
 */
export function awsSecrets(): Secrets {
  const clients = new Map<string, SecretsManagerClient>();
  const clientIn = (region: string): SecretsManagerClient => {
    const client = clients.get(region) ?? new SecretsManagerClient({ region, requestHandler: PATIENCE });
    clients.set(region, client);
    return client;
  };

  return {
    async read(reference, { signal } = {}) {
      signal?.throwIfAborted();
      const { name, region, key } = readReference(reference);
      const wanted = `read the secret ${reference}`;
      const client = clientIn(regionOf(region, wanted));
      const { SecretString, SecretBinary } = await client
        .send(new GetSecretValueCommand({ SecretId: name }), { abortSignal: signal })
        .catch((error: unknown) => {
          throw signal?.aborted ? signal.reason : awsError(error, wanted);
        });
      const text = SecretString ?? secretText(SecretBinary ?? new Uint8Array(), reference);
      return key === undefined ? text : fieldOf(text, key, reference);
    },
  };
}

function readReference(reference: string): { name: string; region?: string; key?: string } {
  const [, name, arnRegion, query] = REFERENCE.exec(reference) ?? [];
  const parameters = [...new URLSearchParams(query)];
  const given = parameters.map(([parameter]) => parameter);
  const sound =
    parameters.every(([parameter, value]) => PARAMETERS.includes(parameter) && value !== "") &&
    new Set(given).size === given.length;
  if (!name || !sound) {
    throw new LifeboatError("invalid", "a reference to AWS Secrets Manager can't be read", {
      hint: "write aws-sm://name, aws-sm://name?region=R or aws-sm://name?region=R&key=jsonField",
    });
  }
  return { name, region: arnRegion, ...Object.fromEntries(parameters) };
}

function fieldOf(text: string, key: string, reference: string): string {
  const fields = jsonObject(text);
  if (!fields) {
    throw new LifeboatError("invalid", `the secret ${reference} is not a JSON object`, {
      hint: "without key=, the whole secret is taken",
    });
  }
  const field = Object.getOwnPropertyDescriptor(fields, key)?.value as unknown;
  if (field === undefined) throw new LifeboatError("missing", `the secret ${reference} has no field of that key`);
  if (typeof field !== "string") {
    throw new LifeboatError("invalid", `the secret ${reference} holds no string in the field of that key`);
  }
  return field;
}

/** Not what JSON.parse throws: that quotes the text. */
function jsonObject(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
