import { parse } from "yaml";
import { z } from "zod";
import { LifeboatError } from "../../core/errors.ts";

/** What is no text comes from the command line as YAML. */
const yaml = <Schema extends z.ZodType>(schema: Schema) =>
  z.preprocess((value) => (typeof value === "string" ? (read(value) ?? value) : value), schema);

function read(text: string): unknown {
  try {
    return parse(text);
  } catch {
    return undefined;
  }
}

const text = (pattern: RegExp, message: string) => z.string(message).regex(pattern, message);
const flag = (name: string) => yaml(z.boolean(`${name}: true or false.`));
const whole = (least: number, most: number, message: string) =>
  yaml(z.int(message).min(least, message).max(most, message));
const list = (pattern: RegExp, message: string) => yaml(z.array(text(pattern, message), message));

const KEY = /^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key\/[A-Za-z0-9-]+$/;
const SECRET = /^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+$/;
const ROLE = /^[A-Za-z0-9_+=,.@-]{1,64}$/;
const LOG_DAYS = [
  1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];

const ofBucket = "bucket: 3 to 63 lower-case letters, digits, hyphens and dots, a letter or digit first and last.";
const ofSecrets =
  "secrets: whole ARNs of single secrets, arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-XXXXXX, without *, for backup, restore, retention.";
const ofVolumes = "volumes: some of disks, csi and restic.";
const ofVpc = "vpc: {subnet_ids: [subnet-…], security_group_ids: [sg-…]}, at least one of each.";
const ofJob =
  "schedules: job is {kind: backup, schedule: NAME}, {kind: verify} or {kind: retention}: `lifeboat schedule render --target aws` makes them.";
const secrets = z.array(text(SECRET, ofSecrets), ofSecrets).default([]);

/** The variables of `infra/modules/aws`, but for `package`; here `configuration` and `schedules` are paths of files. */
const Settings = z.strictObject({
  name: text(/^[a-z][a-z0-9-]{0,23}$/, "name: up to 24 lower-case letters, digits and hyphens, a letter first."),
  bucket: text(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, ofBucket).refine(
    (name) => !/[.][.]|^[0-9.]+$|^xn--|-s3alias$/.test(name),
    ofBucket,
  ),
  create_bucket: flag("create_bucket"),
  prefix: text(
    /^([A-Za-z0-9_.-]+(\/[A-Za-z0-9_.-]+)*)?$/,
    "prefix: letters, digits, _ . - and slashes between them, none at either end.",
  ),
  bucket_kms_key: text(KEY, "bucket_kms_key: the ARN of a key, arn:aws:kms:REGION:ACCOUNT:key/ID.").nullable(),
  object_lock: flag("object_lock"),
  write_once: flag("write_once"),
  retain: flag("retain"),
  noncurrent_days: whole(1, 2 ** 31, "noncurrent_days: a whole number of days, 1 at least."),
  configuration: z.string("configuration: the path of lifeboat.yaml."),
  configuration_secret: text(
    SECRET,
    "configuration_secret: the ARN of a secret, arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-XXXXXX.",
  ).nullable(),
  secrets: yaml(z.strictObject({ backup: secrets, restore: secrets, retention: secrets }, ofSecrets)),
  secrets_kms_keys: list(KEY, "secrets_kms_keys: ARNs of keys, arn:aws:kms:REGION:ACCOUNT:key/ID."),
  clusters: list(
    /^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/,
    "clusters: names of EKS clusters, not ARNs: letters, digits, - and _.",
  ),
  fleet: flag("fleet"),
  hooks: flag("hooks"),
  volumes: yaml(z.array(z.enum(["disks", "csi", "restic"], ofVolumes), ofVolumes)),
  volumes_kms_keys: list(KEY, "volumes_kms_keys: ARNs of keys, arn:aws:kms:REGION:ACCOUNT:key/ID."),
  restic_principals: list(ROLE, "restic_principals: names of IAM roles, not ARNs, and never *."),
  schedules: z.string("schedules: the path of the file that `lifeboat schedule render --target aws` has written."),
  restore_principals: list(ROLE, "restore_principals: names of IAM roles, not ARNs, and never *."),
  vpc: yaml(
    z.strictObject(
      {
        subnet_ids: z.array(text(/^subnet-/, ofVpc), ofVpc).min(1, ofVpc),
        security_group_ids: z.array(text(/^sg-/, ofVpc), ofVpc).min(1, ofVpc),
      },
      ofVpc,
    ),
  ).nullable(),
  memory_size: whole(512, 10240, "memory_size: 512 to 10240 MB."),
  concurrency: whole(1, 1000, "concurrency: a whole number, 1 to 1000."),
  retries: whole(0, 2, "retries: 0, 1 or 2."),
  log_retention_days: yaml(z.number()).refine(
    (days) => LOG_DAYS.includes(days),
    `log_retention_days: one of CloudWatch's: ${LOG_DAYS.join(", ")}.`,
  ),
  kms_key: text(KEY, "kms_key: the ARN of a key, arn:aws:kms:REGION:ACCOUNT:key/ID.").nullable(),
  alarm_actions: list(/^arn:/, "alarm_actions: ARNs, as arn:aws:sns:REGION:ACCOUNT:TOPIC."),
  tags: yaml(z.record(z.string(), z.string(), "tags: a map of texts.")),
});

