import assert from "node:assert/strict";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { lifeboat } from "../e2e/lifeboat.ts";
import { filesIn, makeScratch, type Scratch, shop, startCluster, startGate } from "./cli-sample.ts";

interface Case {
  what: string;
  /** After `backup create x`, unless it begins with a noun; {location}, {cluster} and {scratch} are filled in. */
  args: string;
  code: number;
  /** The whole of stderr. */
  says: string[];
  env?: Record<string, string>;
}

const DNS_1123 =
  "use lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit, at most 253";
const KUBECONFIG_HINT = "give one: --kubeconfig FILE, or try without a cluster: lifeboat demo";

/** What users get wrong, and all they are told. */
const CASES: Case[] = [
  {
    what: "no kubeconfig",
    args: "--location {location}",
    code: 2,
    says: [
      "error: there is no kubeconfig: neither --kubeconfig nor KUBECONFIG is given, and there is no file /nonexistent/.kube/config",
      `hint: ${KUBECONFIG_HINT}`,
    ],
  },
  {
    what: "a kubeconfig that is not there",
    args: "--location {location} --kubeconfig {scratch}/none",
    code: 2,
    says: ["error: there is no kubeconfig: no file {scratch}/none", `hint: ${KUBECONFIG_HINT}`],
  },
  {
    what: "kubeconfigs none of which is there",
    args: "--location {location}",
    env: { KUBECONFIG: "/nonexistent/a:/nonexistent/b" },
    code: 2,
    says: [
      "error: none of the kubeconfigs in KUBECONFIG exists: /nonexistent/a, /nonexistent/b",
      `hint: ${KUBECONFIG_HINT}`,
    ],
  },
  {
    what: "a broken kubeconfig",
    args: "--location {location} --kubeconfig {scratch}/broken",
    code: 2,
    says: [
      "error: the kubeconfig can't be used: line 2 is not valid YAML: it is indented as no line before it, or a [ or { before it is not closed",
      "hint: check it with: kubectl --kubeconfig FILE config view",
    ],
  },
  {
    what: "an unknown context",
    args: "--location {location} --kubeconfig {cluster} --context staging",
    code: 2,
    says: ['error: the kubeconfig has no context "staging"', "hint: its contexts are: lifeboat"],
  },
  {
    what: "a server that is not there",
    args: "--location {location} --kubeconfig {scratch}/unreachable",
    code: 1,
    says: [
      "error: the API server http://127.0.0.1:1 refuses connections (ECONNREFUSED)",
      "hint: nothing listens there: is the cluster running, and is `server` in the kubeconfig right?",
    ],
  },
  {
    what: "credentials that are refused",
    args: "--location {location} --kubeconfig {scratch}/refused",
    code: 4,
    says: [
      "error: the API server did not tell what it serves at /version: Unauthorized (401)",
      "hint: the credentials of this kubeconfig were refused: have they expired?",
    ],
  },
  {
    what: "no location",
    args: "--kubeconfig {cluster}",
    code: 2,
    says: [
      "error: no location is given",
      "hint: say where the backups lie: --location ./backups, or LIFEBOAT_LOCATION='s3://bucket/prefix?region=eu-west-1'",
    ],
  },
  {
    what: "a location of an unknown scheme",
    args: "--location ftp://backups --kubeconfig {cluster}",
    code: 2,
    says: [
      "error: no location here has the scheme ftp:",
      "hint: a location begins with file:// or s3:// or gs:// or azblob://",
    ],
  },
  {
    what: "a location that is none",
    args: "--location backups --kubeconfig {cluster}",
    code: 2,
    says: [
      "error: the location is neither a URL nor a path",
      "hint: write s3://bucket/prefix?region=R, file:///directory, or a path that begins with / or ./",
    ],
  },
  {
    what: "a location with a password in it",
    args: "--location s3://me:secret@backups --kubeconfig {cluster}",
    code: 2,
    says: [
      "error: the s3 location holds a credential",
      "hint: locations are shown and stored: give credentials by the environment instead",
    ],
  },
  {
    what: "a name that Kubernetes doesn't allow",
    args: "backup create Full_1 --location {location} --kubeconfig {cluster}",
    code: 2,
    says: ['error: "Full_1" can\'t name a backup', `hint: ${DNS_1123}`],
  },
  {
    what: "a time that is none",
    args: "--retain-until tomorrow --location {location} --kubeconfig {cluster}",
    code: 2,
    says: [
      'error: --retain-until: "tomorrow" is no time',
      'hint: write a day to come, "2030-01-31", a time, "2030-01-31T12:00:00Z", or a duration, "720h"',
    ],
  },
  {
    what: "a way of holding and not for how long",
    args: "--retain-mode compliance --location {location} --kubeconfig {cluster}",
    code: 2,
    says: ["error: --retain-mode holds nothing without --retain-until", "hint: give both, or neither"],
  },
  {
    what: "files of snapshots, and no snapshots",
    args: "--snapshot-move-data --snapshot-volumes=false --location {location} --kubeconfig {cluster}",
    code: 2,
    says: [
      "error: --snapshot-move-data copies the files of snapshots, of which --snapshot-volumes=false makes none",
      "hint: leave out one of the two; only volume policies would still make snapshots",
    ],
  },
  {
    what: "labels that no object could have",
    args: "--labels tier=a/b --location {location} --kubeconfig {cluster}",
    code: 2,
    says: ["error: --labels: tier: is not a value that Kubernetes takes for a label"],
  },
  {
    what: "resource policies with an unknown field and a star, told as they are written",
    args: "--resource-policies-file {scratch}/policies.yaml --location {location} --kubeconfig {cluster}",
    code: 2,
    says: [
      'error: {scratch}/policies.yaml: includeExcludePolicy: unknown field "includeNamespaceScopedResources": did you mean includedNamespaceScopedResources?; includeExcludePolicy.excludedClusterScopedResources: can\'t hold "*" here',
    ],
  },
  {
    what: "a time to live that is none",
    args: "--ttl soon --location {location} --kubeconfig {cluster}",
    code: 2,
    says: ['error: --ttl: "soon" is not a duration', 'hint: write it as Go does: "720h", "1h30m", "90s"'],
  },
  {
    what: "a timeout of no time",
    args: "--csi-snapshot-timeout 0s --location {location} --kubeconfig {cluster}",
    code: 2,
    says: ['error: --csi-snapshot-timeout: "0s" is no time at all', 'hint: write it as Go does: "720h", "1h30m"'],
  },
  {
    what: "a timeout without a unit",
    args: "--item-operation-timeout 4 --location {location} --kubeconfig {cluster}",
    code: 2,
    says: [
      'error: --item-operation-timeout: "4" is not a duration',
      'hint: write it as Go does: "720h", "1h30m", "90s"',
    ],
  },
  {
    what: "a broken selector",
    args: "-l app==a==b --location {location} --kubeconfig {cluster}",
    code: 2,
    says: [
      'error: --selector: label selector "app==a==b": can\'t understand "app==a==b"',
      "hint: write it like app=web,tier!=db,env in (a,b),!legacy",
    ],
  },
  {
    what: "an empty name in a list",
    args: "--include-namespaces a,,b --location {location} --kubeconfig {cluster}",
    code: 2,
    says: ["error: --include-namespaces holds an empty name", "hint: separate names by single commas: a,b"],
  },
  {
    what: "an empty selector, as of a shell variable that is not set",
    args: "--selector= --location {location} --kubeconfig {cluster}",
    code: 2,
    says: ["error: --selector is empty", "hint: leave it out to select everything"],
  },
  {
    what: "namespaces both in and out",
    args: "--include-namespaces a,b --exclude-namespaces b --location {location} --kubeconfig {cluster}",
    code: 2,
    says: [
      'error: "b" is both in --include-namespaces and in --exclude-namespaces',
      "hint: leave it out of one of them",
    ],
  },
  {
    what: "everything excluded",
    args: "--exclude-namespaces * --location {location} --kubeconfig {cluster}",
    code: 2,
    says: [
      'error: --exclude-namespaces: "*" would exclude everything',
      "hint: name what to leave out, or what to keep in --include-namespaces",
    ],
  },
  {
    what: "resources both in and out",
    args: "--include-resources cm --exclude-resources cm --location {location} --kubeconfig {cluster}",
    code: 2,
    says: [
      'error: "cm" is both in --include-resources and in --exclude-resources',
      "hint: leave it out of one of them",
    ],
  },
  {
    what: "an output format that is none",
    args: "-o xml",
    code: 2,
    says: [
      "error: option '-o, --output <format>' argument 'xml' is invalid. Allowed choices are table, json, yaml.",
      "hint: see: lifeboat backup create --help",
    ],
  },
  {
    what: "a boolean that is none",
    args: "--include-cluster-resources=maybe",
    code: 2,
    says: [
      "error: option '--include-cluster-resources [bool]' argument 'maybe' is invalid. Allowed choices are true, false.",
      "hint: see: lifeboat backup create --help",
    ],
  },
  {
    what: "an unknown flag",
    args: "--everything",
    code: 2,
    says: ["error: unknown option '--everything'", "hint: see: lifeboat backup create --help"],
  },
  {
    what: "a mistyped flag",
    args: "backup create --snapshot-volume",
    code: 2,
    says: ["error: unknown option '--snapshot-volume'", "hint: did you mean --snapshot-volumes?"],
  },
  {
    what: "a mistyped flag with its value",
    args: "backup create --snapshot-volume=false",
    code: 2,
    says: ["error: unknown option '--snapshot-volume'", "hint: did you mean --snapshot-volumes?"],
  },
  {
    what: "the consent of another command, to a deletion",
    args: "backup delete full --yes",
    code: 2,
    says: ["error: unknown option '--yes'", "hint: did you mean --confirm?"],
  },
  {
    what: "the consent of another command, to an undo",
    args: "restore undo full --confirm",
    code: 2,
    says: ["error: unknown option '--confirm'", "hint: did you mean --yes?"],
  },
  {
    what: "an unknown verb",
    args: "backup creat",
    code: 2,
    says: ["error: unknown command 'creat'", "hint: did you mean create?"],
  },
  {
    what: "an unknown noun",
    args: "restores get",
    code: 2,
    says: ["error: unknown command 'restores'", "hint: did you mean restore?"],
  },
  {
    what: "a missing name",
    args: "backup describe",
    code: 2,
    says: ["error: missing required argument 'name'", "hint: see: lifeboat backup describe --help"],
  },
  {
    what: "one argument too many",
    args: "backup get a b",
    code: 2,
    says: [
      "error: too many arguments for 'get'. Expected 1 argument but got 2: a, b.",
      "hint: see: lifeboat backup get --help",
    ],
  },
  {
    what: "a backup that is there already",
    args: "backup create full --location {location} --kubeconfig {cluster}",
    code: 1,
    says: [
      'error: backup "full" already exists in file://{location}',
      "hint: a backup is never overwritten: choose another name, or delete it first",
    ],
  },
  ...["backup get", "backup describe", "backup download", "restore create --kubeconfig {cluster} --from-backup"].map(
    (verb) => ({
      what: `an unknown backup (${verb})`,
      args: `${verb} none --location {location}`,
      code: 5,
      says: [
        'error: there is no backup "none" in file://{location}',
        'hint: "lifeboat backup get" lists what there is',
      ],
    }),
  ),
  {
    what: "an unknown backup's log",
    args: "backup logs none --location {location}",
    code: 5,
    says: ['error: no log of backup "none" in file://{location}', 'hint: "lifeboat backup get" lists what there is'],
  },
  {
    what: "an unknown restore",
    args: "restore describe none --location {location}",
    code: 5,
    says: [
      'error: there is no restore "none" in file://{location}',
      'hint: "lifeboat restore get" lists what there is',
    ],
  },
  {
    what: "a restore of nothing",
    args: "restore create --location {location} --kubeconfig {cluster}",
    code: 2,
    says: [
      "error: a restore is from a backup, from a schedule or by a plan",
      "hint: give one of --from-backup NAME, --from-schedule NAME and --plan ID",
    ],
  },
  {
    what: "a restore of a backup and of a schedule",
    args: "restore create --from-backup a --from-schedule b --location {location} --kubeconfig {cluster}",
    code: 2,
    says: [
      "error: a restore is from a backup, from a schedule or by a plan",
      "hint: give one of --from-backup NAME, --from-schedule NAME and --plan ID",
    ],
  },
  {
    what: "a restore from a schedule that has no backup",
    args: "restore create --from-schedule hourly --location {location} --kubeconfig {cluster}",
    code: 5,
    says: [
      'error: schedule "hourly" has no backup in file://{location} that is Completed',
      'hint: "lifeboat backup get" lists what there is',
    ],
  },
  {
    what: "a domain mapping that is none",
    args: "restore create --from-backup full --map-domain a.example --location {location} --kubeconfig {cluster}",
    code: 2,
    says: ['error: --map-domain: "a.example" is not a pair', "hint: write it like shop.example=green.example"],
  },
  {
    what: "a zone mapping that is none",
    args: "restore create --from-backup full --zone-mapping eu-1a --location {location} --kubeconfig {cluster}",
    code: 2,
    says: ['error: --zone-mapping: "eu-1a" is not a pair', "hint: write it like eu-west-1a=eu-west-1b"],
  },
  {
    what: "a domain mapped twice",
    args: "restore create --from-backup full --map-domain a.example=b,a.example=c --location {location} --kubeconfig {cluster}",
    code: 2,
    says: ['error: --map-domain: "a.example" stands there twice', "hint: write it like shop.example=green.example"],
  },
  {
    what: "a domain mapped onto itself",
    args: "restore create --from-backup full --map-domain a.example=A.EXAMPLE --location {location} --kubeconfig {cluster}",
    code: 2,
    says: ['error: domainMapping maps "a.example" to "A.EXAMPLE": that is the same'],
  },
  {
    what: "a number of replicas that is none",
    args: "restore create --from-backup full --scale-to none --location {location} --kubeconfig {cluster}",
    code: 2,
    says: ['error: --scale-to: "none" is not a number of replicas', "hint: write it like --scale-to 0"],
  },
  {
    what: "activating a restore that isn't there",
    args: "restore activate gone --location {location} --kubeconfig {cluster}",
    code: 5,
    says: [
      'error: there is no restore "gone" in file://{location}',
      'hint: "lifeboat restore get" lists what there is',
    ],
  },
  {
    what: "a namespace mapping that is none",
    args: "restore create --from-backup full --namespace-mappings shop --location {location} --kubeconfig {cluster}",
    code: 2,
    says: ['error: --namespace-mappings: "shop" is not a pair', "hint: write it like shop:shop-copy,db:db-copy"],
  },
  ...[
    "--location {location} --kubeconfig {cluster}",
    "restore create --from-backup full --kubeconfig {cluster} --location {location}",
  ].map((args) => ({
    what: `a private key as the recipient of ${args.split(" ")[0] === "restore" ? "what a restore keeps" : "a backup"}`,
    args: `${args} --recipient AGE-SECRET-KEY-1QQPQQSZQS`,
    code: 2,
    says: [
      'error: a recipient is a private key of age, not a public one, which begins with "age1"',
      'hint: age-keygen prints one, "age-keygen -y FILE" that of an identity; the private key is for reading alone: --identity file:FILE',
    ],
  })),
  {
    what: "a policy that is none",
    args: "restore create --from-backup full --existing-resource-policy merge",
    code: 2,
    says: [
      "error: option '--existing-resource-policy <policy>' argument 'merge' is invalid. Allowed choices are none, update, recreate.",
      "hint: see: lifeboat restore create --help",
    ],
  },
];

