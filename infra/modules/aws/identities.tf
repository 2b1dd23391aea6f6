locals {
  log_statement = { for job in local.jobs : job => {
    Sid      = "Log"
    Effect   = "Allow"
    Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    Resource = ["arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/aws/lambda/${local.function_names[job]}:*"]
  } }

  dead_letter_statement = {
    Sid      = "LeaveDeadLetters"
    Effect   = "Allow"
    Action   = ["sqs:SendMessage"]
    Resource = [local.dead_letters_arn]
  }

  # Of the whole bucket: only who may list without a condition is told that an object is absent (404, not 403).
  list_statement = {
    Sid      = "List"
    Effect   = "Allow"
    Action   = ["s3:ListBucket"]
    Resource = [local.bucket_arn]
  }

  read_statement = {
    Sid      = "Read"
    Effect   = "Allow"
    Action   = ["s3:GetObject"]
    Resource = ["${local.objects_arn}/*"]
  }

  # Where locations are: of a fleet each cluster's lies below it.
  folders = concat([local.objects_arn], var.fleet ? ["${local.objects_arn}/*"] : [])

  upload_actions = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]

  bucket_statements = {
    backup = [
      local.list_statement,
      local.read_statement,
      {
        Sid      = "Create"
        Effect   = "Allow"
        Action   = concat(local.upload_actions, var.retain ? ["s3:PutObjectRetention"] : [])
        Resource = ["${local.objects_arn}/*"]
      },
    ]
    restore = [
      local.list_statement,
      local.read_statement,
      {
        # Its record and report; locks, requests and notes; and the backup NAME-before (NAME-before-2, …) of what it touches.
        Sid    = "Create"
        Effect = "Allow"
        Action = local.upload_actions
        Resource = flatten([for folder in local.folders : [
          for path in ["restores/*", "metadata/*", "backups/*-before/*", "backups/*-before-*/*"] : "${folder}/${path}"
        ]])
      },
    ]
    retention = [
      local.list_statement,
      local.read_statement,
      {
        Sid      = "SeeWhatIsHeld"
        Effect   = "Allow"
        Action   = ["s3:GetObjectRetention"]
        Resource = ["${local.objects_arn}/*"]
      },
      {
        Sid      = "Create"
        Effect   = "Allow"
        Action   = local.upload_actions
        Resource = [for folder in local.folders : "${folder}/metadata/*"]
      },
      {
        Sid      = "Delete"
        Effect   = "Allow"
        Action   = ["s3:DeleteObject"]
        Resource = ["${local.objects_arn}/*"]
      },
    ]
  }

  secret_arns = { for job in local.jobs : job => distinct(concat(
    var.secrets[job],
    var.configuration_secret == null ? [] : [var.configuration_secret],
  )) }

  secret_statements = { for job in local.jobs : job => concat(
    [for arns in [local.secret_arns[job]] : {
      Sid      = "ReadSecrets"
      Effect   = "Allow"
      Action   = ["secretsmanager:GetSecretValue"]
      Resource = arns
    } if length(arns) > 0],
    [for arns in [var.secrets_kms_keys] : {
      Sid       = "DecryptSecrets"
      Effect    = "Allow"
      Action    = ["kms:Decrypt"]
      Resource  = arns
      Condition = { StringLike = { "kms:ViaService" = "secretsmanager.*.amazonaws.com" } }
    } if length(arns) > 0 && length(local.secret_arns[job]) > 0],
  ) }

  bucket_key_statements = [for key in compact([var.bucket_kms_key]) : {
    Sid       = "UseBucketKey"
    Effect    = "Allow"
    Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource  = [key]
    Condition = { StringLike = { "kms:ViaService" = "s3.*.amazonaws.com" } }
  }]

  # Each is bound to a role by a file of infra/kubernetes. What a driver or restic has stored, only a cluster can delete.
  copying_groups = concat(contains(var.volumes, "csi") ? ["lifeboat:csi"] : [], contains(var.volumes, "restic") ? ["lifeboat:restic"] : [])
  groups = {
    backup    = concat(["lifeboat:backup"], var.hooks ? ["lifeboat:hooks"] : [], local.copying_groups)
    restore   = ["lifeboat:restore"]
    retention = local.copying_groups
  }

  snapshots_arn = "arn:${local.partition}:ec2:${local.region}:*:snapshot/*"
  volumes_arn   = "arn:${local.partition}:ec2:${local.region}:${local.account}:volume/*"

  # Whose snapshot it is, and who made a volume, their tags say: what has none, nobody here deletes. These actions on all
  # that there is take no single resource.
  disk_statements = {
    backup = [
      { Sid = "FindDisks", Action = ["ec2:DescribeSnapshots", "ec2:DescribeVolumes"], Resource = ["*"], Condition = {} },
      { Sid = "SnapshotDisks", Action = ["ec2:CreateSnapshot"], Resource = [local.volumes_arn], Condition = {} },
      {
        Sid       = "MakeTaggedSnapshots"
        Action    = ["ec2:CreateSnapshot"]
        Resource  = [local.snapshots_arn]
        Condition = { Null = { "aws:RequestTag/velero.io/backup" = "false" } }
      },
      {
        Sid       = "TagNewSnapshots"
        Action    = ["ec2:CreateTags"]
        Resource  = [local.snapshots_arn]
        Condition = { StringEquals = { "ec2:CreateAction" = "CreateSnapshot" } }
      },
    ]
    restore = concat(
      [
        { Sid = "FindDisks", Action = ["ec2:DescribeSnapshots", "ec2:DescribeVolumes"], Resource = ["*"], Condition = {} },
        { Sid = "ReadSnapshots", Action = ["ec2:CreateVolume"], Resource = [local.snapshots_arn], Condition = {} },
        {
          Sid       = "MakeTaggedVolumes"
          Action    = ["ec2:CreateVolume"]
          Resource  = [local.volumes_arn]
          Condition = { Null = { "aws:RequestTag/lifeboat/name" = "false" } }
        },
        {
          Sid       = "TagNewVolumes"
          Action    = ["ec2:CreateTags"]
          Resource  = [local.volumes_arn]
          Condition = { StringEquals = { "ec2:CreateAction" = "CreateVolume" } }
        },
        {
          Sid       = "DeleteOwnVolumes"
          Action    = ["ec2:DeleteVolume"]
          Resource  = [local.volumes_arn]
          Condition = { Null = { "aws:ResourceTag/lifeboat/name" = "false" } }
        },
      ],
      [for arns in [var.volumes_kms_keys] : {
        Sid       = "UseVolumeKeys"
        Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
        Resource  = arns
        Condition = { StringLike = { "kms:ViaService" = "ec2.*.amazonaws.com" } }
      } if length(arns) > 0],
      [for arns in [var.volumes_kms_keys] : {
        Sid       = "LendVolumeKeys"
        Action    = ["kms:CreateGrant"]
        Resource  = arns
        Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }
      } if length(arns) > 0],
    )
    retention = [
      { Sid = "FindSnapshots", Action = ["ec2:DescribeSnapshots"], Resource = ["*"], Condition = {} },
      {
        Sid       = "DeleteSnapshots"
        Action    = ["ec2:DeleteSnapshot"]
        Resource  = [local.snapshots_arn]
        Condition = { Null = { "aws:ResourceTag/velero.io/backup" = "false" } }
      },
    ]
  }
  volume_statements = { for job, statements in local.disk_statements : job => [
    for statement in statements : merge(statement, { Effect = "Allow" }) if contains(var.volumes, "disks")
  ] }

  # It keeps a lock while it works, and deletes it.
  restic_statements = concat(
    [
      local.list_statement,
      merge(local.read_statement, { Resource = ["${local.objects_arn}/restic/*"] }),
      {
        Sid      = "WriteAndDelete"
        Effect   = "Allow"
        Action   = concat(local.upload_actions, ["s3:DeleteObject"])
        Resource = ["${local.objects_arn}/restic/*"]
      },
    ],
    local.bucket_key_statements,
  )

  # Of EKS only a list of all can be asked for. Of a fleet each function's jobs ask for its clusters, whatever they do with them.
  cluster_statements = [for statement in [
    {
      Sid    = "FindClusters"
      Effect = "Allow"
      Action = ["eks:DescribeCluster"]
      Resource = [
        for name in var.fleet ? ["*"] : var.clusters : "arn:${local.partition}:eks:${local.region}:${local.account}:cluster/${name}"
      ]
    },
    { Sid = "ListClusters", Effect = "Allow", Action = ["eks:ListClusters"], Resource = var.fleet ? ["*"] : [] },
  ] : statement if length(statement.Resource) > 0]

  interface_actions = [
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
  ]

  # Lambda makes the function's interfaces by its role, and these actions take no single resource; the code itself
  # is denied them.
  vpc_statements = { for job in local.jobs : job => flatten([for vpc in var.vpc == null ? [] : [var.vpc] : [
    {
      Sid       = "BeInVpc"
      Effect    = "Allow"
      Action    = local.interface_actions
      Resource  = ["*"]
      Condition = {}
    },
    {
      Sid       = "NotByTheCode"
      Effect    = "Deny"
      Action    = local.interface_actions
      Resource  = ["*"]
      Condition = { ArnEquals = { "lambda:SourceFunctionArn" = [local.function_arns[job]] } }
    },
  ]]) }

  # Requests to its URL become jobs of its own machine; so does what there was no time for of a job that no machine runs.
  own_statements = { for job in local.jobs : job => [{
    Sid      = "HandOverJobs"
    Effect   = "Allow"
    Action   = ["states:StartExecution"]
    Resource = [local.machine_arns[job]]
  }] }
}

