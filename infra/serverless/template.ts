import { createHash } from "node:crypto";
import type { Schedules, Settings } from "./settings.ts";

const JOBS = ["backup", "restore", "retention"] as const;
type Job = (typeof JOBS)[number];

/** What CloudFormation makes a text of. */
type Text = string | { "Fn::Sub": string } | { "Fn::GetAtt": [string, string] } | { Ref: string };

interface Statement {
  Sid: string;
  Effect: "Allow" | "Deny";
  Action: string[];
  Resource: Text[];
  Condition?: object;
}

const att = (id: string, name = "Arn"): Text => ({ "Fn::GetAtt": [id, name] });
const sub = (pattern: string): Text => ({ "Fn::Sub": pattern });
const arn = (service: string, resource: string) =>
  sub(`arn:\${AWS::Partition}:${service}:\${AWS::Region}:\${AWS::AccountId}:${resource}`);
const capital = (word: string) => word.charAt(0).toUpperCase() + word.slice(1);
/** CloudFormation's names have letters and digits only. One with capital letters of its own is told from the others by a digest. */
const logicalId = (...names: string[]) =>
  names
    .map((name) => {
      const plain = capital(name.replaceAll("-", "Dash").replaceAll("_", "Underscore"));
      return /[A-Z]/.test(name)
        ? `${plain}Named${createHash("sha256").update(name).digest("hex").slice(0, 12)}`
        : plain;
    })
    .join("");
const allow = (Sid: string, Action: string[], Resource: Text[], Condition?: object): Statement => ({
  ...{ Sid, Effect: "Allow", Action, Resource },
  ...(Condition && { Condition }),
});

/** What the role of a function may do: the statements of infra/modules/aws/identities.tf, and their reasons are there. */
function statementsOf(job: Job, given: Settings): Statement[] {
  const bucket = `arn:\${AWS::Partition}:s3:::${given.bucket}`;
  const objects = (path: string) => sub([bucket, given.prefix, path].filter(Boolean).join("/"));
  const upload = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"];
  const own: Record<Job, Statement[]> = {
    backup: [allow("Create", [...upload, ...(given.retain ? ["s3:PutObjectRetention"] : [])], [objects("*")])],
    restore: [
      allow("Create", upload, ["restores/*", "metadata/*", "backups/*-before/*", "backups/*-before-*/*"].map(objects)),
      allow("HandOverJobs", ["lambda:InvokeFunction"], [arn("lambda", `function:${given.name}-restore`)]),
    ],
    retention: [
      allow("SeeWhatIsHeld", ["s3:GetObjectRetention"], [objects("*")]),
      allow("Create", upload, [objects("metadata/*")]),
      allow("Delete", ["s3:DeleteObject"], [objects("*")]),
    ],
  };
  const via = (service: string) => ({ StringLike: { "kms:ViaService": `${service}.*.amazonaws.com` } });
  const secretArns = [...new Set([...given.secrets[job], ...[given.configuration_secret ?? []].flat()])];
  const clusters = job === "retention" ? [] : given.clusters;
  const inVpc = [
    ...["ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"],
    ...["ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"],
  ];
  const everything = given.vpc ? ["*"] : [];
  const notByTheCode = { ArnEquals: { "lambda:SourceFunctionArn": [arn("lambda", `function:${given.name}-${job}`)] } };
  return [
    allow(
      "Log",
      ["logs:CreateLogStream", "logs:PutLogEvents"],
      [arn("logs", `log-group:/aws/lambda/${given.name}-${job}:*`)],
    ),
    allow("LeaveDeadLetters", ["sqs:SendMessage"], [att("DeadLetters")]),
    allow("List", ["s3:ListBucket"], [sub(bucket)]),
    allow("Read", ["s3:GetObject"], [objects("*")]),
    ...own[job],
    allow("UseBucketKey", ["kms:Decrypt", "kms:GenerateDataKey"], [given.bucket_kms_key ?? []].flat(), via("s3")),
    allow("ReadSecrets", ["secretsmanager:GetSecretValue"], secretArns),
    allow(
      "DecryptSecrets",
      ["kms:Decrypt"],
      secretArns.length > 0 ? given.secrets_kms_keys : [],
      via("secretsmanager"),
    ),
    allow(
      "FindClusters",
      ["eks:DescribeCluster"],
      clusters.map((name) => arn("eks", `cluster/${name}`)),
    ),
    allow("BeInVpc", inVpc, everything),
    { ...allow("NotByTheCode", inVpc, everything, notByTheCode), Effect: "Deny" as const },
  ].filter(({ Resource }) => Resource.length > 0);
}

function schedulersStatements({ kms_key }: Settings): Statement[] {
  return [
    allow("RunJobs", ["lambda:InvokeFunction"], [att("BackupLambdaFunction"), att("RetentionLambdaFunction")]),
    allow("LeaveDeadLetters", ["sqs:SendMessage"], [att("DeadLetters")]),
    ...(kms_key ? [allow("DecryptJobs", ["kms:Decrypt"], [kms_key])] : []),
  ];
}

