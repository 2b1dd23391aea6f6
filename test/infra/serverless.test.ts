import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { parse } from "yaml";
import plugin from "../../infra/serverless/plugin.ts";
import { checkSchedules, checkSettings } from "../../infra/serverless/settings.ts";
import { partsOf } from "../../infra/serverless/template.ts";
import { lifeboat } from "../e2e/lifeboat.ts";
import { checkov, suppressionsIn, told } from "../rig/lint.ts";
import { npmTool } from "../rig/npmtool.ts";
import { pythonWith } from "../rig/pythontool.ts";
import { requireOrSkip } from "../rig/require.ts";
import { blocksOf } from "./blocks.ts";

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, "../..");
const MODULE = join(ROOT, "infra/modules/aws");

const REGION = "eu-west-1";
const ACCOUNT = "111122223333";
const ON_CALL = `arn:aws:sns:${REGION}:${ACCOUNT}:oncall`;
const secretArn = (name: string) => `arn:aws:secretsmanager:${REGION}:${ACCOUNT}:secret:${name}-AbCdEf`;
const keyArn = (id: number) => `arn:aws:kms:${REGION}:${ACCOUNT}:key/${id}`;
const functionArn = (job: string) => `arn:aws:lambda:${REGION}:${ACCOUNT}:function:lifeboat-${job}`;
const machineArn = (job: string) => `arn:aws:states:${REGION}:${ACCOUNT}:stateMachine:lifeboat-${job}`;
const DEAD_LETTERS = `arn:aws:sqs:${REGION}:${ACCOUNT}:lifeboat-dead-letters`;

const CONFIGURATION = `
location: s3://elsewhere
clusters: { prod: { eks: { name: prod, region: ${REGION} } } }
schedules:
  hourly:
    schedule: "0 * * * *"
    timeZone: Europe/Berlin
    template: { hooks: { resources: [ { name: sync, pre: [ { exec: { command: [sh, -c, 'echo \${HOME} \\\${env:HOME} \${AWS::Region}'] } } ] } ] } }
  friday-13: { schedule: "0 2 13 * 5" }
  paused: { schedule: "@every 6h", paused: true }
retentionSchedule: "45 4 * * *"
verify: { schedule: "@daily" }
`;

/** The settings of the Terraform module's own test. */
const SETTINGS = {
  bucket: "acme-backups",
  prefix: "prod",
  clusters: "[prod]",
  secrets: `{backup: ["${secretArn("prod-kubeconfig")}"], restore: ["${secretArn("green-kubeconfig")}"]}`,
  restore_principals: "[operator]",
  alarm_actions: `["${ON_CALL}"]`,
};

const EVERYTHING_BUT_HOOKS = {
  ...SETTINGS,
  retain: "true",
  object_lock: "true",
  write_once: "false",
  vpc: "{subnet_ids: [subnet-01234567], security_group_ids: [sg-01234567]}",
  bucket_kms_key: keyArn(1),
  secrets_kms_keys: `["${keyArn(2)}"]`,
  kms_key: keyArn(3),
  configuration_secret: secretArn("lifeboat"),
  tags: "{team: platform}",
};

const VOLUMES = {
  volumes: "[disks, csi, restic]",
  volumes_kms_keys: `["${keyArn(4)}"]`,
  restic_principals: "[restic]",
};

/** What checkov finds in the template beside what it skips in the Terraform module, and the reason for each. */
const EXPLAINED: Record<string, string> = {
  CKV_AWS_27: "SQS encrypts dead letters by keys of its own, which checkov knows in Terraform only",
  CKV_AWS_111: "interfaces in a VPC take no single resource; the code itself is denied them",
  CKV_AWS_117: "vpc is a choice",
  CKV_AWS_158: "kms_key is a choice",
  CKV_AWS_173: "kms_key is a choice",
};

/** Ends the process that tries to open a connection. */
const OFFLINE = `import net from "node:net"; net.Socket.prototype.connect = () => process.exit(99);`;

