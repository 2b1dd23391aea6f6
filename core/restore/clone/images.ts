import { changeAt, POD_SPECS } from "../../objects/places.ts";
import type { Fix } from "../fixes.ts";
import { longest } from "./domains.ts";

/** Velero's `velero.io/change-image-name`: the first rule whose `from` an image's name contains is applied to all places of it. */
export interface ImageRule {
  from: string;
  to: string;
}

const DOCKER_HUB = "docker.io";

/**
 * An image's name as container runtimes complete it: "nginx:1" is "docker.io/library/nginx:1", "acme/web" is
 * "docker.io/acme/web". A name begins with its registry where its first part has a dot, a port or is "localhost".
 */
export function fullImage(image: string): string {
  const [first = "", ...rest] = image.split("/");
  if (!rest.length) return `${DOCKER_HUB}/library/${image}`;
  if (!namesRegistry(first)) return `${DOCKER_HUB}/${image}`;
  const host = first.toLowerCase();
  if (host !== DOCKER_HUB && host !== `index.${DOCKER_HUB}`) return [host, ...rest].join("/");
  return [DOCKER_HUB, ...(rest.length === 1 ? ["library"] : []), ...rest].join("/");
}

export function namesRegistry(first: string): boolean {
  return /[.:]/.test(first) || first === "localhost";
}

/** The image in the clone: where its full name, without tag and digest, is a mapped one or below it; the longest wins. */
export function mapImage(image: string, mapping: Record<string, string>): string {
  const full = fullImage(image);
  const [name] = /^[^/]+(?:\/[^/:@]+)*/.exec(full) ?? [full];
  const from = longest(Object.keys(mapping).filter((prefix) => `${name}/`.startsWith(`${prefixOf(prefix)}/`)));
  return from === undefined ? image : mapping[from] + full.slice(prefixOf(from).length);
}

function prefixOf(prefix: string): string {
  const [host = "", ...rest] = prefix.split("/");
  const lower = host.toLowerCase();
  return [lower === `index.${DOCKER_HUB}` ? DOCKER_HUB : lower, ...rest].join("/");
}

/**
 * `registryMapping`, and Velero's rules for what it leaves as it is, wherever Pods and templates of Pods stand. The
 * Secrets that registries are asked with stay.
 */
export const IMAGE_FIXES: Fix[] = Object.entries(POD_SPECS).map(([resource, spec]) => ({
  id: `image-${resource}`,
  resources: [resource],
  why: "the clone pulls its images from a registry of its own",
  source: "velero.io/change-image-name (5.7), for whole parts of the name",
  clusterOwned: false,
  idle: ({ registryMapping, imageRules }) => !registryMapping && !imageRules?.length,
  apply(object, { registryMapping = {}, imageRules = [] }) {
    if (!Object.keys(registryMapping).length && !imageRules.length) return;
    for (const place of ["containers[].image", "initContainers[].image", "volumes[].image.reference"])
      changeAt(object, `${spec}.${place}`, (image) => newImage(image, registryMapping, imageRules));
  },
}));

function newImage(image: string, mapping: Record<string, string>, rules: ImageRule[]): string {
  const mapped = mapImage(image, mapping);
  if (mapped !== image) return mapped;
  const rule = rules.find(({ from }) => image.includes(from));
  return rule ? image.replaceAll(rule.from, () => rule.to) : image;
}