/** What stays when the stack is removed. */
const KEPT = { DeletionPolicy: "Retain", UpdateReplacePolicy: "Retain" };

function bucketOf(given: Settings): Record<string, object> {
  if (!given.create_bucket) return {};
  const bucket = `arn:\${AWS::Partition}:s3:::${given.bucket}`;
  const deny = (Sid: string, Action: string, Resource: Text[], Condition: object) => ({
    ...{ Sid, Effect: "Deny", Principal: "*", Action, Resource, Condition },
  });
  return {
    Backups: {
      Type: "AWS::S3::Bucket",
      ...KEPT,
      Properties: {
        BucketName: given.bucket,
        ObjectLockEnabled: given.object_lock,
        PublicAccessBlockConfiguration: {
          BlockPublicAcls: true,
          BlockPublicPolicy: true,
          IgnorePublicAcls: true,
          RestrictPublicBuckets: true,
        },
        OwnershipControls: { Rules: [{ ObjectOwnership: "BucketOwnerEnforced" }] },
        VersioningConfiguration: { Status: "Enabled" },
        BucketEncryption: {
          ServerSideEncryptionConfiguration: [
            {
              BucketKeyEnabled: given.bucket_kms_key !== null,
              ServerSideEncryptionByDefault: given.bucket_kms_key
                ? { SSEAlgorithm: "aws:kms", KMSMasterKeyID: given.bucket_kms_key }
                : { SSEAlgorithm: "AES256" },
            },
          ],
        },
        LifecycleConfiguration: {
          Rules: [
            {
              Id: "leftovers",
              Status: "Enabled",
              AbortIncompleteMultipartUpload: { DaysAfterInitiation: 2 },
              NoncurrentVersionExpiration: { NoncurrentDays: given.noncurrent_days },
              ExpiredObjectDeleteMarker: true,
            },
          ],
        },
      },
    },
    BackupsPolicy: {
      Type: "AWS::S3::BucketPolicy",
      ...KEPT,
      Properties: {
        Bucket: { Ref: "Backups" },
        PolicyDocument: {
          Version: "2012-10-17",
          Statement: [
            deny("OnlyTls", "s3:*", [sub(bucket), sub(`${bucket}/*`)], { Bool: { "aws:SecureTransport": "false" } }),
            ...(given.write_once
              ? [
                  deny("NothingIsOverwritten", "s3:PutObject", [sub(`${bucket}/*`)], {
                    Null: { "s3:if-none-match": "true" },
                    Bool: { "s3:ObjectCreationOperation": "true" },
                  }),
                ]
              : []),
          ],
        },
      },
    },
  };
}

function alarmsOf(given: Settings, schedules: Schedules): Record<string, object> {
  const { name } = given;
  const alarm = (AlarmName: string, AlarmDescription: string, metric: object) => ({
    Type: "AWS::CloudWatch::Alarm",
    Properties: {
      AlarmName,
      AlarmDescription,
      AlarmActions: given.alarm_actions,
      Period: 300,
      EvaluationPeriods: 1,
      Threshold: 1,
      ComparisonOperator: "GreaterThanOrEqualToThreshold",
      TreatMissingData: "notBreaching",
      ...metric,
    },
  });
  const alarms: Record<string, object> = {
    DeadLettersAlarm: alarm(`${name}-dead-letters`, `Jobs were given up: they lie in the queue ${name}-dead-letters.`, {
      Namespace: "AWS/SQS",
      MetricName: "ApproximateNumberOfMessagesVisible",
      Dimensions: [{ Name: "QueueName", Value: att("DeadLetters", "QueueName") }],
      Statistic: "Maximum",
    }),
  };
  for (const job of JOBS) {
    const description = `A run of ${name}-${job} failed: its log tells why.`;
    alarms[logicalId(job, "failed")] = alarm(`${name}-${job}-failed`, description, {
      Namespace: "AWS/Lambda",
      MetricName: "Errors",
      Dimensions: [{ Name: "FunctionName", Value: { Ref: `${capital(job)}LambdaFunction` } }],
      Statistic: "Sum",
    });
  }
  for (const [key, { job, paused, interval_seconds }] of Object.entries(schedules)) {
    // CloudWatch looks back 7 days at most: what comes less often than twice in them has no alarm.
    const window = 2 * interval_seconds;
    if (job.kind !== "backup" || job.schedule === undefined || paused || window > 604_800) continue;
    const period = interval_seconds < 1800 ? 300 : 3600;
    const metric = { Namespace: `Lifeboat/${name}`, MetricName: `good-backups-${key}` };
    alarms[logicalId("good", key)] = {
      Type: "AWS::Logs::MetricFilter",
      Properties: {
        LogGroupName: { Ref: "BackupLogGroup" },
        FilterPattern: `"job=backup schedule=${job.schedule} phase=Completed"`,
        MetricTransformations: [{ MetricNamespace: metric.Namespace, MetricName: metric.MetricName, MetricValue: "1" }],
      },
    };
    const description = `Schedule ${job.schedule} has made no Completed backup for ${window} seconds, twice its interval.`;
    alarms[logicalId("no", "good", key)] = alarm(`${name}-${key}-no-good-backup`, description, {
      ...metric,
      Statistic: "Sum",
      Period: period,
      EvaluationPeriods: Math.ceil(window / period),
      ComparisonOperator: "LessThanThreshold",
      TreatMissingData: "breaching",
      OKActions: given.alarm_actions,
    });
  }
  return alarms;
}

