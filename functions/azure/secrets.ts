import { SecretClient } from "@azure/keyvault-secrets";
import { isLoopback, LifeboatError, type Secrets } from "../../core/index.ts";
import { azureCredential } from "./access.ts";
import { ask } from "./ask.ts";

const RETRIES = { maxRetries: 3, retryDelayInMs: 500, maxRetryDelayInMs: 10_000 };
const REFERENCE = /^azure-kv:\/\/([a-z][a-z0-9-]{1,22}[a-z0-9])\/([0-9a-z-]{1,127})(?:\/([0-9a-f]{32}))?$/i;

/**
 * Secrets of Azure Key Vault, by `azure-kv://vault/secret[/version]`, as `azureCredential`. The vault is a name, of
 * https://NAME.vault.azure.net; where vaults are elsewhere (sovereign clouds, tests), LIFEBOAT_KEY_VAULT_URL tells, say
 * `https://{vault}.vault.usgovcloudapi.net`. A value has at most 25 KiB (Key Vault's limit).
 */
export function keyVaultSecrets(): Secrets {
  const credential = azureCredential();
  const clients = new Map<string, SecretClient>();
  const clientOf = (vault: string): SecretClient => {
    const url = vaultUrl(vault);
    const client = clients.get(url.href) ?? connect(url);
    clients.set(url.href, client);
    return client;
  };
  // The SDK sends no token to a vault that isn't in the domain of the challenge it got, as a stand-in here can't be.
  const connect = (url: URL) =>
    new SecretClient(url.href, credential, {
      disableChallengeResourceVerification: isLoopback(url.hostname),
      retryOptions: RETRIES,
    });

  return {
    async read(reference, { signal } = {}) {
      const [, vault = "", name = "", version] = REFERENCE.exec(reference) ?? [];
      if (!vault) {
        throw new LifeboatError("invalid", "the reference of a Key Vault secret can't be read", {
          hint: "write azure-kv://vault/secret or azure-kv://vault/secret/version (32 hexadecimal digits)",
        });
      }
      const client = clientOf(vault.toLowerCase());
      const { value } = await ask(`read the secret ${reference}`, signal, (abortSignal) =>
        client.getSecret(name, { version, abortSignal }),
      );
      if (value === undefined) throw new LifeboatError("missing", `the secret ${reference} has no value`);
      return value;
    },
  };
}

function vaultUrl(vault: string): URL {
  const text = (process.env.LIFEBOAT_KEY_VAULT_URL || "https://{vault}.vault.azure.net").replaceAll("{vault}", vault);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === "https:" && !url.username && !url.password) return url;
  throw new LifeboatError("invalid", "LIFEBOAT_KEY_VAULT_URL is not an https URL without credentials", {
    hint: "write https://{vault}.vault.azure.net",
  });
}
