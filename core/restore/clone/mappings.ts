import { isWithin } from "./domains.ts";
import { fullImage, namesRegistry } from "./images.ts";

/** What the mappings of a clone are made of, and what one side of each may be. */
interface MappingRule {
  /** What is wrong with a side; undefined for a sound one. */
  flaw: (side: string) => string | undefined;
  /** How two sides are compared. */
  plain: (side: string) => string;
  /** Whether the mapping of `from` changes `name` too. */
  covers: (from: string, name: string) => boolean;
}

const DOMAIN = /^(?=.{1,253}$)[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?(\.[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?)*$/i;
const IMAGE_PREFIX = /^(\[[0-9a-f:]+\]|[a-z0-9][-a-z0-9.]*)(:\d+)?(\/[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*)*$/i;
const NAMESPACE = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const CLASS = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

const same: Pick<MappingRule, "plain" | "covers"> = { plain: (side) => side, covers: (from, name) => from === name };

const ZONE = /^[a-z0-9]([-a-z0-9_.]{0,61}[a-z0-9])?$/i;

const RULES: Record<
  "domainMapping" | "registryMapping" | "storageClassMapping" | "ingressClassMapping" | "zoneMapping",
  MappingRule
> = {
  domainMapping: {
    flaw: (side) =>
      DOMAIN.test(side) ? undefined : 'is no domain; write it like "shop.example", which "*.shop.example" is part of',
    plain: (side) => side.toLowerCase(),
    covers: (from, name) => isWithin(name, from),
  },
  registryMapping: {
    flaw(side) {
      if (!IMAGE_PREFIX.test(side)) return 'is no registry; write it like "registry.example.com" or "docker.io/acme"';
      if (namesRegistry(side.split("/")[0]!)) return undefined;
      return `names no registry; of images on Docker Hub it is "docker.io/${side}", or "${fullImage(side)}"`;
    },
    plain: (side) => side.toLowerCase(),
    covers: (from, name) => `${name}/`.startsWith(`${from}/`),
  },
  storageClassMapping: {
    flaw: (side) => (CLASS.test(side) ? undefined : "can't be a storage class's name"),
    ...same,
  },
  ingressClassMapping: {
    flaw: (side) => (CLASS.test(side) ? undefined : "can't be an ingress class's name"),
    ...same,
  },
  zoneMapping: {
    flaw: (side) => (ZONE.test(side) ? undefined : "can't be a zone's name"),
    ...same,
  },
};

/** The mappings of a spec. */
export type Mappings = Partial<Record<keyof typeof RULES, Record<string, string>>>;

/**
 * The first mapping that makes no sense, and why: a side that is empty or can't be what it should be, a pair that maps
 * onto itself, two of one source, a chain (what one pair maps to, another one maps on).
 */
export function mappingFault(spec: Mappings): { field: keyof Mappings; message: string } | undefined {
  for (const field of Object.keys(RULES) as (keyof Mappings)[]) {
    const pairs = Object.entries(spec[field] ?? {});
    for (const [from, to] of pairs) {
      const fault = faultOf(RULES[field], from, to, pairs);
      if (fault) return { field, message: `maps "${from}" to "${to}": ${fault}` };
    }
  }
  return undefined;
}

/** What is wrong with a mapping of namespaces; unlike others it may swap two of them. */
export function namespaceFault(mapping: Record<string, string>): string | undefined {
  for (const [from, to] of Object.entries(mapping)) {
    if (from === to) return `maps "${from}" to itself`;
    if (!NAMESPACE.test(to)) return `maps "${from}" to "${to}", which can't be a namespace's name`;
  }
  return undefined;
}

function faultOf(rule: MappingRule, from: string, to: string, pairs: [string, string][]): string | undefined {
  const { flaw, plain, covers } = rule;
  for (const side of [from, to]) {
    const wrong = side === "" ? "is empty" : flaw(side);
    if (wrong) return `"${side}" ${wrong}`;
  }
  if (plain(from) === plain(to)) return "that is the same";
  const others = pairs.filter(([other]) => other !== from).map(([other]) => other);
  const twin = others.find((other) => plain(other) === plain(from));
  if (twin !== undefined) return `"${twin}" is mapped too, which is the same`;
  const next = others.find((other) => covers(plain(other), plain(to)));
  return next === undefined ? undefined : `"${next}" is mapped too: a chain; map "${from}" to where it should end`;
}
