import { z } from "zod";
import { parseDuration } from "../duration.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import { strictFields } from "../fields.ts";
import { AWS_REGION, ROLE_ARN } from "../kube/clouds.ts";
import { isLabelKey } from "../labels.ts";
import { type LabelSelector, labelSelectorSchema, matchesSelector, selectorText } from "../select.ts";

/** Which clusters a schedule is of: those that are named, and those that the selector selects; all where it says nothing. */
export type ClusterChoice = LabelSelector & { names?: string[] };

/** Where a cloud is asked for clusters, and which tags those have that are the fleet's. */
export type ClusterDiscovery =
  | { eks: { region: string; roleArn?: string; tags: Record<string, string> } }
  | { gke: { project: string; location?: string; labels: Record<string, string> } }
  | { aks: { subscription: string; clientId?: string; tags: Record<string, string> } };

/** What a configuration says of its fleet beside clusters and schedules. */
export interface FleetSettings {
  discover: Record<string, ClusterDiscovery>;
  /** As many clusters are backed up at a time, where this process does it. */
  concurrency: number;
  /** As many clusters are begun in a minute. */
  perMinute?: number;
  /** A Go duration: how long a run may last until it is summed up without those that have not ended. */
  timeout?: string;
}

const text = z.string().min(1);
const tags = z
  .record(text, z.string())
  .refine((tags) => Object.keys(tags).length > 0, "is empty: every cluster there would be meant");
const CLOUDS = ["eks", "gke", "aks"] as const;

const discoverySchema = strictFields({
  eks: strictFields({
    region: z.string().regex(AWS_REGION, "is not an AWS region"),
    roleArn: z.string().regex(ROLE_ARN, "is not the ARN of a role: arn:aws:iam::<account>:role/<name>").optional(),
    tags,
  }).optional(),
  gke: strictFields({ project: text, location: text.optional(), labels: tags }).optional(),
  aks: strictFields({ subscription: text, clientId: text.optional(), tags }).optional(),
}).transform((fields, { addIssue }): ClusterDiscovery => {
  const told = CLOUDS.filter((cloud) => fields[cloud] !== undefined);
  if (told.length !== 1)
    addIssue(`needs exactly one of ${CLOUDS.join(", ")}, and ${told.length ? `has ${told.join(", ")}` : "has none"}`);
  return fields as ClusterDiscovery;
});

/** The configuration's `fleet`; `name`: what an entry may be called. */
export const fleetSchema = (name: z.ZodType<string, string>) =>
  strictFields({
    discover: z
      .record(name, discoverySchema)
      .refine((entries) => Object.keys(entries).length > 0, "is empty: leave it out")
      .default({}),
    concurrency: z.number().int().min(1).max(1000).default(4),
    perMinute: z.number().int().min(1).optional(),
    timeout: z.string().refine(lasts, 'is no duration that is more than nothing: write it like "6h"').optional(),
  });

/** A schedule's `clusters`. */
export const clusterChoiceSchema = strictFields({
  names: z.array(text).min(1, "is empty: leave it out").optional(),
  ...labelSelectorSchema.shape,
}).superRefine(({ names: _, ...selector }, context) => {
  try {
    selectorText(selector);
  } catch (error) {
    if (!isLifeboatError(error)) throw error;
    context.addIssue({ code: "custom", message: error.message });
  }
});

/** Whether a schedule is one of a cluster. */
export function isChosen(
  { names, ...selector }: ClusterChoice,
  { name, labels }: { name: string; labels: Record<string, string> },
): boolean {
  if (names?.includes(name)) return true;
  const selects = selector.matchLabels !== undefined || selector.matchExpressions !== undefined;
  return selects ? matchesSelector(selector, labels) : names === undefined;
}

