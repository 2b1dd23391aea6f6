import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { isLifeboatError, LifeboatError, messageOf } from "../../core/errors.ts";
import { checkSameSchedules, checkSchedules, checkSettings } from "./settings.ts";
import { partsOf } from "./template.ts";

/** Lambda takes 4 KB of environment, of which each function's own part is not among what is measured. */
const MOST_ENVIRONMENT = 3900;

/** What of osls the plugin uses. */
interface Osls {
  serviceDir: string;
  configurationInput: { params?: Record<string, Record<string, unknown>> };
  processedInput: { isHelpRequest: boolean };
  classes: { Error: new (message: string, code: string) => Error };
}

/**
 * The plugin of serverless.yml. Its one variable, `${lifeboat:settings}`, is the settings, checked, and the parts of the
 * template that depend on them. They are checked before osls resolves variables: it would tell what is wrong once for each.
 */
// biome-ignore lint/style/noDefaultExport: it is how osls takes a plugin; it calls this with `new`, and takes what it returns.
export default function lifeboat(osls: Osls, { stage = "dev", param = [] }: { stage?: string; param?: string[] }) {
  const { default: defaults, [stage]: ofStage } = osls.configurationInput.params ?? {};
  const given = { ...defaults, ...ofStage, ...Object.fromEntries(param.map(split)) };
  let value: object = {};
  return {
    configurationVariablesSources: { lifeboat: { resolve: async () => ({ value }) } },
    async asyncInit(): Promise<void> {
      if (osls.processedInput.isHelpRequest) return;
      try {
        value = await settingsOf(given, osls.serviceDir);
      } catch (error) {
        if (!isLifeboatError(error)) throw error;
        throw new osls.classes.Error(`${error.message}:\n${error.hint}`, "LIFEBOAT_SETTINGS");
      }
    },
  };
}

function split(param: string): [name: string, value: string] {
  const [name = ""] = param.split("=", 1);
  return [name, param.slice(name.length + 1)];
}

async function settingsOf(given: Record<string, unknown>, folder: string): Promise<object> {
  const settings = checkSettings(given);
  const { schedules, configuration, configuration_secret } = settings;
  const rendered = checkSchedules(
    await readYaml(join(folder, schedules), "`lifeboat schedule render --target aws` writes it"),
  );
  const configured = configuration_secret
    ? undefined
    : await readYaml(
        join(folder, configuration),
        "give the path of lifeboat.yaml, one document of YAML, as `configuration`",
      );
  checkSameSchedules(rendered, configured);
  const parts = partsOf(settings, rendered, configured);
  if (Buffer.byteLength(JSON.stringify(parts.environment)) > MOST_ENVIRONMENT)
    throw new LifeboatError("invalid", "the configuration is too long for a function's environment (4 KB)", {
      hint: "put it into a secret, and give its ARN as `configuration_secret`",
    });
  return { ...settings, ...parts };
}

async function readYaml(path: string, hint: string): Promise<unknown> {
  try {
    return parse(await readFile(path, "utf8"));
  } catch (cause) {
    throw new LifeboatError("invalid", `${path} can't be read: ${messageOf(cause)}`, { hint, cause });
  }
}