describe("serverless.yml, packaged by osls", { skip: requireOrSkip("rig", ["npm:osls"]) }, () => {
  let dir: string;
  let schedules: string;
  const services: Record<string, Template> = {};
  const files: string[] = [];

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "lifeboat-serverless-"));
    await writeFile(join(dir, "lifeboat.yaml"), CONFIGURATION);
    const rendering = ["schedule", "render", "--target", "aws", "--config", join(dir, "lifeboat.yaml")];
    schedules = (await lifeboat(rendering)).stdout;
    services.usual = await templateOf("usual", SETTINGS);
    services.everything = await templateOf("everything", EVERYTHING_BUT_HOOKS);
    services.other = await templateOf("other", { ...SETTINGS, create_bucket: "false", hooks: "true", fleet: "true" });
    services.volumes = await templateOf("volumes", { ...SETTINGS, ...VOLUMES });
  });
  after(() => rm(dir, { recursive: true, force: true }));

  /** Packages in a folder of its own, with no credentials and no network. */
  async function osls(name: string, settings: Record<string, string>, files: Record<string, string> = {}) {
    const folder = join(dir, name);
    await mkdir(join(folder, "dist"), { recursive: true });
    await copyFile(join(ROOT, "serverless.yml"), join(folder, "serverless.yml"));
    await symlink(join(ROOT, "infra"), join(folder, "infra"));
    await writeFile(join(folder, "dist/lifeboat-aws.zip"), "a zip");
    await writeFile(join(folder, "lifeboat.yaml"), CONFIGURATION);
    await writeFile(join(folder, "schedules.json"), schedules);
    for (const [file, content] of Object.entries(files)) await writeFile(join(folder, file), content);
    const params = Object.entries(settings).flatMap(([key, value]) => ["--param", `${key}=${value}`]);
    const program = join(await npmTool("osls"), "node_modules/osls/bin/serverless.js");
    const env = {
      PATH: dirname(process.execPath),
      HOME: folder,
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(OFFLINE)}`,
    };
    await run(process.execPath, [program, "package", "--region", REGION, ...params], { cwd: folder, env });
    return folder;
  }

  async function templateOf(name: string, settings: Record<string, string>): Promise<Template> {
    const folder = await osls(name, settings);
    const file = join(folder, ".serverless/cloudformation-template-update-stack.json");
    files.push(file);
    return resolved(await readFile(file, "utf8"));
  }

  const usual = (type: string) => properties(services.usual, type);
  const statements = (service: string, job: string) =>
    properties(services[service], "AWS::IAM::Role").find((role) => role.RoleName === `lifeboat-${job}`).Policies[0]
      .PolicyDocument.Statement;
  const actions = (service: string, job: string): string[] =>
    statements(service, job).flatMap(({ Action }: { Action: string[] }) => Action);
  const resourcesOf = (service: string, job: string, sid: string): string[] =>
    statements(service, job).find(({ Sid }: { Sid: string }) => Sid === sid)?.Resource;

  test("is a template in which cfn-lint finds nothing", { skip: requireOrSkip("rig", ["moto"]) }, async () => {
    const python = await pythonWith("moto");
    await run(python, [join(dirname(python), "cfn-lint"), "--regions", REGION, "--", ...files]).catch((error) =>
      assert.fail(error.stdout),
    );
  });

  test("is a template in which checkov finds nothing that has no reason", {
    skip: requireOrSkip("rig", ["checkov"]),
  }, async () => {
    const templates = join(dir, "templates");
    await mkdir(templates);
    const names = Object.keys(services);
    for (const [index, file] of files.entries()) await copyFile(file, join(templates, `${names[index]}.json`));
    const { passed, failed } = await checkov(templates);
    assert(passed > 100, `only ${passed} checks`);
    const module = ["main.tf", "machines.tf", "bucket.tf"].map(async (name) =>
      suppressionsIn(name, await readFile(join(MODULE, name), "utf8")),
    );
    const explained = new Set((await Promise.all(module)).flat().map(({ rule }) => rule));
    const others = failed.filter(({ rule }) => !explained.has(rule));
    assert.deepEqual([...new Set(others.map(({ rule }) => rule))].sort(), Object.keys(EXPLAINED).sort(), told(others));
    const given = others.filter(({ rule, file }) => file === "everything.json" && EXPLAINED[rule]?.includes("choice"));
    assert.equal(given.length, 0, told(given));
  });

  test("makes the functions that the Terraform module makes, of the zip that `npm run build` makes", async () => {
    const main = await readFile(join(MODULE, "main.tf"), "utf8");
    const [, body = ""] = /^resource "aws_lambda_function" "this" \{\n(.*?)^\}/ms.exec(main) ?? [];
    const written = (name: string) => JSON.parse(new RegExp(`^  ${name} += (.*)$`, "m").exec(body)?.[1] ?? "null");
    const functions = usual("AWS::Lambda::Function");
    assert.deepEqual(functions.map(({ FunctionName }) => FunctionName).sort(), [
      "lifeboat-backup",
      "lifeboat-restore",
      "lifeboat-retention",
    ]);
    for (const made of functions) {
      assert.equal(made.Runtime, written("runtime"));
      assert.equal(made.Handler, written("handler"));
      assert.deepEqual(made.Architectures, written("architectures"));
      assert.equal(made.Timeout, written("timeout"));
      assert.equal(made.MemorySize, 1769);
      assert.equal(made.Role, `arn:aws:iam::${ACCOUNT}:role/${made.FunctionName}`);
      assert.match(made.Code.S3Key, /\/lifeboat-aws\.zip$/);
    }
    assert.equal((await service()).package.artifact, "dist/lifeboat-aws.zip");
  });

  test("names the rights, conditions and groups that the Terraform module names", async () => {
    const files = ["main.tf", "identities.tf", "machines.tf", "schedules.tf", "bucket.tf"].map((file) =>
      readFile(join(MODULE, file), "utf8"),
    );
    const named = (text: string) => [...new Set(text.match(/"[a-z0-9]+:[A-Za-z*-]+"/g))].sort();
    assert.deepEqual(named(JSON.stringify(services)), named((await Promise.all(files)).join("\n")));
  });

  test("lets the backup function delete nothing, and nothing more than it needs", () => {
    for (const service of Object.keys(services)) {
      const mayDo = statements(service, "backup").filter(({ Effect }: { Effect: string }) => Effect === "Allow");
      for (const { Sid, Action, Resource } of mayDo) {
        if (Sid === "BeInVpc") continue;
        for (const action of Action) assert.doesNotMatch(action, /Delete|\*|Bypass/);
        for (const resource of ["FindDisks", "ListClusters"].includes(Sid) ? [] : Resource)
          assert.doesNotMatch(resource, /^\*/);
      }
    }
    assert.deepEqual(actions("usual", "backup").sort(), [
      "eks:DescribeCluster",
      "logs:CreateLogStream",
      "logs:PutLogEvents",
      "s3:AbortMultipartUpload",
      "s3:GetObject",
      "s3:ListBucket",
      "s3:ListMultipartUploadParts",
      "s3:PutObject",
      "secretsmanager:GetSecretValue",
      "sqs:SendMessage",
      "states:StartExecution",
    ]);
    assert.deepEqual(resourcesOf("usual", "backup", "ReadSecrets"), [secretArn("prod-kubeconfig")]);
    assert.deepEqual(resourcesOf("usual", "backup", "Create"), ["arn:aws:s3:::acme-backups/prod/*"]);
    assert.deepEqual(resourcesOf("usual", "backup", "HandOverJobs"), [machineArn("backup")]);
  });

  test("lets a fleet's functions write in each cluster's folder, and find all clusters", () => {
    const folders = ["arn:aws:s3:::acme-backups/prod", "arn:aws:s3:::acme-backups/prod/*"];
    assert.deepEqual(
      resourcesOf("other", "retention", "Create"),
      folders.map((folder) => `${folder}/metadata/*`),
    );
    assert(resourcesOf("other", "restore", "Create").includes(`${folders[1]}/restores/*`));
    for (const job of ["backup", "restore", "retention"]) {
      assert.deepEqual(resourcesOf("other", job, "ListClusters"), ["*"]);
      assert.match(resourcesOf("other", job, "FindClusters")[0] ?? "", /:cluster\/\*$/);
    }
  });

  test("lets the restore function create where its record and what it keeps belong", () => {
    assert.deepEqual(resourcesOf("usual", "restore", "Create"), [
      "arn:aws:s3:::acme-backups/prod/restores/*",
      "arn:aws:s3:::acme-backups/prod/metadata/*",
      "arn:aws:s3:::acme-backups/prod/backups/*-before/*",
      "arn:aws:s3:::acme-backups/prod/backups/*-before-*/*",
    ]);
    assert.deepEqual(resourcesOf("usual", "restore", "ReadSecrets"), [secretArn("green-kubeconfig")]);
  });

  test("lets retention alone delete, and nobody lift what holds an object", () => {
    for (const service of Object.keys(services)) {
      const deleting = ["backup", "restore", "retention"].filter((job) =>
        actions(service, job).includes("s3:DeleteObject"),
      );
      assert.deepEqual(deleting, ["retention"]);
      assert.doesNotMatch(JSON.stringify(services[service]), /BypassGovernance|DeleteObjectVersion/);
    }
  });

  test("has a restore endpoint that is not public, and that the principals named may call", () => {
    for (const template of Object.values(services)) {
      const urls = properties(template, "AWS::Lambda::Url");
      assert.deepEqual(
        urls.map(({ AuthType, TargetFunctionArn }) => [AuthType, TargetFunctionArn]),
        [["AWS_IAM", functionArn("restore")]],
      );
      assert.deepEqual(properties(template, "AWS::Lambda::Permission"), []);
      const policies = properties(template, "AWS::IAM::ManagedPolicy");
      const caller = policies.find(({ ManagedPolicyName }) => ManagedPolicyName === "lifeboat-restore-caller");
      for (const { Resource } of caller.PolicyDocument.Statement) assert.deepEqual(Resource, [functionArn("restore")]);
      assert.deepEqual(caller.Roles, ["operator"]);
    }
  });

  test("repeats a job that failed, then keeps it as a dead letter", () => {
    const configs = usual("AWS::Lambda::EventInvokeConfig");
    assert.equal(configs.length, 3);
    for (const config of configs) {
      assert.equal(config.DestinationConfig.OnFailure.Destination, DEAD_LETTERS);
      assert.equal(config.MaximumRetryAttempts, 2);
      assert.equal(config.MaximumEventAgeInSeconds, 3600);
    }
  });

  test("has a schedule for each expression that `lifeboat schedule render` writes, with retries and dead letters", () => {
    const schedules = usual("AWS::Scheduler::Schedule");
    const made = schedules.map(({ Description, ScheduleExpression, ScheduleExpressionTimezone, State }) =>
      [Description, ScheduleExpression, ScheduleExpressionTimezone, State].join(" "),
    );
    assert.deepEqual(made.sort(), [
      "friday-13 cron(0 2 13 * ? *) UTC ENABLED",
      "friday-13 cron(0 2 ? * 6 *) UTC ENABLED",
      "hourly cron(0 * * * ? *) Europe/Berlin ENABLED",
      "paused cron(0 0,6,12,18 * * ? *) UTC DISABLED",
      "retention cron(45 4 * * ? *) UTC ENABLED",
      "verify cron(0 0 * * ? *) UTC ENABLED",
    ]);
    for (const { GroupName, FlexibleTimeWindow, Target } of schedules) {
      assert.equal(GroupName, "lifeboat");
      assert.deepEqual(FlexibleTimeWindow, { Mode: "OFF" });
      assert.deepEqual(Target.RetryPolicy, { MaximumRetryAttempts: 3, MaximumEventAgeInSeconds: 3600 });
      assert.deepEqual(Target.DeadLetterConfig, { Arn: DEAD_LETTERS });
      assert.equal(Target.RoleArn, `arn:aws:iam::${ACCOUNT}:role/lifeboat-scheduler`);
    }
    const sent = Object.fromEntries(
      schedules.map(({ Description, Target }) => [Description, [Target.Arn, Target.Input]]),
    );
    const slot = "<aws.scheduler.scheduled-time>";
    assert.deepEqual(sent.hourly, [machineArn("backup"), JSON.stringify({ kind: "backup", schedule: "hourly", slot })]);
    assert.deepEqual(sent.verify, [machineArn("backup"), JSON.stringify({ kind: "verify", slot })]);
    assert.deepEqual(sent.retention, [machineArn("retention"), JSON.stringify({ kind: "retention" })]);
  });

  test("gives Scheduler the rights to start the two state machines and to leave dead letters", () => {
    const may = statements("usual", "scheduler").map(({ Action, Resource }: { Action: string[]; Resource: string[] }) =>
      [...Action, ...Resource].join(" "),
    );
    assert.deepEqual(may, [
      `states:StartExecution ${machineArn("backup")} ${machineArn("retention")}`,
      `sqs:SendMessage ${DEAD_LETTERS}`,
    ]);
  });

  test("makes a state machine of each function, of the definition that the Terraform module has", async () => {
    const machines = usual("AWS::StepFunctions::StateMachine");
    assert.deepEqual(machines.map(({ StateMachineName }) => StateMachineName).sort(), [
      "lifeboat-backup",
      "lifeboat-restore",
      "lifeboat-retention",
    ]);
    const template = await readFile(join(MODULE, "machine.json.tftpl"), "utf8");
    for (const { StateMachineName: name, DefinitionString, RoleArn } of machines) {
      const job = name.replace("lifeboat-", "");
      const values = { partition: "aws", retries: "2", concurrency: "10", dead_letters: "lifeboat-dead-letters" };
      const ofJob = { ...values, function: functionArn(job), machine: machineArn(job) };
      const wanted = Object.entries(ofJob).reduce(
        (text, [key, value]) => text.replaceAll(`\${${key}}`, value),
        template,
      );
      assert.equal(DefinitionString, wanted);
      assert.equal(RoleArn, `arn:aws:iam::${ACCOUNT}:role/${name}-machine`);
      const made = usual("AWS::Lambda::Function").find(({ FunctionName }) => FunctionName === name);
      assert.equal(made.Environment.Variables.LIFEBOAT_STATE_MACHINE, machineArn(job));
    }
    const terraform = await readFile(join(MODULE, "machines.tf"), "utf8");
    const [, given = ""] =
      /templatefile\("\$\{path\.module\}\/machine\.json\.tftpl", \{\n(.*?)\n {2}\}\)/s.exec(terraform) ?? [];
    assert.deepEqual(
      given.split("\n").map((line) => line.trim().split(" ")[0]),
      ["partition", "function", "machine", "dead_letters", "retries", "concurrency"],
    );
  });

  test("lets a state machine use its function, itself and the queue of dead letters", () => {
    for (const job of ["backup", "restore", "retention"]) {
      const may = statements("usual", `${job}-machine`).map(
        ({ Action, Resource }: { Action: string[]; Resource: string[] }) => [...Action, ...Resource].join(" "),
      );
      assert.deepEqual(may, [
        `lambda:InvokeFunction ${functionArn(job)}`,
        `states:StartExecution ${machineArn(job)}`,
        `states:DescribeExecution states:StopExecution ${machineArn(job).replace("stateMachine", "execution")}:*`,
        `events:PutTargets events:PutRule events:DescribeRule arn:aws:events:${REGION}:${ACCOUNT}:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule`,
        `sqs:SendMessage ${DEAD_LETTERS}`,
      ]);
    }
  });

  test("makes a bucket that is versioned, encrypted, private, for TLS alone, written once, and stays", () => {
    const bucket = services.usual.Resources.Backups;
    for (const id of ["Backups", "BackupsPolicy"]) {
      const { DeletionPolicy, UpdateReplacePolicy } = services.usual.Resources[id];
      assert.deepEqual([DeletionPolicy, UpdateReplacePolicy], ["Retain", "Retain"]);
    }
    assert.equal(bucket.Properties.BucketName, "acme-backups");
    assert.deepEqual(bucket.Properties.VersioningConfiguration, { Status: "Enabled" });
    assert.deepEqual(Object.values(bucket.Properties.PublicAccessBlockConfiguration), [true, true, true, true]);
    assert.equal(bucket.Properties.ObjectLockEnabled, false);
    const [rule] = bucket.Properties.LifecycleConfiguration.Rules;
    assert.deepEqual(rule.AbortIncompleteMultipartUpload, { DaysAfterInitiation: 2 });
    const sids = (template: Template) =>
      template.Resources.BackupsPolicy.Properties.PolicyDocument.Statement.map(({ Sid }: { Sid: string }) => Sid);
    assert.deepEqual(sids(services.usual), ["OnlyTls", "NothingIsOverwritten"]);
    assert.deepEqual(sids(services.everything), ["OnlyTls"]);
    const settings = services.everything.Resources.Backups.Properties;
    assert.equal(settings.ObjectLockEnabled, true);
    const [encryption] = settings.BucketEncryption.ServerSideEncryptionConfiguration;
    assert.equal(encryption.ServerSideEncryptionByDefault.KMSMasterKeyID, keyArn(1));
  });

  test("leaves a bucket that exists alone", () => {
    const buckets = Object.keys(services.other.Resources).filter((id) => /^Backups/.test(id));
    assert.deepEqual(buckets, []);
  });

  test("has an alarm for failures, dead letters, and each schedule that CloudWatch can watch", () => {
    const alarms = usual("AWS::CloudWatch::Alarm");
    assert.deepEqual(alarms.map(({ AlarmName }) => AlarmName).sort(), [
      "lifeboat-backup-failed",
      "lifeboat-backup-given-up",
      "lifeboat-dead-letters",
      "lifeboat-hourly-no-good-backup",
      "lifeboat-restore-failed",
      "lifeboat-restore-given-up",
      "lifeboat-retention-failed",
      "lifeboat-retention-given-up",
    ]);
    for (const alarm of alarms) assert.deepEqual(alarm.AlarmActions, [ON_CALL]);
    const silence = alarms.find(({ AlarmName }) => AlarmName.endsWith("no-good-backup"));
    assert.equal(silence.Period * silence.EvaluationPeriods, 7200);
    assert.equal(silence.TreatMissingData, "breaching");
    const [filter] = usual("AWS::Logs::MetricFilter");
    assert.equal(filter.FilterPattern, '"job=backup schedule=hourly phase=Completed"');
    assert.equal(filter.LogGroupName, "/aws/lambda/lifeboat-backup");
    const [transformation] = filter.MetricTransformations;
    assert.deepEqual(
      [transformation.MetricNamespace, transformation.MetricName],
      [silence.Namespace, silence.MetricName],
    );
  });

  test("keeps the logs for a year; where a key is given, it encrypts them, the environment and the jobs", () => {
    for (const group of usual("AWS::Logs::LogGroup"))
      assert.deepEqual([group.RetentionInDays, group.KmsKeyId], [365, undefined]);
    const encrypted = (type: string) => properties(services.everything, type);
    for (const group of encrypted("AWS::Logs::LogGroup")) assert.equal(group.KmsKeyId, keyArn(3));
    for (const made of encrypted("AWS::Lambda::Function")) assert.equal(made.KmsKeyArn, keyArn(3));
    for (const schedule of encrypted("AWS::Scheduler::Schedule")) assert.equal(schedule.KmsKeyArn, keyArn(3));
    assert.deepEqual(resourcesOf("everything", "scheduler", "DecryptJobs"), [keyArn(3)]);
  });

  test("hands the configuration to the functions as it is, and the bucket as their location", () => {
    const [made] = usual("AWS::Lambda::Function");
    const { LIFEBOAT_LOCATION, LIFEBOAT_CONFIG, CONFIGURATION: given } = made.Environment.Variables;
    assert.equal(LIFEBOAT_LOCATION, `s3://acme-backups/prod?region=${REGION}`);
    assert.equal(LIFEBOAT_CONFIG, "env:CONFIGURATION");
    assert.deepEqual(parse(given), parse(CONFIGURATION));
  });

  test("hands over a secret's ARN in place of the configuration, and the right to read it", () => {
    const [made] = properties(services.everything, "AWS::Lambda::Function");
    assert.equal(made.Environment.Variables.LIFEBOAT_CONFIG, `aws-sm://${secretArn("lifeboat")}`);
    assert.equal(made.Environment.Variables.CONFIGURATION, undefined);
    assert.deepEqual(resourcesOf("everything", "retention", "ReadSecrets"), [secretArn("lifeboat")]);
    assert.deepEqual(resourcesOf("everything", "retention", "DecryptSecrets"), [keyArn(2)]);
  });

  test("tags the stack, and by that all that takes tags", async () => {
    const state = await readFile(join(dir, "everything/.serverless/serverless-state.json"), "utf8");
    assert.deepEqual(JSON.parse(state).service.provider.stackTags, { team: "platform" });
  });

  test("puts the functions into a VPC, and denies their code the rights for that", () => {
    for (const made of properties(services.everything, "AWS::Lambda::Function"))
      assert.deepEqual(made.VpcConfig, { SubnetIds: ["subnet-01234567"], SecurityGroupIds: ["sg-01234567"] });
    for (const made of usual("AWS::Lambda::Function")) assert.equal(made.VpcConfig, undefined);
    const denied = statements("everything", "backup").find(({ Effect }: { Effect: string }) => Effect === "Deny");
    assert.deepEqual(
      denied.Action,
      statements("everything", "backup").find(({ Sid }: { Sid: string }) => Sid === "BeInVpc").Action,
    );
    assert.deepEqual(denied.Condition, { ArnEquals: { "lambda:SourceFunctionArn": [functionArn("backup")] } });
  });

  test("gives the backup function no group that writes in a cluster, but with hooks", () => {
    const groups = (service: string) =>
      properties(services[service], ENTRY).map(({ PrincipalArn, KubernetesGroups }) =>
        [PrincipalArn.split("/")[1], ...KubernetesGroups].join(" "),
      );
    const without = ["lifeboat-backup lifeboat:backup", "lifeboat-restore lifeboat:restore"];
    assert.deepEqual(groups("usual"), without);
    assert.deepEqual(groups("everything"), without);
    assert.deepEqual(groups("other"), ["lifeboat-backup lifeboat:backup lifeboat:hooks", without[1]]);
    assert(actions("everything", "backup").includes("s3:PutObjectRetention"));
    assert.deepEqual(
      actions("everything", "backup").filter((action) => action.startsWith("eks:")),
      ["eks:DescribeCluster"],
    );
  });

  test("gives rights on disks, and retention any in a cluster, only for volumes", () => {
    const onDisks = (service: string) =>
      ["backup", "restore", "retention"].map((job) => actions(service, job).filter((one) => one.startsWith("ec2:")));
    for (const service of ["usual", "other"]) assert.deepEqual(onDisks(service), [[], [], []]);
    assert.deepEqual(onDisks("volumes"), [
      ["ec2:DescribeSnapshots", "ec2:DescribeVolumes", "ec2:CreateSnapshot", "ec2:CreateSnapshot", "ec2:CreateTags"],
      [
        ...["ec2:DescribeSnapshots", "ec2:DescribeVolumes", "ec2:CreateVolume", "ec2:CreateVolume", "ec2:CreateTags"],
        "ec2:DeleteVolume",
      ],
      ["ec2:DescribeSnapshots", "ec2:DeleteSnapshot"],
    ]);
    const entries = properties(services.volumes, ENTRY).map(({ KubernetesGroups }) => KubernetesGroups);
    const copying = ["lifeboat:csi", "lifeboat:restic"];
    assert.deepEqual(entries, [["lifeboat:backup", ...copying], ["lifeboat:restore"], copying]);
  });

  test("lets functions tag and delete only snapshots and volumes of their own making, as the module does", async () => {
    const module = await readFile(join(MODULE, "identities.tf"), "utf8");
    const written = [...module.matchAll(/ {8,}Sid += "(\w+)"\n.*\n.*\n +Condition = \{ (\w+) = \{ (.*) \} \}/g)];
    const theirs = written.map(([, sid, operator, test = ""]) => [
      sid,
      operator,
      ...test.replaceAll('"', "").split(" = "),
    ]);
    const ours = ["backup", "restore", "retention"]
      .flatMap((job) => statements("volumes", job))
      .filter(({ Sid, Condition }) => Condition && /Disk|Snapshot|Volume/.test(Sid))
      .map(({ Sid, Condition }) => [
        Sid,
        ...Object.entries<object>(Condition).flatMap(([operator, test]) => [operator, ...Object.entries(test).flat()]),
      ]);
    assert.equal(ours.length, 8);
    assert.deepEqual(ours, theirs);
  });

  test("lets restic write and delete below restic/, and nobody overwrite a backup", async () => {
    const restic = properties(services.volumes, "AWS::IAM::ManagedPolicy").find(({ Roles }) => Roles[0] === "restic");
    const files = "arn:aws:s3:::acme-backups/prod/restic/*";
    const { Statement } = restic.PolicyDocument;
    assert.deepEqual(
      Statement.map(({ Action, Resource }: { Action: string[]; Resource: string[] }) => [Action.at(-1), ...Resource]),
      [
        ["s3:ListBucket", "arn:aws:s3:::acme-backups"],
        ["s3:GetObject", files],
        ["s3:DeleteObject", files],
      ],
    );
    const state = await readFile(join(dir, "volumes/.serverless/serverless-state.json"), "utf8");
    const { ResticPolicyArn, Location } = JSON.parse(state).service.resources.Outputs;
    assert.deepEqual([ResticPolicyArn.Value, typeof Location.Value], [{ Ref: "Restic" }, "object"]);
    const policy = services.volumes.Resources.BackupsPolicy.Properties.PolicyDocument.Statement;
    const once = policy.find(({ Sid }: { Sid: string }) => Sid === "NothingIsOverwritten");
    const folders = ["backups", "restores", "metadata"].map((name) => `arn:aws:s3:::acme-backups/prod/${name}/*`);
    assert.deepEqual(once.Resource, folders);
  });

  const fails = (name: string, settings: Record<string, string>, files: Record<string, string>, wanted: RegExp) =>
    assert.rejects(osls(name, settings, files), ({ code, stdout, stderr }) => {
      assert.equal(code, 1);
      assert.match(`${stdout}${stderr}`, wanted);
      assert.doesNotMatch(`${stdout}${stderr}`, /\n +at /);
      return true;
    });

  test("ends with all that is wrong with the settings", () =>
    fails(
      "bad",
      { ...SETTINGS, bucket: "Acme_Backups", buckets: "x" },
      {},
      /\nbucket: 3 to 63 lower.*\nbuckets: no such setting/s,
    ));

  test("ends at a line of crontab, and says what makes an expression", () =>
    fails(
      "crontab",
      SETTINGS,
      {
        "schedules.json": JSON.stringify({
          schedules: { hourly: { expressions: ["0 * * * *"], job: { kind: "retention" }, interval_seconds: 3600 } },
        }),
      },
      /not a line of crontab: `lifeboat schedule render --target aws` makes them/,
    ));
});

