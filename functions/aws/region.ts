import { AWS_REGION, LifeboatError } from "../../core/index.ts";

/**
 * The region to ask in: the one given, else AWS_REGION, else AWS_DEFAULT_REGION. Throws `invalid` where there is none,
 * or what is none: it becomes part of a host's name.
 */
export function regionOf(given: string | undefined, wanted: string): string {
  const region = given || process.env.AWS_REGION || process.env.AWS_DEFAULT_REGION;
  if (region && AWS_REGION.test(region)) return region;
  throw new LifeboatError(
    "invalid",
    `can't ${wanted}: ${region ? "what is given is no AWS region" : "no AWS region"}`,
    {
      hint: "name the region, say eu-west-1, or set AWS_REGION",
    },
  );
}

/** How long the SDK's clients of small requests wait: to connect, and for a byte. */
export const PATIENCE = { connectionTimeout: 10_000, socketTimeout: 30_000 };
