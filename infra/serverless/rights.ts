import { allow, arn, att, capital, type Job, type Statement, sub } from "./cloudformation.ts";
import type { Settings } from "./settings.ts";

const UPLOAD = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"];

export const bucketOf = ({ bucket }: Settings) => sub(`arn:\${AWS::Partition}:s3:::${bucket}`);
export const objectsOf =
  ({ bucket, prefix }: Settings) =>
  (path: string) =>
    sub([`arn:\${AWS::Partition}:s3:::${bucket}`, prefix, path].filter(Boolean).join("/"));
const via = (service: string) => ({ StringLike: { "kms:ViaService": `${service}.*.amazonaws.com` } });
const useBucketKey = ({ bucket_kms_key: key }: Settings) =>
  allow("UseBucketKey", ["kms:Decrypt", "kms:GenerateDataKey"], key ? [key] : [], via("s3"));

/** What the role of a function may do: the statements of infra/modules/aws/identities.tf, and their reasons are there. */
export function statementsOf(job: Job, given: Settings): Statement[] {
  const objects = objectsOf(given);
  const folders = given.fleet ? ["", "*/"] : [""];
  const own: Record<Job, Statement[]> = {
    backup: [allow("Create", [...UPLOAD, ...(given.retain ? ["s3:PutObjectRetention"] : [])], [objects("*")])],
    restore: [
      allow(
        "Create",
        UPLOAD,
        folders.flatMap((folder) =>
          ["restores/*", "metadata/*", "backups/*-before/*", "backups/*-before-*/*"].map((path) =>
            objects(folder + path),
          ),
        ),
      ),
    ],
    retention: [
      allow("SeeWhatIsHeld", ["s3:GetObjectRetention"], [objects("*")]),
      allow(
        "Create",
        UPLOAD,
        folders.map((folder) => objects(`${folder}metadata/*`)),
      ),
      allow("Delete", ["s3:DeleteObject"], [objects("*")]),
    ],
  };
  const secretArns = [...new Set([...given.secrets[job], ...[given.configuration_secret ?? []].flat()])];
  const clusters = given.fleet ? ["*"] : groupsOf(job, given).length > 0 ? given.clusters : [];
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
    allow("List", ["s3:ListBucket"], [bucketOf(given)]),
    allow("Read", ["s3:GetObject"], [objects("*")]),
    ...own[job],
    allow("HandOverJobs", ["states:StartExecution"], [arn("states", `stateMachine:${given.name}-${job}`)]),
    useBucketKey(given),
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
    allow("ListClusters", ["eks:ListClusters"], given.fleet ? clusters : []),
    ...(given.volumes.includes("disks") ? diskStatements(job, given) : []),
    allow("BeInVpc", inVpc, everything),
    { ...allow("NotByTheCode", inVpc, everything, notByTheCode), Effect: "Deny" as const },
  ].filter(({ Resource }) => Resource.length > 0);
}

/** What restic may do in its Jobs. It keeps a lock while it works, and deletes it. */
export function resticStatements(given: Settings): Statement[] {
  const files = [objectsOf(given)("restic/*")];
  return [
    allow("List", ["s3:ListBucket"], [bucketOf(given)]),
    allow("Read", ["s3:GetObject"], files),
    allow("WriteAndDelete", [...UPLOAD, "s3:DeleteObject"], files),
    useBucketKey(given),
  ].filter(({ Resource }) => Resource.length > 0);
}

/** The groups of a function in a cluster. Each is bound to a role by a file of infra/kubernetes. */
export function groupsOf(job: Job, { hooks, volumes }: Settings): string[] {
  const copying = ["csi", "restic"].filter((method) => volumes.some((one) => one === method));
  const groups: Record<Job, string[]> = {
    backup: ["backup", ...(hooks ? ["hooks"] : []), ...copying],
    restore: ["restore"],
    retention: copying,
  };
  return groups[job].map((group) => `lifeboat:${group}`);
}

/** What a function may do with disks and their snapshots: the `disk_statements` of the module. */
function diskStatements(job: Job, { volumes_kms_keys: keys }: Settings): Statement[] {
  const snapshots = sub(`arn:\${AWS::Partition}:ec2:\${AWS::Region}:*:snapshot/*`);
  const volumes = arn("ec2", "volume/*");
  const tagged = (key: string) => ({ Null: { [`aws:${key}`]: "false" } });
  const making = (CreateAction: string) => ({ StringEquals: { "ec2:CreateAction": CreateAction } });
  const find = allow("FindDisks", ["ec2:DescribeSnapshots", "ec2:DescribeVolumes"], ["*"]);
  const statements: Record<Job, Statement[]> = {
    backup: [
      find,
      allow("SnapshotDisks", ["ec2:CreateSnapshot"], [volumes]),
      allow("MakeTaggedSnapshots", ["ec2:CreateSnapshot"], [snapshots], tagged("RequestTag/velero.io/backup")),
      allow("TagNewSnapshots", ["ec2:CreateTags"], [snapshots], making("CreateSnapshot")),
    ],
    restore: [
      find,
      allow("ReadSnapshots", ["ec2:CreateVolume"], [snapshots]),
      allow("MakeTaggedVolumes", ["ec2:CreateVolume"], [volumes], tagged("RequestTag/lifeboat/name")),
      allow("TagNewVolumes", ["ec2:CreateTags"], [volumes], making("CreateVolume")),
      allow("DeleteOwnVolumes", ["ec2:DeleteVolume"], [volumes], tagged("ResourceTag/lifeboat/name")),
      allow(
        "UseVolumeKeys",
        [
          ...["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext"],
          ...["kms:ReEncryptFrom", "kms:ReEncryptTo"],
        ],
        keys,
        via("ec2"),
      ),
      allow("LendVolumeKeys", ["kms:CreateGrant"], keys, { Bool: { "kms:GrantIsForAWSResource": "true" } }),
    ],
    retention: [
      allow("FindSnapshots", ["ec2:DescribeSnapshots"], ["*"]),
      allow("DeleteSnapshots", ["ec2:DeleteSnapshot"], [snapshots], tagged("ResourceTag/velero.io/backup")),
    ],
  };
  return statements[job];
}

/** What the role of a function's state machine may do: the statements of infra/modules/aws/machines.tf. */
export function machineStatements(job: Job, { name }: Settings): Statement[] {
  const rule = "rule/StepFunctionsGetEventsForStepFunctionsExecutionRule";
  return [
    allow("RunJobs", ["lambda:InvokeFunction"], [att(`${capital(job)}LambdaFunction`)]),
    allow("RunParts", ["states:StartExecution"], [arn("states", `stateMachine:${name}-${job}`)]),
    allow(
      "FollowParts",
      ["states:DescribeExecution", "states:StopExecution"],
      [arn("states", `execution:${name}-${job}:*`)],
    ),
    allow("HearOfParts", ["events:PutTargets", "events:PutRule", "events:DescribeRule"], [arn("events", rule)]),
    allow("LeaveDeadLetters", ["sqs:SendMessage"], [att("DeadLetters")]),
  ];
}

export function schedulersStatements({ kms_key }: Settings): Statement[] {
  return [
    allow("RunJobs", ["states:StartExecution"], [att("BackupMachine"), att("RetentionMachine")]),
    allow("LeaveDeadLetters", ["sqs:SendMessage"], [att("DeadLetters")]),
    ...(kms_key ? [allow("DecryptJobs", ["kms:Decrypt"], [kms_key])] : []),
  ];
}