describe("the plugin of serverless.yml", () => {
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "lifeboat-serverless-"));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  async function start(file: string, content: string): Promise<void> {
    await writeFile(join(dir, file), content);
    const osls = {
      serviceDir: dir,
      configurationInput: await service(),
      processedInput: { isHelpRequest: false },
      classes: { Error },
    };
    await plugin(osls, { param: ["bucket=acme-backups"] }).asyncInit();
  }

  test("wants the schedules rendered, and a configuration that a function's environment can hold", async () => {
    await assert.rejects(
      start("lifeboat.yaml", CONFIGURATION),
      /schedules\.json can't be read.*schedule render --target aws/s,
    );
    await assert.rejects(
      start("schedules.json", JSON.stringify({ schedules: {} })),
      /have different ones: hourly, friday-13, paused.*schedule render --target aws/s,
    );
    const long = `schedules: {}\ncomment: ${"long ".repeat(800)}\n`;
    await assert.rejects(start("lifeboat.yaml", long), /too long.*configuration_secret/s);
  });
});

describe("the template of serverless.yml", () => {
  test("gives each cluster entries of its own, whatever its name differs in, that stay when others come", async () => {
    const given = checkSettings({ ...(await service()).params.default, bucket: "acme-backups" });
    const entries = (clusters: string[]) => {
      const { Resources } = partsOf({ ...given, clusters }, {}, {}).resources;
      return new Map(Object.entries(Resources as Record<string, Entry>).filter(([, { Type }]) => Type === ENTRY));
    };
    const clusters = ["prod", "Prod", "PROD", "a-b", "aDashb", "a_b"];
    const all = entries(clusters);
    const entered = [...all.values()].map(({ Properties }) => Properties.ClusterName);
    assert.deepEqual(entered.sort(), clusters.flatMap((name) => [name, name]).sort());
    for (const [id, { Properties }] of all) {
      assert.match(id, /^[A-Za-z0-9]+$/);
      assert(entries([Properties.ClusterName]).has(id), `alone ${Properties.ClusterName} has another entry`);
    }
  });
});