resource "aws_iam_role" "function" {
  for_each = local.jobs

  name = local.function_names[each.key]
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
  tags = var.tags
}

resource "aws_iam_role_policy" "function" {
  for_each = local.jobs

  name = "lifeboat"
  role = aws_iam_role.function[each.key].name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [local.log_statement[each.key]],
      [local.dead_letter_statement],
      local.bucket_statements[each.key],
      local.bucket_key_statements,
      local.secret_statements[each.key],
      var.fleet || length(local.groups[each.key]) > 0 ? local.cluster_statements : [],
      local.volume_statements[each.key],
      local.own_statements[each.key],
      local.vpc_statements[each.key],
    )
  })
}

# Both rights are needed to call a function's URL.
resource "aws_iam_policy" "restore_caller" {
  name        = "${var.name}-restore-caller"
  description = "Call Lifeboat's restore endpoint"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Action    = ["lambda:InvokeFunctionUrl"]
        Resource  = [local.function_arns.restore]
        Condition = { StringEquals = { "lambda:FunctionUrlAuthType" = "AWS_IAM" } }
      },
      {
        Effect    = "Allow"
        Action    = ["lambda:InvokeFunction"]
        Resource  = [local.function_arns.restore]
        Condition = { Bool = { "lambda:InvokedViaFunctionUrl" = "true" } }
      },
    ]
  })
  tags = var.tags
}

