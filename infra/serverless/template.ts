import { readFileSync } from "node:fs";
import { join } from "node:path";
import { arn, att, capital, JOBS, logicalId, sub, type Text } from "./cloudformation.ts";
import {
  bucketOf,
  groupsOf,
  machineStatements,
  objectsOf,
  resticStatements,
  schedulersStatements,
  statementsOf,
} from "./rights.ts";
import type { Schedules, Settings } from "./settings.ts";

/** What stays when the stack is removed. */
const KEPT = { DeletionPolicy: "Retain", UpdateReplacePolicy: "Retain" };

function storageOf(given: Settings): Record<string, object> {
  if (!given.create_bucket) return {};
  const [bucket, everything] = [bucketOf(given), sub(`arn:\${AWS::Partition}:s3:::${given.bucket}/*`)];
  // restic has files of its own below restic/, some of which it replaces.
  const writtenOnce = given.volumes.includes("restic")
    ? ["backups/*", "restores/*", "metadata/*"].map(objectsOf(given))
    : [everything];
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
            deny("OnlyTls", "s3:*", [bucket, everything], { Bool: { "aws:SecureTransport": "false" } }),
            ...(given.write_once
              ? [
                  deny("NothingIsOverwritten", "s3:PutObject", writtenOnce, {
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

const MACHINE = readFileSync(join(import.meta.dirname, "../modules/aws/machine.json.tftpl"), "utf8");

/** The state machine of each function, of the definition that the module has. */
function machinesOf(given: Settings): Record<string, object> {
  const { name, retries, concurrency } = given;
  const machines = JOBS.map((job) => {
    const values: Record<string, unknown> = {
      partition: `\${AWS::Partition}`,
      function: `\${${capital(job)}LambdaFunction.Arn}`,
      machine: arn("states", `stateMachine:${name}-${job}`)["Fn::Sub"],
      dead_letters: `\${DeadLetters}`,
      ...{ retries, concurrency },
    };
    const definition = MACHINE.replace(/\$\{(\w+)\}/g, (_, key) => String(values[key]));
    const Properties = {
      StateMachineName: `${name}-${job}`,
      StateMachineType: "STANDARD",
      RoleArn: att(`${capital(job)}MachineRole`),
      DefinitionString: sub(definition),
    };
    return [`${capital(job)}Machine`, { Type: "AWS::StepFunctions::StateMachine", Properties }];
  });
  const roles = JOBS.map((job) => {
    const trust = {
      Effect: "Allow",
      Action: "sts:AssumeRole",
      Principal: { Service: "states.amazonaws.com" },
      Condition: { StringEquals: { "aws:SourceAccount": { Ref: "AWS::AccountId" } } },
    };
    const Version = "2012-10-17";
    const Properties = {
      RoleName: `${name}-${job}-machine`,
      AssumeRolePolicyDocument: { Version, Statement: [trust] },
      Policies: [{ PolicyName: "lifeboat", PolicyDocument: { Version, Statement: machineStatements(job, given) } }],
    };
    return [`${capital(job)}MachineRole`, { Type: "AWS::IAM::Role", Properties }];
  });
  return Object.fromEntries([...machines, ...roles]);
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
    const givenUp = `An execution of the state machine ${name}-${job} failed: its job was given up.`;
    alarms[logicalId(job, "given", "up")] = alarm(`${name}-${job}-given-up`, givenUp, {
      Namespace: "AWS/States",
      MetricName: "ExecutionsFailed",
      Dimensions: [{ Name: "StateMachineArn", Value: att(`${capital(job)}Machine`) }],
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

/** The policy for the identity that restic has in its Jobs. */
function resticOf(given: Settings): { Resources: Record<string, object>; Outputs?: Record<string, object> } {
  if (!given.volumes.includes("restic")) return { Resources: {} };
  const Restic = {
    Type: "AWS::IAM::ManagedPolicy",
    Properties: {
      ManagedPolicyName: `${given.name}-restic`,
      Description: "Lifeboat's copies of volumes' files: read, write and delete below restic/",
      Roles: given.restic_principals,
      PolicyDocument: { Version: "2012-10-17", Statement: resticStatements(given) },
    },
  };
  const ResticPolicyArn = {
    Description: "Policy of restic's Jobs, for identities that restic_principals can't name.",
    Value: { Ref: "Restic" },
    Export: { Name: `${given.name}-restic-policy-arn` },
  };
  return { Resources: { Restic }, Outputs: { ResticPolicyArn } };
}

function accessOf(given: Settings): Record<string, object> {
  const entries = given.clusters.flatMap((ClusterName) =>
    JOBS.map((job) => ({ job, ClusterName, KubernetesGroups: groupsOf(job, given) })),
  );
  const resources = entries
    .filter(({ KubernetesGroups }) => KubernetesGroups.length > 0)
    .map(({ job, ...properties }) => [
      logicalId(job, "access", properties.ClusterName),
      { Type: "AWS::EKS::AccessEntry", Properties: { ...properties, PrincipalArn: att(`${capital(job)}Role`) } },
    ]);
  return Object.fromEntries(resources);
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
            Arn: att(`${capital(to)}Machine`),
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
  const restic = resticOf(given);
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
    resources: {
      ...restic,
      Resources: {
        ...storageOf(given),
        ...machinesOf(given),
        ...restic.Resources,
        ...alarmsOf(given, schedules),
        ...accessOf(given),
      },
    },
  };
}