/** The names of those clusters that a schedule is of. */
export function chosenNames(
  choice: ClusterChoice,
  clusters: Iterable<[name: string, cluster: { labels?: Record<string, string> }]>,
): string[] {
  return [...clusters].flatMap(([name, { labels = {} }]) => (isChosen(choice, { name, labels }) ? [name] : []));
}

/** Which clusters a schedule is of, for people: "prod-eu, tier=prod", "all". */
export function choiceText({ names = [], matchLabels = {}, matchExpressions = [] }: ClusterChoice): string {
  const labels = Object.entries(matchLabels).map((pair) => pair.join("="));
  const others = matchExpressions.map(({ key, operator, values = [] }) =>
    `${key} ${operator} ${values.join("|")}`.trim(),
  );
  return [...names, ...labels, ...others].join(", ") || "all";
}

/** Directories of Velero's own at the top of a location, which no cluster's can be (velero-format: 1.1). */
export const RESERVED = ["backups", "restores", "restic", "kopia", "plugins", "metadata"];

/** What a discovered cluster's name may be, whatever its cloud allows: it becomes a folder and a part of URLs. */
export const DISCOVERED_NAME = /^[a-z0-9][-a-z0-9]*\.[\w()-]([\w.()-]*[\w()-])?$/i;
/** What is named in a configuration: clusters, schedules. */
export const CONFIGURED_NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** Whether a cluster of a fleet may be called that, so that a folder of its location may be one's. */
export function isClusterName(name: string): boolean {
  return DISCOVERED_NAME.test(name) || (CONFIGURED_NAME.test(name) && !RESERVED.includes(name));
}

/** What is wrong with the names of a fleet's clusters, and with those that its schedules name. */
export function fleetProblems(
  clusters: string[],
  discover: string[],
  schedules: [name: string, choice: ClusterChoice][],
): string[] {
  const reserved = clusters.filter((name) => RESERVED.includes(name));
  const taken = reserved.map(
    (name) => `clusters.${name}: a fleet's cluster can't be called that: Velero has such folders`,
  );
  const isKnown = (name: string) => clusters.includes(name) || discover.includes(name.split(".", 1)[0] ?? "");
  const unknown = schedules.flatMap(([schedule, { names = [] }]) =>
    names
      .filter((name) => !isKnown(name))
      .map(
        (name) =>
          `schedules.${schedule}.clusters.names: there is no cluster "${name}", ${knownText(clusters, discover)}`,
      ),
  );
  // Tags of clouds are labels, too, and may be called otherwise.
  const unlike = discover.length > 0 ? [] : schedules.flatMap(([schedule, choice]) => keyProblems(schedule, choice));
  return [...taken, ...unknown, ...unlike];
}

function keyProblems(schedule: string, { matchLabels = {}, matchExpressions = [] }: ClusterChoice): string[] {
  return [...Object.keys(matchLabels), ...matchExpressions.map(({ key }) => key)]
    .filter((key) => !isLabelKey(key))
    .map((key) => `schedules.${schedule}.clusters: "${key}" is not a key that Kubernetes takes for a label`);
}

/** The schedules that choose no cluster, where none is discovered: that a typing error is seen before the night. */
export function choiceWarnings(
  clusters: Record<string, { labels?: Record<string, string> }>,
  discover: string[],
  schedules: [name: string, choice: ClusterChoice][],
): string[] {
  if (discover.length > 0) return [];
  const all = Object.entries(clusters);
  return schedules.flatMap(([schedule, choice]) =>
    chosenNames(choice, all).length > 0 ? [] : [`schedules.${schedule}.clusters chooses no cluster`],
  );
}

function knownText(clusters: string[], discover: string[]): string {
  const found = discover.map((entry) => `${entry}.…`);
  const all = [...clusters, ...found];
  return all.length > 0 ? `the clusters are ${all.join(", ")}` : "clusters is empty";
}

function lasts(text: string): boolean {
  try {
    return parseDuration(text) > 0;
  } catch (error) {
    if (error instanceof LifeboatError) return false;
    throw error;
  }
}
