import { isIP } from "node:net";
import type { AksReference, EksReference, GkeReference } from "../ports.ts";

/** The clouds that have managed clusters, and what tells one of them. */
export interface CloudReferences {
  eks: EksReference;
  gke: GkeReference;
  aks: AksReference;
}

/** Their names, for messages. */
export const CLOUD_NAMES: Record<keyof CloudReferences, string> = {
  eks: "Amazon EKS",
  gke: "Google GKE",
  aks: "Azure AKS",
};

/** An AWS region; host names are made of it. */
export const AWS_REGION = /^[a-z]{2,4}(-[a-z]+)+-\d{1,2}$/;
/** An IAM role: a path of 512 characters at most and a name of 64. */
export const ROLE_ARN = /^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]{1,576}$/;
/** What EKS takes as a cluster's name. */
export const EKS_NAME = /^[0-9A-Za-z][\w-]{0,99}$/;
/** The application whose tokens every AKS cluster with managed Entra integration takes. */
export const AKS_SERVER_ID = "6dae42f8-4368-4678-94ff-3960e28e3630";

/** AWS's domains, that of IPv4 and the dual-stack one, by the beginning of a region's name (botocore's partitions). */
const AWS_DOMAINS: [prefix: string, domain: string, dualStack: string][] = [
  ["cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"],
  ["eusc-", "amazonaws.eu", "api.amazonwebservices.eu"],
  ["us-iso-", "c2s.ic.gov", "api.aws.ic.gov"],
  ["us-isob-", "sc2s.sgov.gov", "api.aws.scloud"],
  ["us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"],
  ["eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"],
];

/** The domains of AWS that a region's services have: `domain`, and `dualStack` where they have IPv6 too. */
export function awsDomains(region: string): { domain: string; dualStack: string } {
  const found = AWS_DOMAINS.find(([prefix]) => region.startsWith(prefix));
  const [, domain = "amazonaws.com", dualStack = "api.aws"] = found ?? [];
  return { domain, dualStack };
}

/**
 * The region of an EKS cluster by its endpoint's host, `ID.gr7.REGION.eks.amazonaws.com` or, with IPv6,
 * `ID.gr7.eks-cluster.REGION.api.aws`; undefined for any other host. No name beside these: under api.aws and on.aws
 * anybody may have one (API Gateway, Lambda).
 */
export function eksRegion(hostname: string): string | undefined {
  const region = hostname.split(".").find((label) => AWS_REGION.test(label));
  if (region === undefined) return undefined;
  const { domain, dualStack } = awsDomains(region);
  const ends = [`.${region}.eks.${domain}`, `.eks-cluster.${region}.${dualStack}`];
  return ends.some((end) => hostname.endsWith(end)) ? region : undefined;
}

const AKS_HOST = /\.(azmk8s\.io|cx\.prod\.service\.azk8s\.cn|cx\.aks\.containerservice\.azure\.us)$/;
const GKE_HOST = /\.gke\.goog$/;

/**
 * Whether a URL's host is one that the cloud gives its clusters, and nobody else. GKE's usual endpoint is an IP
 * address, public or private, which tells nothing of whose it is: any address passes as GKE's.
 */
export function isClusterHost(cloud: keyof CloudReferences, hostname: string): boolean {
  if (cloud === "eks") return eksRegion(hostname) !== undefined;
  if (cloud === "aks") return AKS_HOST.test(hostname);
  return GKE_HOST.test(hostname) || isIP(hostname.replace(/^\[(.*)\]$/, "$1")) !== 0;
}