resource "aws_iam_role_policy_attachment" "restore_caller" {
  for_each = toset(var.restore_principals)

  role       = each.value
  policy_arn = aws_iam_policy.restore_caller.arn
}

# For the identity that restic has in its Jobs.
resource "aws_iam_policy" "restic" {
  count = contains(var.volumes, "restic") ? 1 : 0

  name        = "${var.name}-restic"
  description = "Lifeboat's copies of volumes' files: read, write and delete below restic/"
  policy      = jsonencode({ Version = "2012-10-17", Statement = local.restic_statements })
  tags        = var.tags
}

resource "aws_iam_role_policy_attachment" "restic" {
  for_each = toset(contains(var.volumes, "restic") ? var.restic_principals : [])

  role       = each.value
  policy_arn = aws_iam_policy.restic[0].arn
}

resource "aws_eks_access_entry" "backup" {
  for_each = toset(var.clusters)

  cluster_name      = each.value
  principal_arn     = aws_iam_role.function["backup"].arn
  kubernetes_groups = local.groups.backup
  tags              = var.tags
}

resource "aws_eks_access_entry" "restore" {
  for_each = toset(var.clusters)

  cluster_name      = each.value
  principal_arn     = aws_iam_role.function["restore"].arn
  kubernetes_groups = local.groups.restore
  tags              = var.tags
}

resource "aws_eks_access_entry" "retention" {
  for_each = toset(length(local.groups.retention) == 0 ? [] : var.clusters)

  cluster_name      = each.value
  principal_arn     = aws_iam_role.function["retention"].arn
  kubernetes_groups = local.groups.retention
  tags              = var.tags
}
