import { DescribeClusterCommand, EKSClient, paginateListClusters } from "@aws-sdk/client-eks";
import pLimit from "p-limit";
import {
  EKS_NAME,
  type EksReference,
  LifeboatError,
  type ManagedClusters,
  mayPass,
  ROLE_ARN,
  someOf,
} from "../../core/index.ts";
import { awsError } from "./errors.ts";
import { PATIENCE, regionOf } from "./region.ts";
import { assumeRole, type Caller, type Credentials, presign, stsUrl } from "./sts.ts";

/** EKS answers some ten requests a second. */
const ASKED_AT_ONCE = 8;

/** So many are named where they can't be described. */
const MOST_NAMED = 10;

/** EKS takes the request of a token for 15 minutes after it was signed; `aws eks get-token` says 14. */
const TOKEN_MS = 14 * 60_000;
/** What the request's URL says of itself; EKS wants it to be at most 15 minutes, the programs of AWS write 60 s. */
const URL_SECONDS = 60;

/**
 * EKS clusters, asked for with the credentials that the AWS SDK finds, or with those of `roleArn`, which they assume.
 * The region: the reference's, else AWS_REGION, AWS_DEFAULT_REGION. A token needs no permission and no request but the
 * role's; what it may do is up to the cluster's access entries.
 */
export function eksClusters(): ManagedClusters<EksReference> {
  return {
    async endpoint(reference, signal) {
      const { name, wanted, ...caller } = await callerOf(reference, signal);
      const client = new EKSClient({ ...caller, requestHandler: PATIENCE });
      try {
        const { cluster } = await client.send(new DescribeClusterCommand({ name }), { abortSignal: signal });
        if (cluster?.endpoint) {
          const ca = cluster.certificateAuthority?.data;
          return { server: cluster.endpoint, ...(ca && { ca: Buffer.from(ca, "base64").toString() }) };
        }
        throw new LifeboatError(
          "unreachable",
          `can't ${wanted}: it has no endpoint (${cluster?.status ?? "no status"})`,
          {
            hint: "a cluster has one once it is ACTIVE",
          },
        );
      } catch (error) {
        signal.throwIfAborted();
        throw error instanceof LifeboatError ? error : awsError(error, wanted);
      } finally {
        client.destroy();
      }
    },

    async token(reference, signal) {
      const { name, ...caller } = await callerOf(reference, signal);
      return eksToken(name, caller, new Date());
    },

    async *list({ name: only, region: given, roleArn }, signal) {
      if (only !== undefined && !EKS_NAME.test(only)) return;
      const { region, credentials } = await identityIn(given, roleArn, "list the EKS clusters", signal);
      const wanted = `list the EKS clusters in ${region}`;
      const client = new EKSClient({ region, credentials, requestHandler: PATIENCE });
      const limit = pLimit(ASKED_AT_ONCE);
      const failed = new Map<string, LifeboatError>();
      const described = async (name: string) => {
        try {
          return (await client.send(new DescribeClusterCommand({ name }), { abortSignal: signal })).cluster;
        } catch (error) {
          signal.throwIfAborted();
          const failure = awsError(error, `reach the EKS cluster ${name}`);
          if (failure.kind !== "missing") failed.set(name, failure);
          return undefined;
        }
      };
      try {
        const names = only === undefined ? await namesOf(client, signal) : [only];
        for (const cluster of await Promise.all(names.map((name) => limit(described, name)))) {
          const { name, status = "", tags = {} } = cluster ?? {};
          if (name !== undefined && !["CREATING", "DELETING"].includes(status))
            yield { reference: { name, region, ...(roleArn && { roleArn }) }, tags };
        }
        if (failed.size > 0) throw failureOf(failed, region);
      } catch (error) {
        signal.throwIfAborted();
        throw error instanceof LifeboatError ? error : awsError(error, wanted);
      } finally {
        client.destroy();
      }
    },
  };
}

/**
 * The bearer token of an EKS cluster, signed `at`: the URL of a GetCallerIdentity request to STS that says the
 * cluster's name in a signed header, as `aws eks get-token` and aws-iam-authenticator make it.
 */
export async function eksToken(name: string, caller: Caller, at: Date): Promise<{ token: string; expires: Date }> {
  const headers = { "x-k8s-aws-id": name };
  const validity = { at, expiresIn: URL_SECONDS };
  const url = await presign(stsUrl(caller.region), { Action: "GetCallerIdentity" }, headers, caller, validity);
  const { expiration } = caller.credentials;
  const expires = Math.min(at.getTime() + TOKEN_MS, expiration?.getTime() || Number.POSITIVE_INFINITY);
  return { token: `k8s-aws-v1.${Buffer.from(url.href).toString("base64url")}`, expires: new Date(expires) };
}

/** What is told of clusters that can't be described: of a kind that may pass, where that is so of any. */
function failureOf(failed: ReadonlyMap<string, LifeboatError>, region: string): LifeboatError {
  const failures = [...failed.values()];
  const cause = failures.find(mayPass) ?? failures[0]!;
  const names = someOf([...failed.keys()].sort(), MOST_NAMED);
  const message = `can't describe ${failed.size} of the EKS clusters in ${region}: ${names}; ${cause.message}`;
  return new LifeboatError(cause.kind, message, { hint: cause.hint, cause });
}

async function namesOf(client: EKSClient, signal: AbortSignal): Promise<string[]> {
  const names: string[] = [];
  const pages = paginateListClusters({ client }, {}, { abortSignal: signal });
  for await (const { clusters = [] } of pages) names.push(...clusters);
  return names;
}

async function callerOf(reference: Partial<EksReference>, signal: AbortSignal) {
  signal.throwIfAborted();
  const { name = "", roleArn } = reference;
  if (!EKS_NAME.test(name)) throw new LifeboatError("invalid", "what is given is no name of an EKS cluster");
  const wanted = `reach the EKS cluster ${name}`;
  return { name, wanted, ...(await identityIn(reference.region, roleArn, wanted, signal)) };
}

/** Who asks, in a region: the role, where one is to be assumed. */
async function identityIn(given: string | undefined, roleArn: string | undefined, wanted: string, signal: AbortSignal) {
  signal.throwIfAborted();
  if (roleArn !== undefined && !ROLE_ARN.test(roleArn))
    throw new LifeboatError("invalid", `can't ${wanted}: what is given as the role to assume is no ARN of a role`);
  const region = regionOf(given, wanted);
  const own = await ownCredentials(region, wanted);
  const credentials = roleArn ? await assumeRole(roleArn, { region, credentials: own }, signal) : own;
  return { region, credentials };
}

/** What the SDK finds: each of its clients can tell. */
async function ownCredentials(region: string, wanted: string): Promise<Credentials> {
  const client = new EKSClient({ region });
  try {
    return await client.config.credentials();
  } catch (error) {
    throw awsError(error, wanted);
  } finally {
    client.destroy();
  }
}
