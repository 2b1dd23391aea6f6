import { LifeboatError } from "../../errors.ts";

/** What restic is told that nobody else may see: variables of its environment, and Google's key, which it reads from a file. */
export interface ResticSecrets {
  variables: Record<string, string>;
  googleKey?: string;
}

/** What of restic's environment a text of credentials may set. */
const VARIABLES: ReadonlySet<string> = new Set([
  "AWS_ACCESS_KEY_ID",
  "AWS_SECRET_ACCESS_KEY",
  "AWS_SESSION_TOKEN",
  "RESTIC_AWS_ASSUME_ROLE_ARN",
  "RESTIC_AWS_ASSUME_ROLE_EXTERNAL_ID",
  "AZURE_ACCOUNT_KEY",
  "AZURE_ACCOUNT_SAS",
  "AZURE_TENANT_ID",
  "AZURE_CLIENT_ID",
  "AZURE_CLIENT_SECRET",
  "GOOGLE_ACCESS_TOKEN",
  "HTTPS_PROXY",
  "HTTP_PROXY",
  "NO_PROXY",
]);

/**
 * The credentials of a repository out of a secret's text: lines NAME=value, of which empty ones and those that begin with "#" count
 * for nothing, or the JSON of a Google key. Throws `invalid`, quoting nothing of it.
 */
export function readCredentials(text: string): ResticSecrets {
  if (text.trimStart().startsWith("{")) return { variables: {}, googleKey: checkGoogleKey(text) };
  const variables: Record<string, string> = {};
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*(#|$)/.test(line)) continue;
    const [, name = "", value = ""] = /^\s*([A-Za-z_]\w*)=(.*)$/.exec(line) ?? [];
    if (!value) throw refuse(`line ${index + 1} is not NAME=value`);
    if (!VARIABLES.has(name)) throw refuse(`line ${index + 1} sets something else than credentials`);
    variables[name] = value.trim();
  }
  if (Object.keys(variables).length === 0) throw refuse("there are none in it");
  return { variables };
}

function checkGoogleKey(text: string): string {
  try {
    if (typeof JSON.parse(text).type === "string") return text;
  } catch {
    // What is wrong with it may not be quoted.
  }
  throw refuse("it begins as JSON and is no key of Google's");
}

function refuse(reason: string): LifeboatError {
  return new LifeboatError("invalid", `the credentials for restic can't be used: ${reason}`, {
    hint: `write lines NAME=value, or a Google service account's key; the names are ${[...VARIABLES].join(", ")}`,
  });
}

/** The text without any of these secrets, whoever it came from: the last net of messages made of restic's output. */
export function withhold(text: string, { variables, googleKey }: ResticSecrets): string {
  const values = [...Object.values(variables), ...(googleKey ? [googleKey] : [])].flatMap(formsOf);
  return values.filter((value) => value.length > 3).reduce((rest, value) => rest.replaceAll(value, "…"), text);
}

/** As it was given, and as it may stand in a URL, of which a shared access signature is the query, in any order. */
function formsOf(value: string): string[] {
  const signature = value.includes("sig=") ? (new URLSearchParams(value).get("sig") ?? "") : "";
  return [value, encodeURIComponent(value), signature, encodeURIComponent(signature)];
}
