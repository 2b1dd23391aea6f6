import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type FleetConfig, parseConfig } from "../../core/config.ts";
import { isLifeboatError, LifeboatError } from "../../core/errors.ts";
import { fleetCluster, fleetClusters } from "../../core/fleet/discovery.ts";
import { isFleet, memberLocation, narrowed, narrowedTo } from "../../core/fleet/narrowed.ts";
import { isClusterName } from "../../core/fleet/settings.ts";
import type { ManagedClusters, Platform } from "../../core/ports.ts";

const never = new AbortController().signal;
const CLUSTERS = `
clusters:
  prod-eu: { kubeconfig: "env:A", labels: { tier: prod, region: eu } }
  prod-us: { kubeconfig: "env:B", labels: { tier: prod, region: us } }
  dev: { kubeconfig: "env:C" }
`;

function fleet(rest: string, location = "s3://acme/fleet?region=eu-west-1"): FleetConfig {
  const { config } = parseConfig(`location: ${location}\n${CLUSTERS}\n${rest}`, {});
  assert(isFleet(config));
  return config;
}

const problems = (rest: string): string => {
  try {
    fleet(rest);
  } catch (error) {
    assert(isLifeboatError(error, "invalid"), String(error));
    return `${error.message}\n${error.hint ?? ""}`;
  }
  return assert.fail("it was taken");
};

/** The names of the configured clusters that a schedule chooses. */
const chosen = (choice: string): string[] => {
  const config = fleet(`schedules: { nightly: { schedule: "@daily", clusters: ${choice} } }`);
  return Object.entries(config.clusters).flatMap(([name, cluster]) =>
    narrowed(config, name, cluster).schedules.nightly ? [name] : [],
  );
};