describe("bad input", { concurrency: 3 }, () => {
  let scratch: Scratch;
  let cluster: Awaited<ReturnType<typeof startCluster>>;
  let gates: Awaited<ReturnType<typeof startGate>>[] = [];
  let env: Record<string, string>;
  let untouched: string[];

  before(async () => {
    scratch = await makeScratch();
    cluster = await startCluster(scratch, "source", shop());
    gates = [
      await startGate(cluster, () => 401),
      await startGate(cluster, (path) => (path.startsWith("/api/v1/secrets") ? 403 : undefined)),
      await startGate(cluster, (path) => (path === "/api/v1/namespaces" ? 403 : undefined)),
    ];
    await scratch.write("broken", "{ clusters: [\n");
    await scratch.write(
      "policies.yaml",
      'version: v1\nincludeExcludePolicy: { excludedClusterScopedResources: ["*"], includeNamespaceScopedResources: [pods] }\n',
    );
    await scratch.write("unreachable", cluster.kubeconfig.replace(cluster.url, "http://127.0.0.1:1"));
    await scratch.write("refused", gates[0]!.kubeconfig);
    await scratch.write("partial", gates[1]!.kubeconfig);
    await scratch.write("nobody", gates[2]!.kubeconfig);
    env = { NODE_COMPILE_CACHE: scratch.path("cache") };
    const { code, stderr } = await lifeboat(
      fill("backup create full --location {location} --kubeconfig {cluster}"),
      env,
    );
    assert.equal(code, 0, stderr);
    untouched = await filesIn(scratch.path("bucket"));
  });
  after(async () => {
    await Promise.all([...gates, cluster].map((server) => server?.stop()));
    await scratch?.remove();
  });

  const fillIn = (text: string) =>
    text
      .replaceAll("{location}", scratch.path("bucket"))
      .replaceAll("{cluster}", cluster.file)
      .replaceAll("{scratch}", scratch.dir);
  const fill = (args: string) => {
    const words = /^(backup|restores?) /.test(args) ? args : `backup create x ${args}`;
    return words.split(" ").map(fillIn);
  };

  for (const { what, args, code, says, env: more } of CASES) {
    it(`${what}: exit code ${code}`, async () => {
      const ended = await lifeboat(fill(args), { ...env, ...more });
      assert.deepEqual(ended, { code, stdout: "", stderr: says.map((line) => `${fillIn(line)}\n`).join("") });
      assert.deepEqual(await filesIn(scratch.path("bucket")), untouched);
    });
  }

  it("values in variables only: no word of a file that isn't there", async () => {
    const { code, stderr } = await lifeboat(["schedule", "get"], { LIFEBOAT_LOCATION: "backups" });
    assert.equal(code, 2);
    assert.match(stderr, /^error: the configuration can't be used: LIFEBOAT_LOCATION: [^\n]+\n$/);
    const nothing = await lifeboat(["schedule", "get"], {});
    assert.match(
      nothing.stderr,
      /\nhint: there is no lifeboat\.yaml here: name the configuration with --config FILE\n$/,
    );
  });

  it("Google Cloud without credentials: no warning of its library", async () => {
    const own = { LIFEBOAT_GCP_ENDPOINT: "http://127.0.0.1:1", LIFEBOAT_CONFIG: "gcp-sm://projects/p/secrets/s" };
    const { stderr } = await lifeboat(["schedule", "get"], own);
    assert.match(stderr, /^error: can't read the secret [^\n]+\nhint: check GOOGLE_APPLICATION_CREDENTIALS[^\n]+\n$/);
  });

  it("a user who may not list namespaces: denied, nothing is written", async () => {
    const { code, stderr } = await lifeboat(fill("--location {scratch}/denied --kubeconfig {scratch}/nobody"), env);
    assert.match(
      stderr,
      /^error: the API server did not list namespaces: .*forbidden.* \(403\)\nhint: grant it by RBAC.*\n$/,
    );
    assert.equal(code, 4);
    assert.deepEqual(await filesIn(scratch.path("denied")), []);
  });

  it("a user who may not list secrets: a partial backup, whose report names them", async () => {
    const args = "--location {scratch}/partly --kubeconfig {scratch}/partial";
    const { code, stdout, stderr } = await lifeboat(fill(args), env);
    assert.equal(code, 3);
    assert.match(
      stdout,
      /^Backup x: PartiallyFailed\n.*\n {2}Problems: +1 error, 0 warnings\n\nErrors:\n {2}secrets: .*\/api\/v1\/secrets is forbidden/s,
    );
    assert.match(stderr, /\nWhat went wrong:\n {2}npx lifeboat backup describe x --location /);
    const described = await lifeboat(fill("backup describe x --location {scratch}/partly"), env);
    assert.match(described.stdout, /\nErrors:\n {2}secrets: .*forbidden/);
    assert.equal(described.code, 0);
  });

  it("a location that takes nothing, not even the log: no word of a log, and nothing on stdout", async () => {
    await mkdir(scratch.path("full"));
    for (const folder of ["backups", "metadata"]) await scratch.write(`full/${folder}`, "not a folder");
    const args = [
      "backup",
      "create",
      "x",
      "-o",
      "json",
      "--location",
      scratch.path("full"),
      "--kubeconfig",
      cluster.file,
    ];
    const { code, stdout, stderr } = await lifeboat(args, env);
    assert.match(stderr, /^error: can't put metadata\/lifeboat\/locks\/backups\/x\/[^\n]+\n$/m);
    assert.doesNotMatch(stderr, /^log:/m);
    assert.deepEqual([code, stdout], [2, ""]);
  });

  /** A restore of a backup whose archive is `damage` of a good one ends before anything is written to the cluster. */
  const refusesArchive = async (
    name: string,
    damage: (tar: Buffer) => Buffer | Promise<Buffer>,
    message: RegExp,
    isVeleros = false,
  ) => {
    const location = scratch.path(name);
    assert.equal(
      (await lifeboat(["backup", "create", "b", "--location", location, "--kubeconfig", cluster.file], env)).code,
      0,
    );
    const folder = `${location}/backups/b`;
    await writeFile(`${folder}/b.tar.gz`, await damage(await readFile(`${folder}/b.tar.gz`)));
    if (isVeleros) {
      await rm(`${folder}/b-index.json.gz`);
      const record = JSON.parse(await readFile(`${folder}/velero-backup.json`, "utf8"));
      delete record.metadata.annotations;
      await writeFile(`${folder}/velero-backup.json`, JSON.stringify(record));
    }
    const target = await startCluster(scratch, name);
    try {
      const objects = target.count();
      const { code, stderr } = await lifeboat(
        ["restore", "create", "r", "--from-backup", "b", "--location", location, "--kubeconfig", target.file],
        env,
      );
      assert.match(stderr, message);
      assert.match(stderr, /^error: [^\n]+\n(hint: [^\n]+\n)?log: npx lifeboat restore logs r --location [^\n]+\n$/);
      assert.equal(code, 6);
      assert.equal(target.count(), objects);
      assert.deepEqual(
        (await filesIn(location)).filter((file) => file.startsWith("restores/")),
        [],
      );
    } finally {
      await target.stop();
    }
  };

  it("a truncated archive: corrupt, nothing is restored", () =>
    refusesArchive("truncated", (tar) => tar.subarray(0, tar.length / 2), /archive backups\/b\/b\.tar\.gz is damaged/));

  it("an archive of Velero with ../ paths: corrupt, nothing is restored", async () => {
    const evil = async () => {
      const tar = pack();
      const body = JSON.stringify(shop()[1]);
      tar.entry({ name: "resources/configmaps/namespaces/shop/settings-0.json" }, body);
      tar.entry({ name: "resources/configmaps/../../../../../tmp/evil.json" }, body);
      tar.finalize();
      const chunks: Buffer[] = [];
      for await (const chunk of tar) chunks.push(chunk as Buffer);
      return gzipSync(Buffer.concat(chunks));
    };
    await refusesArchive("traversal", evil, /\.\./, true);
  });
});
