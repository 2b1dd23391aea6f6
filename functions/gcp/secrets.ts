import { LifeboatError, type Secrets, secretText } from "../../core/index.ts";
import { googleApi } from "./api.ts";
import { crc32c } from "./crc32c.ts";

const REFERENCE = /^gcp-sm:\/\/(projects\/[a-z0-9:.-]+\/secrets\/[\w-]+)(?:\/versions\/([\w-]+))?$/;

interface Version {
  payload?: { data?: string; dataCrc32c?: string };
}

/**
 * Google's Secret Manager: `gcp-sm://projects/P/secrets/S[/versions/V]`, by default the latest version. A value that
 * isn't UTF-8 is `invalid`; one that doesn't have its CRC32C didn't come as it is stored: `unreachable`.
 */
export function googleSecrets(): Secrets {
  const { call } = googleApi("secretmanager");
  return {
    async read(reference, { signal } = {}) {
      const [, secret, version = "latest"] = REFERENCE.exec(reference) ?? [];
      if (!secret) {
        // Not the reference: somebody may have written the secret itself in its place.
        throw new LifeboatError("invalid", "a secret's reference is none of Google's Secret Manager", {
          hint: "write gcp-sm://projects/P/secrets/S or gcp-sm://projects/P/secrets/S/versions/V",
        });
      }
      const wanted = `read the secret ${reference}`;
      const { payload } = await call<Version>({ wanted, path: `/v1/${secret}/versions/${version}:access`, signal });
      const bytes = Buffer.from(payload?.data ?? "", "base64");
      if (payload?.dataCrc32c !== undefined && payload.dataCrc32c !== String(crc32c(bytes))) {
        throw new LifeboatError("unreachable", `can't ${wanted}: what came has another CRC32C`, { hint: "try again" });
      }
      return secretText(bytes, reference);
    },
  };
}