describe("a fleet's schedule", () => {
  const choices: [choice: string, clusters: string[]][] = [
    ["{}", ["prod-eu", "prod-us", "dev"]],
    ["{ names: [dev] }", ["dev"]],
    ["{ matchLabels: { tier: prod } }", ["prod-eu", "prod-us"]],
    ["{ matchExpressions: [{ key: region, operator: NotIn, values: [us] }] }", ["prod-eu", "dev"]],
    ["{ names: [dev], matchLabels: { region: us } }", ["prod-us", "dev"]],
    ["{ matchLabels: { tier: none } }", []],
  ];
  for (const [choice, clusters] of choices) it(`of ${choice}`, () => assert.deepEqual(chosen(choice), clusters));

  it("can be said by the environment alone", () => {
    const { config } = parseConfig(undefined, {
      LIFEBOAT_LOCATION: "s3://acme",
      LIFEBOAT_CLUSTERS_PROD_KUBECONFIG: "env:A",
      LIFEBOAT_CLUSTERS_PROD_LABELS: "tier=prod",
      LIFEBOAT_SCHEDULES_NIGHTLY_SCHEDULE: "@daily",
      LIFEBOAT_SCHEDULES_NIGHTLY_CLUSTERS_MATCH_LABELS: "tier=prod",
      LIFEBOAT_FLEET_CONCURRENCY: "7",
    });
    assert(isFleet(config));
    assert.deepEqual(config.fleet.schedules.nightly?.clusters, { matchLabels: { tier: "prod" } });
    assert.equal(config.fleet.concurrency, 7);
  });

  it("says of what no variable can say that the file has it alone", () => {
    const told = (variable: string) => {
      const env = {
        LIFEBOAT_SCHEDULES_A_SCHEDULE: "@daily",
        LIFEBOAT_SCHEDULES_A_CLUSTERS_NAMES: "dev",
        [variable]: "x",
      };
      try {
        parseConfig(`location: s3://acme\n${CLUSTERS}`, env);
      } catch (error) {
        assert(isLifeboatError(error, "invalid"), String(error));
        return error.message.replace("the configuration can't be used: ", "");
      }
      return assert.fail(`${variable} was taken`);
    };
    const prefix = "LIFEBOAT_SCHEDULES_A_CLUSTERS";
    const inFile = "only the configuration's file can say it";
    assert.deepEqual(
      [prefix, `${prefix}_MATCH_EXPRESSIONS`, "LIFEBOAT_FLEET_DISCOVER", "LIFEBOAT_FLEET_DISCOVER_AWS_EKS_REGION"].map(
        told,
      ),
      [
        `${prefix}: schedules.a.clusters is no text: give what is in it: ${prefix}_NAMES, ${prefix}_MATCH_LABELS`,
        `${prefix}_MATCH_EXPRESSIONS: schedules.a.clusters.matchExpressions is no text: ${inFile}`,
        `LIFEBOAT_FLEET_DISCOVER: fleet.discover is no text: ${inFile}`,
        `LIFEBOAT_FLEET_DISCOVER_AWS_EKS_REGION: fleet.discover is no text: ${inFile}`,
      ],
    );
    assert.match(told("LIFEBOAT_FLEET"), /^LIFEBOAT_FLEET: fleet is no text: .*LIFEBOAT_FLEET_CONCURRENCY/);
  });

  describe("in Velero's words", () => {
    const manifest = (annotations: string) =>
      `fleet: {}\n---\napiVersion: velero.io/v1\nkind: Schedule\nmetadata: { name: nightly${annotations} }\nspec: { schedule: "@daily" }`;

    it("is of the cluster that its annotation names", () => {
      const { schedules } = fleet(manifest(", annotations: { lifeboat/cluster: dev }")).fleet;
      assert.deepEqual(schedules.nightly?.clusters, { names: ["dev"] });
    });

    it("is refused without one, and says what to write", () => {
      assert.match(problems(manifest("")), /schedules\.nightly.*annotat.*lifeboat\/cluster/);
    });

    it("is refused where there is no such cluster", () => {
      assert.match(problems(manifest(", annotations: { lifeboat/cluster: no }")), /no cluster "no", the clusters are/);
    });
  });

  const wrong: [what: string, rest: string, said: RegExp][] = [
    [
      "one cluster",
      'schedules: { a: { schedule: "@daily", cluster: dev }, b: { schedule: "@daily", clusters: {} } }',
      /schedules\.a\.cluster: .*names: \[dev\]/,
    ],
    [
      "no word of clusters",
      'fleet: {}\nschedules: { a: { schedule: "@daily" } }',
      /schedules\.a\.clusters: is missing/,
    ],
    [
      "a cluster that isn't there",
      'schedules: { a: { schedule: "@daily", clusters: { names: [aws.x] } } }',
      /no cluster "aws.x", the clusters are prod-eu/,
    ],
    [
      "a selector that says nothing",
      'schedules: { a: { schedule: "@daily", clusters: { matchExpressions: [{ key: a, operator: In }] } } }',
      /In for a needs values/,
    ],
    [
      "a discovery without tags",
      "fleet: { discover: { aws: { eks: { region: eu-west-1, tags: {} } } } }",
      /every cluster there would be meant/,
    ],
    [
      "a discovery in two clouds",
      "fleet: { discover: { a: { eks: { region: eu-west-1, tags: { a: b } }, gke: { project: p, labels: { a: b } } } } }",
      /exactly one of eks, gke, aks, and has eks, gke/,
    ],
    ["an empty discovery", "fleet: { discover: {} }", /fleet\.discover: is empty: leave it out/],
    [
      "a key that no label has",
      'schedules: { a: { schedule: "@daily", clusters: { matchLabels: { "a b": x } } } }',
      /schedules\.a\.clusters: "a b" is not a key that Kubernetes takes for a label/,
    ],
    ["a timeout that is none", "fleet: { timeout: soon }", /fleet\.timeout: is no duration/],
  ];
  for (const [what, rest, said] of wrong) it(`with ${what} is refused`, () => assert.match(problems(rest), said));

  it("is warned of where it chooses no cluster and none is discovered", () => {
    const warnings = (rest: string) => parseConfig(`location: s3://acme\n${CLUSTERS}\n${rest}`, {}).warnings;
    const schedules = 'schedules: { a: { schedule: "@daily", clusters: { matchLabels: { tier: prdo } } } }';
    assert.deepEqual(warnings(schedules), ["schedules.a.clusters chooses no cluster"]);
    const discover = "discover: { aws: { eks: { region: eu-west-1, tags: { tier: prdo } } } }";
    assert.deepEqual(warnings(`${schedules}\nfleet: { ${discover} }`), []);
  });

  for (const name of ["backups", "restores", "restic", "kopia", "plugins", "metadata"]) {
    it(`is of no cluster called ${name}`, () => {
      const text = `location: s3://acme\nclusters: { ${name}: { kubeconfig: "env:A" } }\nfleet: {}`;
      assert.throws(() => parseConfig(text, {}), /can't be called that/);
    });
  }
});

for (const [name, may] of [
  ["aws-eu.a", true],
  ["aws-eu.prod_1", true],
  ["gcp.europe-west1.prod", true],
  ["aws-eu.", false],
  ["aws-eu..", false],
  ["prod.-/x", false],
] as const)
  it(`a cluster may ${may ? "" : "not "}be called ${name}`, () => assert.equal(isClusterName(name), may));

describe("a fleet narrowed to one cluster", () => {
  it("is the configuration of that cluster alone, but for the location's folder", () => {
    const rest = `retention: { keepLast: 3 }, template: { includedNamespaces: [shop] }`;
    const whole = fleet(
      `schedules: { nightly: { schedule: "@daily", clusters: {}, ${rest} }, us: { schedule: "@daily", clusters: { matchLabels: { region: us } } } }`,
    );
    const alone = `location: s3://acme/fleet/prod-eu?region=eu-west-1
clusters: { prod-eu: { kubeconfig: "env:A", labels: { tier: prod, region: eu } } }
schedules: { nightly: { schedule: "@daily", cluster: prod-eu, ${rest} } }`;
    const { member, ...config } = narrowed(whole, "prod-eu", whole.clusters["prod-eu"]!);
    assert.deepEqual(config, parseConfig(alone, {}).config);
    assert.deepEqual({ ...member?.otherSchedules }, { us: "region=us" });
  });

  const locations: [location: string, member: string][] = [
    ["s3://acme", "s3://acme/dev"],
    ["s3://acme/?region=r&endpoint=http://127.0.0.1:9000/", "s3://acme/dev?region=r&endpoint=http://127.0.0.1:9000/"],
    ["azblob://box/a/b?account=x", "azblob://box/a/b/dev?account=x"],
    ["file:///var/backups/", "file:///var/backups/dev"],
    ["./backups", "./backups/dev"],
  ];
  for (const [location, member] of locations)
    it(`lies at ${member}`, () => assert.equal(memberLocation(location, "dev"), member));
});

describe("discovery", () => {
  const DISCOVER = `fleet: { discover: {
    aws: { eks: { region: eu-west-1, tags: { backup: "yes" } } },
    gcp: { gke: { project: acme, location: europe-west1, labels: { backup: "yes" } } },
    azure: { aks: { subscription: s, clientId: me, tags: { backup: "yes" } } } } }
schedules: { nightly: { schedule: "@daily", clusters: { names: [aws.prod], matchLabels: { team: shop } } } }`;
  const config = fleet(DISCOVER);
  const eks = (name: string) => ({ name, region: "eu-west-1" });
  const gke = (location: string, name: string) => ({ project: "acme", location, name });
  const aks = (resourceGroup: string, name: string) => ({ subscription: "s", resourceGroup, name, clientId: "me" });
  const yes = { backup: "yes" };

  /** A cloud with these clusters; `asked`: what of a reference it was asked for. */
  function cloud<Reference extends object>(
    clusters: [Reference, Record<string, string>][],
    asked: object[],
    fails?: Error,
  ) {
    const fits = (known: Partial<Reference>, reference: Reference) =>
      Object.entries(known).every(
        ([key, value]) => String(reference[key as keyof Reference]).toLowerCase() === String(value).toLowerCase(),
      );
    return async (): Promise<ManagedClusters<Reference>> => ({
      endpoint: () => assert.fail("nobody is reached"),
      token: () => assert.fail("nobody is reached"),
      async *list(known) {
        asked.push(known);
        for (const [reference, tags] of clusters) if (fits(known, reference)) yield { reference, tags };
        if (fails) throw fails;
      },
    });
  }

  function clouds(asked: object[] = [], fails?: Error): Platform["clusters"] {
    return {
      eks: cloud(
        [
          [eks("prod"), { ...yes, team: "shop" }],
          [eks("untagged"), {}],
          [eks("no"), { backup: "no" }],
        ],
        asked,
        fails,
      ),
      gke: cloud(
        [
          [gke("europe-west1", "a"), yes],
          [gke("europe-west1-b", "a"), yes],
        ],
        asked,
      ),
      aks: cloud(
        [
          [aks("Group.(1)", "Web"), yes],
          [aks("other", "web"), yes],
          [aks("größe", "x"), yes],
        ],
        asked,
      ),
    };
  }

  it("finds what has the tags, by names that no two have", async () => {
    const { clusters, problems } = await fleetClusters(config, clouds(), never);
    const found = ["aws.prod", "azure.group.(1).web", "azure.other.web", "gcp.europe-west1.a"];
    assert.deepEqual([...clusters.keys()], [...found, "dev", "prod-eu", "prod-us"].sort());
    assert.deepEqual(problems, ["discover azure: the cluster \"azure.größe.x\" has a name that can't be a folder's"]);
    const labels = { ...yes, team: "shop", "lifeboat/discovered-by": "aws" };
    assert.deepEqual(clusters.get("aws.prod"), { eks: eks("prod"), labels });
  });

  it("that fails in one cloud is told, and keeps nobody from the others, nor from what came before", async () => {
    const denied = new LifeboatError("denied", "can't list the EKS clusters");
    const { clusters, problems } = await fleetClusters(config, { ...clouds([], denied), gke: undefined }, never);
    assert(clusters.has("aws.prod") && clusters.has("azure.other.web") && clusters.has("dev"));
    assert.match(problems.join("\n"), /discover aws: can't list.*\n.*\ndiscover gcp: .*whose tokens can't be had here/);
  });

  const single: [name: string, reference: object, asked: object][] = [
    ["aws.prod", { eks: eks("prod") }, eks("prod")],
    ["gcp.europe-west1.a", { gke: gke("europe-west1", "a") }, gke("europe-west1", "a")],
    ["azure.group.(1).web", { aks: aks("Group.(1)", "Web") }, aks("group.(1)", "web")],
  ];
  for (const [name, reference, known] of single) {
    it(`of ${name} asks for that one alone`, async () => {
      const asked: object[] = [];
      const { labels: _, ...found } = await fleetCluster(config, name, clouds(asked), never);
      assert.deepEqual([found, asked], [reference, [known]]);
    });
  }

  for (const name of [
    "aws.untagged",
    "aws.no",
    "aws.none",
    "gcp.europe-west1-b.a",
    "azure.größe.x",
    "aws",
    "aws.",
    "elsewhere.prod",
    "constructor",
    "../dev",
    "aws.../x",
    "aws.a/b",
  ]) {
    it(`gives no reference for ${name}, whoever sends that`, async () => {
      await assert.rejects(fleetCluster(config, name, clouds(), never), (error) => isLifeboatError(error, "invalid"));
    });
  }

  it("gives clusters to schedules by their names and by their tags", async () => {
    const of = async (name: string) => Object.keys((await narrowedTo(config, name, clouds(), never)).schedules);
    assert.deepEqual([await of("aws.prod"), await of("azure.other.web"), await of("dev")], [["nightly"], [], []]);
  });
});
