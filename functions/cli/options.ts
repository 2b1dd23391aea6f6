import { type Command, InvalidArgumentError, Option } from "commander";
import { isLifeboatError, LifeboatError } from "../../core/errors.ts";

/** The flags that several commands share, as Velero names them where it has them. */
export interface SharedOptions {
  kubeconfig?: string;
  context?: string;
  cluster?: string;
  location?: string;
  config?: string;
  signingKey?: string;
  trustedKey?: string[];
  identity?: string;
  recipient?: string[];
  output?: OutputFormat;
  verbose?: boolean;
}

export const OUTPUT_FORMATS = ["table", "json", "yaml"] as const;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];

const SHARED: Record<keyof SharedOptions, () => Option> = {
  kubeconfig: () =>
    new Option("--kubeconfig <file>", "the cluster's kubeconfig (default: $KUBECONFIG, else ~/.kube/config)"),
  context: () => new Option("--context <name>", "the kubeconfig's context (default: its current one)"),
  cluster: () =>
    new Option(
      "--cluster <name>",
      "a cluster of the configuration, in place of a kubeconfig; of a fleet it tells whose backups",
    ).argParser(once),
  location: () =>
    new Option(
      "--location <url>",
      "where the backups lie: s3://…, file:///… or ./directory (default: $LIFEBOAT_LOCATION, else the configuration's)",
    ),
  config: () =>
    new Option("--config <file>", "the configuration (default: $LIFEBOAT_CONFIG, else ./lifeboat.yaml if it is there)"),
  signingKey: () =>
    new Option(
      "--signing-key <ref>",
      "the Ed25519 key that signs, e.g. file:signing.pem (default: the configuration's)",
    ),
  trustedKey: () =>
    new Option(
      "--trusted-key <ref>",
      "trust only what this public key, or another one so given, has signed (default: the configuration's)",
    ).argParser(commaList),
  identity: () =>
    new Option(
      "--identity <ref>",
      "the age identity that reads what is encrypted, e.g. file:identity.txt (default: the configuration's)",
    ),
  recipient: () =>
    new Option(
      "--recipient <key>",
      "encrypt to this public key of age, and others so given (default: the configuration's)",
    ).argParser(commaList),
  output: () =>
    new Option("-o, --output <format>", "how to print the result: table, json or yaml").choices(OUTPUT_FORMATS),
  verbose: () => new Option("-v, --verbose", "print the run's log while it works"),
};

/** What a verb is called with: its arguments, its flags with those given before it, and what calls it off. */
export interface Invocation<Options = unknown> {
  args: (string | string[] | undefined)[];
  options: SharedOptions & Options;
  signal: AbortSignal;
}

/** Carries out one verb. The exit code is 0 unless it gives another one. */
export type Verb<Options = unknown> = (invocation: Invocation<Options>) => Promise<number | undefined>;

/** Adds shared flags to a command; those that say which cluster and configuration are taken everywhere, and shown where they matter. */
export function addShared(command: Command, names: readonly (keyof SharedOptions)[]): Command {
  for (const name of names) command.addOption(SHARED[name]());
  for (const name of ["kubeconfig", "context", "cluster", "config"] as const) {
    if (!names.includes(name)) command.addOption(SHARED[name]().hideHelp());
  }
  return command;
}

/** Adds all shared flags to a command that has sub-commands, without showing them: `lifeboat backup -o json get` works too. */
export function addHiddenShared(command: Command): Command {
  for (const option of Object.values(SHARED)) command.addOption(option().hideHelp());
  return command;
}

/** Adds the flags of `FilterOptions`: who takes part in a backup or restore. */
export function addFilterFlags(command: Command): Command {
  return command
    .option("--include-namespaces <names>", "only these namespaces; globs match (default: all)", commaList)
    .option("--exclude-namespaces <names>", "without these namespaces", commaList)
    .option("--include-resources <names>", "only these resources, e.g. deploy,secrets,*.cert-manager.io", commaList)
    .option("--exclude-resources <names>", "without these resources", commaList)
    .addOption(
      optionalBoolean(
        "--include-cluster-resources",
        "cluster-scoped objects too, or not (default: if all namespaces are included)",
      ),
    )
    .option("-l, --selector <labels>", "only objects with these labels, e.g. app=web,tier!=db");
}