describe("the settings of serverless.yml", () => {
  const defaults = async (): Promise<Record<string, unknown>> => (await service()).params.default;

  test("are the Terraform module's variables, with the same defaults", async () => {
    const variables = (await blocksOf(MODULE, "variable")).filter(({ name }) => !["package", "bucket"].includes(name));
    const theirs = variables.map(({ name, default: written = "" }) => [name, JSON.parse(written)]);
    const ours = await defaults();
    const files = { configuration: ours.configuration, schedules: ours.schedules };
    const secrets = { backup: [], restore: [], retention: [] };
    assert.deepEqual(ours, { ...Object.fromEntries(theirs), ...files, secrets });
  });

  const BAD: [name: string, value: unknown, message: RegExp][] = [
    ["name", "My Lifeboat", /name: up to 24/],
    ["bucket", "Acme_Backups", /bucket: 3 to 63/],
    ["bucket", "acme..backups", /bucket: 3 to 63/],
    ["bucket", "10.0.0.1", /bucket: 3 to 63/],
    ["bucket", undefined, /bucket: 3 to 63/],
    ["prefix", "/prod", /prefix: letters/],
    ["secrets", { backup: [secretArn("*").replace("-AbCdEf", "")] }, /secrets: whole ARNs.*without \*/],
    ["secrets", "{backup: [", /secrets: whole ARNs/],
    ["restore_principals", ["*"], /restore_principals: .*never \*/],
    ["clusters", [`arn:aws:eks:${REGION}:${ACCOUNT}:cluster/prod`], /clusters: names/],
    ["vpc", { subnet_ids: [], security_group_ids: ["sg-01234567"] }, /vpc: .*at least one/],
    ["hooks", "yes", /hooks: true or false/],
    ["volumes", ["kopia"], /volumes: some of disks, csi and restic/],
    ["restic_principals", ["*"], /restic_principals: .*never \*/],
    ["concurrency", 0, /concurrency: a whole number/],
    ["retries", 3, /retries: 0, 1 or 2/],
    ["noncurrent_days", 1.5, /noncurrent_days: a whole number/],
    ["memory_size", "128", /memory_size: 512/],
    ["log_retention_days", 4, /log_retention_days: one of/],
    ["configuration_secret", "lifeboat", /configuration_secret: the ARN/],
    ["bucket_kms_key", "alias/key", /bucket_kms_key: the ARN/],
    ["alarm_actions", ["oncall"], /alarm_actions: ARNs/],
    ["buckets", "acme", /buckets: no such setting/],
  ];
  for (const [name, value, message] of BAD) {
    test(`refuse ${JSON.stringify({ [name]: value })}`, async () => {
      const given = { ...(await defaults()), bucket: "acme-backups" };
      checkSettings(given);
      assert.throws(() => checkSettings({ ...given, [name]: value }), { kind: "invalid", hint: message });
    });
  }

  const GOOD = { expressions: ["cron(0 * * * ? *)"], job: { kind: "backup", schedule: "a" }, interval_seconds: 3600 };
  const BAD_SCHEDULES: [what: string, schedules: unknown, message: RegExp][] = [
    ["nothing", undefined, /what `lifeboat schedule render --target aws` writes/],
    ["a cron of five fields", { a: { ...GOOD, expressions: ["cron(0 * * * *)"] } }, /cron\(minute hour/],
    ["an hour that is none", { a: { ...GOOD, expressions: ["cron(0 25 * * ? *)"] } }, /cron\(minute hour/],
    ["a day and a weekday", { a: { ...GOOD, expressions: ["cron(0 0 * * * *)"] } }, /one \?, or rate/],
    ["no expression", { a: { ...GOOD, expressions: [] } }, /an expression at least/],
    ["an interval of a second", { a: { ...GOOD, interval_seconds: 1 } }, /60 at least/],
    ["a schedule of restores", { a: { ...GOOD, job: { kind: "restore" } } }, /job is \{kind: backup/],
    ["a name with spaces", { "a b": GOOD }, /names of up to 35/],
    ["a time zone that is none", { a: { ...GOOD, time_zone: "+01:00" } }, /IANA name/],
    [
      "a job of a schedule with no name",
      { a: { ...GOOD, job: { kind: "backup", schedule: "A B" } } },
      /a name of the configuration/,
    ],
  ];
  for (const [what, schedules, message] of BAD_SCHEDULES) {
    test(`refuse ${what}`, () => {
      checkSchedules({ schedules: { a: GOOD } });
      assert.throws(() => checkSchedules({ schedules }), { kind: "invalid", hint: message });
    });
  }
});

/** serverless.yml, without CloudFormation's own tags. */
async function service() {
  return parse(await readFile(join(ROOT, "serverless.yml"), "utf8"), { logLevel: "silent" });
}

const ENTRY = "AWS::EKS::AccessEntry";

/** Of a template. */
interface Entry {
  Type: string;
  Properties: { ClusterName: string };
}

type Template = ReturnType<typeof resolved>;

/** A template with the names and ARNs that CloudFormation would put in place of its functions. */
function resolved(text: string) {
  const { Resources: raw } = JSON.parse(text);
  const pseudo: Record<string, string> = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
  };
  const names = [
    "FunctionName",
    "QueueName",
    "BucketName",
    "RoleName",
    "LogGroupName",
    "ManagedPolicyName",
    "StateMachineName",
    "Name",
  ];
  const nameOf = (id: string): string => {
    const key = names.find((key) => raw[id]?.Properties?.[key] !== undefined);
    return pseudo[id] ?? (key ? raw[id].Properties[key] : `the-${id}`);
  };
  const arns: Record<string, string> = {
    "AWS::Lambda::Function": `arn:aws:lambda:${REGION}:${ACCOUNT}:function:`,
    "AWS::StepFunctions::StateMachine": `arn:aws:states:${REGION}:${ACCOUNT}:stateMachine:`,
    "AWS::SQS::Queue": `arn:aws:sqs:${REGION}:${ACCOUNT}:`,
    "AWS::IAM::Role": `arn:aws:iam::${ACCOUNT}:role/`,
  };
  const attribute = (id = "", name = "") =>
    name === "Arn" ? `${arns[raw[id].Type] ?? assert.fail(`the ARN of ${id}`)}${nameOf(id)}` : nameOf(id);
  const filled = JSON.parse(text, (_, value) => {
    const [[name, argument] = ["", undefined]] = Object.entries(value ?? {});
    if (name === "Ref") return nameOf(String(argument));
    if (name === "Fn::GetAtt" && Array.isArray(argument)) return attribute(...argument);
    if (name === "Fn::Join" && Array.isArray(argument)) return argument[1].join(argument[0]);
    if (name !== "Fn::Sub") return value;
    return String(argument).replace(/\$\{([\w:]+)(?:\.(\w+))?\}/g, (_, id, of) =>
      of ? attribute(id, of) : nameOf(id),
    );
  });
  return JSON.parse(JSON.stringify(filled));
}

function properties(template: Template, type: string) {
  const resources: Template[] = Object.values(template.Resources);
  return resources.filter(({ Type }) => Type === type).map(({ Properties }): Template => Properties);
}