function accessOf({ clusters, hooks }: Settings): Record<string, object> {
  const entry = (job: Job, ClusterName: string, KubernetesGroups: string[]) => ({
    [logicalId(job, "access", ClusterName)]: {
      Type: "AWS::EKS::AccessEntry",
      Properties: { ClusterName, KubernetesGroups, PrincipalArn: att(`${capital(job)}Role`) },
    },
  });
  return Object.assign(
    {},
    ...clusters.flatMap((cluster) => [
      entry("backup", cluster, ["lifeboat:backup", ...(hooks ? ["lifeboat:hooks"] : [])]),
      entry("restore", cluster, ["lifeboat:restore"]),
    ]),
  );
}

/**
 * A schedule event of a function for each expression, and what osls can't say in one: retries and dead letters. They are
 * given no names: osls numbers them, and a name would pass from one number to the next when a schedule is taken away.
 */
function clockOf(schedules: Schedules, KmsKeyArn: string | null) {
  const events: Record<"backup" | "retention", object[]> = { backup: [], retention: [] };
  const extensions: Record<string, object> = {};
  for (const [key, { expressions, time_zone, job, paused }] of Object.entries(schedules)) {
    const to = job.kind === "retention" ? "retention" : "backup";
    // What EventBridge puts in place of it is the time that the run was due, whenever it is delivered.
    const slotted =
      job.name === undefined && (job.kind === "verify" || (to === "backup" && job.schedule !== undefined));
    const input = { ...job, ...(slotted && { slot: "<aws.scheduler.scheduled-time>" }) };
    for (const expression of expressions) {
      events[to].push({
        schedule: {
          method: "scheduler",
          rate: [expression],
          timezone: time_zone,
          enabled: !paused,
          groupName: { Ref: "ScheduleGroup" },
          description: key,
        },
      });
      extensions[`${capital(to)}SchedulerSchedule${events[to].length}`] = {
        Properties: {
          ...(KmsKeyArn && { KmsKeyArn }),
          Target: {
            Arn: att(`${capital(to)}LambdaFunction`),
            RoleArn: att("SchedulerRole"),
            Input: JSON.stringify(input),
            RetryPolicy: { MaximumRetryAttempts: 3, MaximumEventAgeInSeconds: 3600 },
            DeadLetterConfig: { Arn: att("DeadLetters") },
          },
        },
      };
    }
  }
  return { events, extensions };
}

/**
 * The parts of serverless.yml that depend on the settings. `configuration` is lifeboat.yaml's, where no secret holds it. It
 * becomes JSON without a dollar sign, in which osls would look for variables of its own.
 */
export function partsOf(given: Settings, schedules: Schedules, configuration: unknown) {
  const { bucket, prefix, vpc, configuration_secret: secret, kms_key: key } = given;
  const { events, extensions } = clockOf(schedules, key);
  const VpcConfig = vpc && { SubnetIds: vpc.subnet_ids, SecurityGroupIds: vpc.security_group_ids };
  for (const job of JOBS) {
    if (key) extensions[`${capital(job)}LogGroup`] = { Properties: { KmsKeyId: key } };
    const Properties = { ...(VpcConfig && { VpcConfig }), ...(key && { KmsKeyArn: key }) };
    if (Object.keys(Properties).length > 0) extensions[`${capital(job)}LambdaFunction`] = { Properties };
  }
  return {
    environment: {
      LIFEBOAT_LOCATION: sub(`s3://${[bucket, prefix].filter(Boolean).join("/")}?region=\${AWS::Region}`),
      NODE_OPTIONS: "--enable-source-maps",
      ...(secret
        ? { LIFEBOAT_CONFIG: `aws-sm://${secret}` }
        : {
            LIFEBOAT_CONFIG: "env:CONFIGURATION",
            CONFIGURATION: JSON.stringify(configuration).replaceAll("$", "\\u0024"),
          }),
    },
    statements: {
      ...Object.fromEntries(JOBS.map((job) => [job, statementsOf(job, given)])),
      scheduler: schedulersStatements(given),
    },
    events,
    extensions,
    resources: { Resources: { ...bucketOf(given), ...alarmsOf(given, schedules), ...accessOf(given) } },
  };
}