/** Adds the flags of `BackupFilterOptions`: who takes part in a backup, beside those of `addFilterFlags`. */
export function addBackupFilterFlags(command: Command): Command {
  const scopes = [
    ["cluster-scoped", "cluster-scoped"],
    ["namespace-scoped", "namespaced"],
  ];
  for (const [flag, scope] of scopes)
    command
      .option(
        `--include-${flag}-resources <names>`,
        `only these ${scope} resources, in place of the flags of both`,
        commaList,
      )
      .option(`--exclude-${flag}-resources <names>`, `without these ${scope} resources; * for none`, commaList);
  return command
    .option("--or-selector <labels>", OR_SELECTOR)
    .option("--ordered-resources <order>", "what comes first in the archive: 'pods=ns/a,ns/b;configmaps=ns/c'")
    .option(
      "--resource-policies-file <file>",
      "who takes part, and how volumes are copied, by the policies of a file, in Velero's syntax",
    )
    .option("--resource-policies-configmap <name>", "the same, by the policies of a ConfigMap in namespace velero");
}

export const OR_SELECTOR = "objects that one of several selectors selects: 'app=web or app=api'";

/** Makes the verb that `load` gives the command's action; it is loaded only when it is called. */
export function addAction<Options>(command: Command, signal: AbortSignal, load: () => Promise<Verb<Options>>): Command {
  return command.action(async (...given: unknown[]) => {
    const args = given.slice(0, -2) as Invocation["args"];
    const verb = await load();
    const options = optionsOf(command) as SharedOptions & Options;
    process.exitCode = (await hintingAt(options.cluster, () => verb({ args, options, signal }))) ?? 0;
  });
}

/** The commands that a failure's hint names are of the cluster that was named: of a fleet they need it as much. */
async function hintingAt<T>(cluster: string | undefined, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isLifeboatError(error) || !error.hint || cluster === undefined) throw error;
    const { kind, message, key } = error;
    const hint = error.hint.replace(/"(lifeboat backup [^"]+)"/g, `"$1 --cluster ${cluster}"`);
    throw new LifeboatError(kind, message, { hint, key, cause: error });
  }
}

/** The command's flags, and those of the commands above it that it does not have itself. */
function optionsOf(command: Command): object {
  return { ...(command.parent ? optionsOf(command.parent) : {}), ...command.opts() };
}

/** Of a flag that names one thing: to take the last of several would be to disregard the others. */
function once(value: string, previous: string | undefined): string {
  if (previous === undefined) return value;
  throw new InvalidArgumentError(`It is given twice, before as "${previous}".`);
}

/** Adds up comma lists: `--include-namespaces a,b --include-namespaces c`. */
export function commaList(value: string, previous: string[] = []): string[] {
  return [...previous, ...value.split(",").map((name) => name.trim())];
}

/** A flag that is true where it stands alone, and can be set with "=". */
export function optionalBoolean(flag: string, description: string): Option {
  return new Option(`${flag} [bool]`, description).choices(["true", "false"]);
}

/**
 * `args` with "=true" added to the flags that may stand alone, so that they don't take the argument after them for
 * their value: `backup create --include-cluster-resources full` names the backup "full", as in Velero.
 */
export function closeOptionalValues(args: string[], program: Command): string[] {
  const flags = new Set(optionsBelow(program).flatMap(({ optional, long }) => (optional && long ? [long] : [])));
  const end = args.includes("--") ? args.indexOf("--") : args.length;
  return args.map((arg, at) => (at < end && flags.has(arg) ? `${arg}=true` : arg));
}

function optionsBelow(command: Command): readonly Option[] {
  return [...command.options, ...command.commands.flatMap(optionsBelow)];
}
