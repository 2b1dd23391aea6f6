import { z } from "zod";
import { parseDuration } from "../../duration.ts";
import { isLifeboatError, LifeboatError } from "../../errors.ts";
import { strictFields } from "../../fields.ts";
import { type CachedSecrets, secretReference } from "../../secrets.ts";
import { type ResticSecrets, readCredentials } from "./credentials.ts";

/** The image of which Jobs are made where the configuration names no other. */
export const RESTIC_IMAGE = "docker.io/restic/restic:0.18.1";

/** Milliseconds that a Job may take for each part, before it is given up. */
export interface ResticTiming {
  /** From its creation until restic runs. */
  start: number;
  /** That the cluster refuses to make its Pod, or that an image can't be pulled: both may pass. */
  refused: number;
  /** That restic waits for another's lock of the repository; of whole seconds, and less than `stall`. */
  lock: number;
  /** That restic reads or writes nothing, though its log can be read. */
  stall: number;
  /** That the Pod's node is not ready. */
  node: number;
  /** In all. */
  total: number;
  /** For the Pod to end once its Job is deleted, before it is taken away by force. */
  end: number;
  /** Between two looks. */
  poll: number;
}

/** The whole is Velero's fsBackupTimeout. */
export const RESTIC_TIMING: ResticTiming = {
  start: 300_000,
  refused: 120_000,
  lock: 300_000,
  stall: 600_000,
  node: 60_000,
  total: 4 * 3_600_000,
  end: 45_000,
  poll: 1_000,
};

/** What copies of files are made with. */
export interface ResticSettings {
  image: string;
  /** Of the bucket, as users write it. */
  location: string;
  /** Reads the password of the repositories and the credentials for the bucket, which are none where the Pod has an identity. */
  secrets: (signal: AbortSignal) => Promise<ResticSecrets>;
  /** The ServiceAccount of the Jobs, in each namespace; Kubernetes' default where not given. */
  serviceAccount?: string;
  /** What the location's own client takes from the environment. */
  env?: Record<string, string | undefined>;
  timing: ResticTiming;
}

const name = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** `volumes.restic` of the configuration. */
export const resticSchema = strictFields({
  password: secretReference("password.txt"),
  credentials: secretReference("credentials.txt").optional(),
  image: z
    .string()
    .regex(/^\S+[:@]\S+$/, "names an image without its version: write it as registry/restic/restic:0.18.1")
    .default(RESTIC_IMAGE),
  serviceAccount: z.string().regex(name, "is no name of a ServiceAccount").optional(),
  timeout: z.string().superRefine(checkDuration).optional(),
});

export type ResticConfig = z.infer<typeof resticSchema>;

/** The settings that a configuration makes, for its location. No secret is read before a Job needs it. */
export function resticSettings(
  config: ResticConfig,
  { location, secrets, env = process.env }: { location: string; secrets: CachedSecrets; env?: NodeJS.ProcessEnv },
): ResticSettings {
  const { password, credentials, image, serviceAccount, timeout } = config;
  return {
    image,
    location,
    async secrets(signal) {
      const [phrase, text] = await Promise.all([
        secrets.read(password, { signal }),
        credentials === undefined ? undefined : secrets.read(credentials, { signal }),
      ]);
      return repositorySecrets(phrase, text);
    },
    ...(serviceAccount && { serviceAccount }),
    env,
    timing: { ...RESTIC_TIMING, ...(timeout && { total: parseDuration(timeout) }) },
  };
}

/** The secrets of a repository. Throws `invalid` for those that can't be, quoting nothing of them. */
export function repositorySecrets(password: string, credentials?: string): ResticSecrets {
  if (password === "") {
    throw new LifeboatError("invalid", "the password of the restic repositories is empty", {
      hint: "without one anybody who can read the bucket can read what is in them",
    });
  }
  if (/[\r\n\0]/.test(password)) {
    throw new LifeboatError("invalid", "the password of the restic repositories has more than one line", {
      hint: "restic takes one line: make the secret one",
    });
  }
  const { variables = {}, ...rest } = credentials === undefined ? {} : readCredentials(credentials);
  return { ...rest, variables: { ...variables, RESTIC_PASSWORD: password } };
}

function checkDuration(text: string, context: z.RefinementCtx): void {
  try {
    if (parseDuration(text) > 0) return;
    context.addIssue({ code: "custom", message: "must be longer than nothing" });
  } catch (error) {
    if (!isLifeboatError(error)) throw error;
    context.addIssue({ code: "custom", message: error.message });
  }
}