const rendered = "schedules: the file is what `lifeboat schedule render --target aws` writes.";

/** As the module's variable has it: of day and weekday one is ?. */
const EXPRESSION = (() => {
  const [minute, hour, day, month, weekday, year] = [
    "[0-5]?[0-9]",
    "([01]?[0-9]|2[0-3])",
    "((0?[1-9]|[12][0-9]|3[01])W?|LW?)",
    "(0?[1-9]|1[0-2]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)",
    "([1-7]|SUN|MON|TUE|WED|THU|FRI|SAT)(L|#[1-5])?",
    "(19[7-9][0-9]|2[01][0-9]{2})",
  ].map((value) => {
    const one = `([*]|${value}(-${value})?)(/[1-9][0-9]?)?`;
    return `${one}(,${one})*`;
  });
  const cron = `cron[(]${minute} ${hour} (${day} ${month} [?]|[?] ${month} ${weekday}) ${year}[)]`;
  return new RegExp(`^(${cron}|rate[(](1 (minute|hour|day)|([2-9]|[1-9][0-9]+) (minute|hour|day)s)[)])$`);
})();

const Schedules = z.record(
  text(
    /^[a-z0-9]([a-z0-9_-]{0,33}[a-z0-9])?$/,
    "schedules: names of up to 35 lower-case letters, digits, hyphens and underscores, a letter or digit first and last.",
  ),
  z.object(
    {
      expressions: z
        .array(
          text(
            EXPRESSION,
            "schedules: every expression is cron(minute hour day month weekday year), of day and weekday one ?, or rate(…), as EventBridge has them, not a line of crontab: `lifeboat schedule render --target aws` makes them.",
          ),
        )
        .min(1, "schedules: each has an expression at least."),
      time_zone: text(
        /^[A-Za-z][A-Za-z0-9_+/-]*$/,
        "schedules: time_zone is an IANA name, like Europe/Berlin.",
      ).default("UTC"),
      job: z.looseObject(
        {
          kind: z.enum(["backup", "verify", "retention"], ofJob),
          schedule: text(
            /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/,
            "schedules: the job's schedule is a name of the configuration: lower-case letters, digits and hyphens.",
          ).optional(),
        },
        ofJob,
      ),
      interval_seconds: whole(60, 2 ** 31, "schedules: interval_seconds is a whole number, 60 at least."),
      paused: flag("schedules: paused").default(false),
    },
    rendered,
  ),
  rendered,
);

export type Settings = z.infer<typeof Settings>;
export type Schedules = z.infer<typeof Schedules>;

/** Throws `invalid` with all that is wrong with them. */
export function checkSettings(given: unknown): Settings {
  return checked(Settings, given, "the settings");
}

/** Takes what `lifeboat schedule render --target aws` writes. Throws `invalid` with all that is wrong with it. */
export function checkSchedules(given: unknown): Schedules {
  return checked(z.object({ schedules: Schedules }, rendered), given, "the schedules").schedules;
}

/** Throws `invalid` where the configuration, if it is known, has other schedules than the clock was rendered of. */
export function checkSameSchedules(rendered: Schedules, configuration: unknown): void {
  const configured = (configuration as { schedules?: object } | undefined)?.schedules;
  if (!configured) return;
  const clocked = Object.values(rendered).flatMap(({ job }) => job.schedule ?? []);
  const names = Object.keys(configured);
  const different = [
    ...names.filter((name) => !clocked.includes(name)),
    ...new Set(clocked.filter((name) => !names.includes(name))),
  ];
  if (different.length > 0)
    throw new LifeboatError(
      "invalid",
      `the configuration and \`schedules\` have different ones: ${different.join(", ")}`,
      {
        hint: "`lifeboat schedule render --target aws` writes them from the configuration",
      },
    );
}

function checked<Schema extends z.ZodType>(schema: Schema, given: unknown, what: string): z.infer<Schema> {
  const { success, data, error } = schema.safeParse(given);
  if (success) return data;
  const messages = error.issues.flatMap((issue) => {
    if (issue.code === "invalid_key") return issue.issues.map(({ message }) => message);
    if (issue.code !== "unrecognized_keys" || issue.path.length > 0) return issue.message;
    return `${issue.keys.join(", ")}: no such setting; see params in serverless.yml.`;
  });
  throw new LifeboatError("invalid", `${what} are refused`, { hint: [...new Set(messages)].join("\n") });
}
