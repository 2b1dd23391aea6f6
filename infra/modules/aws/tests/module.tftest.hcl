mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
  }
  mock_data "aws_region" {
    defaults = { region = "eu-west-1" }
  }
  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::111122223333:policy/lifeboat-restore-caller" }
  }
}

variables {
  package       = "tests/package.zip"
  bucket        = "acme-backups"
  prefix        = "prod"
  configuration = "clusters: {prod: {eks: {name: prod, region: eu-west-1}}}"
  clusters      = ["prod"]
  secrets = {
    backup  = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod-kubeconfig-AbCdEf"]
    restore = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:green-kubeconfig-AbCdEf"]
  }
  restore_principals = ["operator"]
  alarm_actions      = ["arn:aws:sns:eu-west-1:111122223333:oncall"]
  schedules = {
    hourly = {
      expressions      = ["cron(0 * * * ? *)"]
      time_zone        = "Europe/Berlin"
      job              = { kind = "backup", schedule = "hourly" }
      interval_seconds = 3600
    }
    friday-13 = {
      expressions      = ["cron(0 2 13 * ? *)", "cron(0 2 ? * 6 *)"]
      job              = { kind = "backup", schedule = "friday-13" }
      interval_seconds = 604800
    }
    verify        = { expressions = ["rate(1 day)"], job = { kind = "verify" }, interval_seconds = 86400 }
    retention_job = { expressions = ["cron(45 4 * * ? *)"], job = { kind = "retention" }, interval_seconds = 86400 }
    paused = {
      expressions      = ["rate(6 hours)"]
      job              = { kind = "backup", schedule = "paused" }
      interval_seconds = 21600
      paused           = true
    }
  }
}

run "what_it_makes" {
  command = plan

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.function["backup"].policy).Statement :
      alltrue([for action in statement.Action : !strcontains(action, "Delete") && !strcontains(action, "*") && !strcontains(action, "Bypass")])
    ])
    error_message = "the backup function may delete, or has a wildcard among its actions"
  }
  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.function["backup"].policy).Statement :
      alltrue([for resource in statement.Resource : !startswith(resource, "*")])
    ])
    error_message = "the backup function has a right on everything"
  }
  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.function["backup"].policy).Statement : statement.Action
      ])) == toset([
      "logs:CreateLogStream", "logs:PutLogEvents", "sqs:SendMessage", "s3:ListBucket", "s3:GetObject", "s3:PutObject",
      "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "secretsmanager:GetSecretValue", "eks:DescribeCluster",
      "states:StartExecution",
    ])
    error_message = "the backup function's rights are not those that it needs"
  }
  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.function["backup"].policy).Statement : statement.Resource if statement.Sid == "ReadSecrets"
    ])) == toset(var.secrets.backup)
    error_message = "the backup function may read other secrets than those named"
  }
  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.function["restore"].policy).Statement :
      statement.Resource if contains(statement.Action, "s3:PutObject")
      ])) == toset([
      "arn:aws:s3:::acme-backups/prod/restores/*", "arn:aws:s3:::acme-backups/prod/metadata/*",
      "arn:aws:s3:::acme-backups/prod/backups/*-before/*", "arn:aws:s3:::acme-backups/prod/backups/*-before-*/*",
    ])
    error_message = "the restore function may write elsewhere"
  }
  assert {
    condition = [
      for job, policy in aws_iam_role_policy.function : job
      if contains(flatten([for statement in jsondecode(policy.policy).Statement : statement.Action]), "s3:DeleteObject")
    ] == ["retention"]
    error_message = "others than retention may delete"
  }
  assert {
    condition     = alltrue([for policy in aws_iam_role_policy.function : !strcontains(policy.policy, "BypassGovernance") && !strcontains(policy.policy, "DeleteObjectVersion")])
    error_message = "somebody may lift what holds an object"
  }
  assert {
    condition     = alltrue([for policy in aws_iam_role_policy.function : !strcontains(policy.policy, "ec2:")]) && length(aws_iam_policy.restic) + length(aws_eks_access_entry.retention) == 0
    error_message = "without volumes somebody has a right on a disk, or retention on a cluster"
  }
  assert {
    condition = alltrue([
      for function in aws_lambda_function.this :
      function.filename == var.package && function.source_code_hash == filebase64sha256(var.package)
    ])
    error_message = "a function is made of another zip than the one given"
  }
  assert {
    condition     = aws_lambda_function_url.restore.authorization_type == "AWS_IAM" && aws_lambda_function_url.restore.function_name == "lifeboat-restore"
    error_message = "the restore endpoint is public"
  }
  assert {
    condition = [for statement in jsondecode(aws_iam_policy.restore_caller.policy).Statement : statement.Resource] == [
      ["arn:aws:lambda:eu-west-1:111122223333:function:lifeboat-restore"],
      ["arn:aws:lambda:eu-west-1:111122223333:function:lifeboat-restore"],
    ]
    error_message = "who may restore may call other functions"
  }
  assert {
    condition     = keys(aws_iam_role_policy_attachment.restore_caller) == ["operator"]
    error_message = "others than the principals named may call the restore endpoint"
  }
  assert {
    condition     = alltrue([for config in aws_lambda_function_event_invoke_config.this : config.destination_config[0].on_failure[0].destination == "arn:aws:sqs:eu-west-1:111122223333:lifeboat-dead-letters"])
    error_message = "a function has no target for dead letters"
  }
  assert {
    condition     = aws_lambda_function.this["restore"].environment[0].variables.LIFEBOAT_LOCATION == "s3://acme-backups/prod?region=eu-west-1"
    error_message = "the functions work on another location"
  }
  assert {
    condition = alltrue([
      for job, policy in aws_iam_role_policy.machine :
      [for statement in jsondecode(policy.policy).Statement : statement.Resource] == [
        ["arn:aws:lambda:eu-west-1:111122223333:function:lifeboat-${job}"],
        ["arn:aws:states:eu-west-1:111122223333:stateMachine:lifeboat-${job}"],
        ["arn:aws:states:eu-west-1:111122223333:execution:lifeboat-${job}:*"],
        ["arn:aws:events:eu-west-1:111122223333:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"],
        ["arn:aws:sqs:eu-west-1:111122223333:lifeboat-dead-letters"],
      ]
    ]) && length(aws_iam_role_policy.machine) == 3
    error_message = "a state machine may use more than its function, itself and the queue"
  }
  assert {
    condition = alltrue([
      for job, policy in aws_iam_role_policy.function : [
        for statement in jsondecode(policy.policy).Statement : statement.Resource if contains(statement.Action, "states:StartExecution")
      ] == [["arn:aws:states:eu-west-1:111122223333:stateMachine:lifeboat-${job}"]]
    ])
    error_message = "a function may start another one's state machine"
  }
  assert {
    condition = flatten([
      for statement in jsondecode(aws_iam_role_policy.scheduler.policy).Statement : [for resource in statement.Resource : "${statement.Action[0]} ${resource}"]
      ]) == [
      "states:StartExecution arn:aws:states:eu-west-1:111122223333:stateMachine:lifeboat-backup",
      "states:StartExecution arn:aws:states:eu-west-1:111122223333:stateMachine:lifeboat-retention",
      "sqs:SendMessage arn:aws:sqs:eu-west-1:111122223333:lifeboat-dead-letters",
    ]
    error_message = "Scheduler may do more than start two state machines"
  }
  assert {
    condition = alltrue([
      for job, machine in aws_sfn_state_machine.this :
      jsondecode(machine.definition).States.Run.Resource == "arn:aws:lambda:eu-west-1:111122223333:function:lifeboat-${job}" &&
      jsondecode(machine.definition).States.Run.Retry[2].MaxAttempts == 2 &&
      jsondecode(machine.definition).States.Parts.MaxConcurrency == 10 &&
      jsondecode(machine.definition).States.GiveUp.Parameters.QueueUrl == "https://sqs.eu-west-1.amazonaws.com/111122223333/lifeboat-dead-letters" &&
      aws_lambda_function.this[job].environment[0].variables.LIFEBOAT_STATE_MACHINE == "arn:aws:states:eu-west-1:111122223333:stateMachine:${machine.name}"
    ]) && keys(aws_sfn_state_machine.this) == ["backup", "restore", "retention"]
    error_message = "a state machine does not run its function's jobs"
  }
  assert {
    condition     = keys(aws_scheduler_schedule.this) == ["friday-13-0", "friday-13-1", "hourly-0", "paused-0", "retention_job-0", "verify-0"]
    error_message = "not one schedule for each expression"
  }
  assert {
    condition = alltrue([
      for schedule in aws_scheduler_schedule.this :
      schedule.target[0].dead_letter_config[0].arn == "arn:aws:sqs:eu-west-1:111122223333:lifeboat-dead-letters" && schedule.target[0].retry_policy[0].maximum_retry_attempts == 3
    ])
    error_message = "a schedule has no target for dead letters"
  }
  assert {
    condition     = aws_scheduler_schedule.this["hourly-0"].target[0].input == "{\"kind\":\"backup\",\"schedule\":\"hourly\",\"slot\":\"<aws.scheduler.scheduled-time>\"}"
    error_message = "EventBridge would find no slot to fill in"
  }
  assert {
    condition     = aws_scheduler_schedule.this["retention_job-0"].target[0].input == "{\"kind\":\"retention\"}" && aws_scheduler_schedule.this["retention_job-0"].target[0].arn == "arn:aws:states:eu-west-1:111122223333:stateMachine:lifeboat-retention"
    error_message = "retention is not a job of its own function"
  }
  assert {
    condition     = aws_scheduler_schedule.this["paused-0"].state == "DISABLED" && aws_scheduler_schedule.this["hourly-0"].state == "ENABLED"
    error_message = "a paused schedule runs"
  }
  assert {
    condition     = aws_scheduler_schedule.this["hourly-0"].schedule_expression_timezone == "Europe/Berlin"
    error_message = "the time zone is lost"
  }
  assert {
    condition     = aws_s3_bucket_versioning.this[0].versioning_configuration[0].status == "Enabled"
    error_message = "the bucket keeps no versions"
  }
  assert {
    condition = alltrue([
      for block in aws_s3_bucket_public_access_block.this :
      block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets
    ])
    error_message = "the bucket can be made public"
  }
  assert {
    condition     = [for statement in jsondecode(aws_s3_bucket_policy.this[0].policy).Statement : statement.Sid] == ["OnlyTls", "NothingIsOverwritten"]
    error_message = "the bucket's policy is not the one expected"
  }
  assert {
    condition     = keys(aws_cloudwatch_metric_alarm.no_good_backup) == ["hourly"] && output.schedules_without_alarm == ["friday-13"]
    error_message = "not the schedules that CloudWatch can watch"
  }
  assert {
    condition = (
      aws_cloudwatch_metric_alarm.no_good_backup["hourly"].period * aws_cloudwatch_metric_alarm.no_good_backup["hourly"].evaluation_periods == 7200 &&
      aws_cloudwatch_metric_alarm.no_good_backup["hourly"].treat_missing_data == "breaching"
    )
    error_message = "silence is no alarm after twice the interval"
  }
  assert {
    condition     = aws_cloudwatch_log_metric_filter.good_backup["hourly"].pattern == "\"job=backup schedule=hourly phase=Completed\""
    error_message = "the filter does not look for what the function logs"
  }
  assert {
    condition = alltrue([
      for alarm in concat(values(aws_cloudwatch_metric_alarm.failed), values(aws_cloudwatch_metric_alarm.given_up), values(aws_cloudwatch_metric_alarm.no_good_backup), [aws_cloudwatch_metric_alarm.dead_letters]) :
      alarm.alarm_actions == toset(["arn:aws:sns:eu-west-1:111122223333:oncall"])
    ])
    error_message = "an alarm tells nobody"
  }
}

run "every_setting_but_hooks_leaves_the_cluster_alone" {
  command = plan

  variables {
    retain               = true
    object_lock          = true
    vpc                  = { subnet_ids = ["subnet-1"], security_group_ids = ["sg-1"] }
    bucket_kms_key       = "arn:aws:kms:eu-west-1:111122223333:key/1"
    secrets_kms_keys     = ["arn:aws:kms:eu-west-1:111122223333:key/2"]
    kms_key              = "arn:aws:kms:eu-west-1:111122223333:key/3"
    configuration        = null
    configuration_secret = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:lifeboat-AbCdEf"
  }

  assert {
    condition     = alltrue([for entry in aws_eks_access_entry.backup : entry.kubernetes_groups == toset(["lifeboat:backup"])])
    error_message = "without hooks the backup function is in a group that can write"
  }
  assert {
    condition = toset([
      for action in flatten([for statement in jsondecode(aws_iam_role_policy.function["backup"].policy).Statement : statement.Action]) :
      action if startswith(action, "eks:")
    ]) == toset(["eks:DescribeCluster"])
    error_message = "the backup function has rights on EKS beyond reading where a cluster is"
  }
  assert {
    condition = !contains(flatten([
      for statement in jsondecode(aws_iam_role_policy.function["backup"].policy).Statement : statement.Action
    ]), "s3:DeleteObject")
    error_message = "a setting lets the backup function delete"
  }
  assert {
    condition = contains(flatten([
      for statement in jsondecode(aws_iam_role_policy.function["backup"].policy).Statement : statement.Action
    ]), "s3:PutObjectRetention")
    error_message = "retain adds no right to hold objects"
  }
  assert {
    condition     = aws_lambda_function.this["backup"].environment[0].variables.LIFEBOAT_CONFIG == "aws-sm://${var.configuration_secret}"
    error_message = "the configuration's secret is not handed over as a reference"
  }
  assert {
    condition = toset(concat(
      [for group in aws_cloudwatch_log_group.function : group.kms_key_id],
      [for function in aws_lambda_function.this : function.kms_key_arn],
      [for schedule in aws_scheduler_schedule.this : schedule.kms_key_arn],
    )) == toset([var.kms_key])
    error_message = "logs, environment or jobs are encrypted by another key than the one given"
  }
  assert {
    condition = [
      for statement in jsondecode(aws_iam_role_policy.scheduler.policy).Statement : statement.Action if contains(statement.Resource, var.kms_key)
    ] == [["kms:Decrypt"]]
    error_message = "Scheduler may not decrypt the jobs that it delivers"
  }
}

run "hooks" {
  command = plan

  variables {
    hooks = true
  }

  assert {
    condition     = aws_eks_access_entry.backup["prod"].kubernetes_groups == toset(["lifeboat:backup", "lifeboat:hooks"])
    error_message = "hooks adds no group"
  }
}

run "volumes_by_disks" {
  command = plan

  variables {
    volumes          = ["disks"]
    volumes_kms_keys = ["arn:aws:kms:eu-west-1:111122223333:key/4"]
  }

  assert {
    condition = { for job, policy in aws_iam_role_policy.function : job => toset(flatten([
      for statement in jsondecode(policy.policy).Statement : [for action in statement.Action : action if startswith(action, "ec2:")]
      ])) } == {
      backup    = toset(["ec2:DescribeSnapshots", "ec2:DescribeVolumes", "ec2:CreateSnapshot", "ec2:CreateTags"])
      restore   = toset(["ec2:DescribeSnapshots", "ec2:DescribeVolumes", "ec2:CreateVolume", "ec2:CreateTags", "ec2:DeleteVolume"])
      retention = toset(["ec2:DescribeSnapshots", "ec2:DeleteSnapshot"])
    }
    error_message = "the functions' rights on disks are not those that they need"
  }
  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.function["backup"].policy).Statement :
      alltrue([for action in statement.Action : !strcontains(action, "Delete") && !strcontains(action, "*")])
    ])
    error_message = "volumes lets the backup function delete"
  }
  assert {
    condition = alltrue(flatten([
      for policy in aws_iam_role_policy.function : [
        for statement in jsondecode(policy.policy).Statement :
        alltrue([for action in statement.Action : startswith(action, "ec2:Describe")]) if contains(statement.Resource, "*")
      ]
    ]))
    error_message = "a function may do more with all that there is than to list it"
  }
  assert {
    condition = {
      for statement in flatten([for policy in aws_iam_role_policy.function : jsondecode(policy.policy).Statement]) :
      statement.Sid => statement.Condition if length(regexall("Tagged|TagNew|DeleteSnapshots|DeleteOwn", statement.Sid)) > 0
      } == {
      MakeTaggedSnapshots = { Null = { "aws:RequestTag/velero.io/backup" = "false" } }
      TagNewSnapshots     = { StringEquals = { "ec2:CreateAction" = "CreateSnapshot" } }
      MakeTaggedVolumes   = { Null = { "aws:RequestTag/lifeboat/name" = "false" } }
      TagNewVolumes       = { StringEquals = { "ec2:CreateAction" = "CreateVolume" } }
      DeleteOwnVolumes    = { Null = { "aws:ResourceTag/lifeboat/name" = "false" } }
      DeleteSnapshots     = { Null = { "aws:ResourceTag/velero.io/backup" = "false" } }
    }
    error_message = "a function may tag, or delete, snapshots and volumes of others"
  }
  assert {
    condition = toset([
      for statement in jsondecode(aws_iam_role_policy.function["restore"].policy).Statement : statement.Sid if contains(statement.Resource, var.volumes_kms_keys[0])
    ]) == toset(["UseVolumeKeys", "LendVolumeKeys"])
    error_message = "a restore can make no encrypted volume"
  }
  assert {
    condition     = aws_eks_access_entry.backup["prod"].kubernetes_groups == toset(["lifeboat:backup"]) && length(aws_eks_access_entry.retention) + length(aws_iam_policy.restic) == 0
    error_message = "snapshots of disks, which the cloud makes, need a right in the cluster"
  }
}

run "volumes_by_the_cluster" {
  command = plan

  variables {
    volumes           = ["csi", "restic"]
    restic_principals = ["restic"]
  }

  assert {
    condition     = alltrue([for policy in aws_iam_role_policy.function : !strcontains(policy.policy, "ec2:")])
    error_message = "copies that the cluster makes need a right on disks"
  }
  assert {
    condition     = aws_eks_access_entry.backup["prod"].kubernetes_groups == toset(["lifeboat:backup", "lifeboat:csi", "lifeboat:restic"]) && aws_eks_access_entry.retention["prod"].kubernetes_groups == toset(["lifeboat:csi", "lifeboat:restic"])
    error_message = "the functions are in other groups than those that make and delete copies"
  }
  assert {
    condition     = contains(flatten([for statement in jsondecode(aws_iam_role_policy.function["retention"].policy).Statement : statement.Action]), "eks:DescribeCluster")
    error_message = "retention can't find the cluster that deletes copies"
  }
  assert {
    condition     = output.rbac_command == "kubectl apply -f infra/kubernetes/backup.yaml -f infra/kubernetes/restore.yaml -f infra/kubernetes/csi.yaml -f infra/kubernetes/restic.yaml"
    error_message = "the groups get other rights in the cluster"
  }
  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_policy.restic[0].policy).Statement : statement.Resource if !contains(statement.Action, "s3:ListBucket")
    ])) == toset(["arn:aws:s3:::acme-backups/prod/restic/*"]) && keys(aws_iam_role_policy_attachment.restic) == ["restic"]
    error_message = "restic's Jobs may read or write backups, or others may write restic's files"
  }
  assert {
    condition = flatten([for statement in jsondecode(aws_s3_bucket_policy.this[0].policy).Statement : statement.Resource if statement.Sid == "NothingIsOverwritten"]) == [
      "arn:aws:s3:::acme-backups/prod/backups/*", "arn:aws:s3:::acme-backups/prod/restores/*", "arn:aws:s3:::acme-backups/prod/metadata/*",
    ]
    error_message = "restic can't write, or a backup can be overwritten"
  }
  assert {
    condition = [
      for job, policy in aws_iam_role_policy.function : job
      if contains(flatten([for statement in jsondecode(policy.policy).Statement : statement.Action]), "s3:DeleteObject")
    ] == ["retention"]
    error_message = "others than retention may delete"
  }
}

run "rights_of_restic_that_nobody_asked_for" {
  command = plan

  variables {
    volumes           = ["csi"]
    restic_principals = ["restic"]
  }

  assert {
    condition     = length(aws_iam_policy.restic) + length(aws_iam_role_policy_attachment.restic) == 0
    error_message = "restic gets rights though no volume is copied by it"
  }
}

run "a_way_of_copying_that_is_none" {
  command = plan
  variables {
    volumes = ["kopia"]
  }
  expect_failures = [var.volumes]
}

run "existing_bucket" {
  command = plan

  variables {
    create_bucket = false
  }

  assert {
    condition     = length(aws_s3_bucket.this) + length(aws_s3_bucket_policy.this) + length(aws_s3_bucket_lifecycle_configuration.this) == 0
    error_message = "an existing bucket is touched"
  }
}

run "a_line_of_crontab" {
  command = plan
  variables {
    schedules = { hourly = { expressions = ["0 * * * *"], job = { kind = "backup", schedule = "hourly" }, interval_seconds = 3600 } }
  }
  expect_failures = [var.schedules]
}

run "a_cron_of_five_fields" {
  command = plan
  variables {
    schedules = { hourly = { expressions = ["cron(0 * * * *)"], job = { kind = "backup", schedule = "hourly" }, interval_seconds = 3600 } }
  }
  expect_failures = [var.schedules]
}

run "an_hour_that_is_none" {
  command = plan
  variables {
    schedules = { hourly = { expressions = ["cron(0 25 * * ? *)"], job = { kind = "backup", schedule = "hourly" }, interval_seconds = 3600 } }
  }
  expect_failures = [var.schedules]
}

run "a_day_and_a_weekday" {
  command = plan
  variables {
    schedules = { hourly = { expressions = ["cron(0 0 * * * *)"], job = { kind = "backup", schedule = "hourly" }, interval_seconds = 3600 } }
  }
  expect_failures = [var.schedules]
}

run "an_interval_of_a_second" {
  command = plan
  variables {
    schedules = { hourly = { expressions = ["rate(1 hour)"], job = { kind = "backup", schedule = "hourly" }, interval_seconds = 1 } }
  }
  expect_failures = [var.schedules]
}

run "no_concurrency" {
  command = plan
  variables {
    concurrency = 0
  }
  expect_failures = [var.concurrency]
}

run "a_schedule_of_restores" {
  command = plan
  variables {
    schedules = { hourly = { expressions = ["rate(1 hour)"], job = { kind = "restore" }, interval_seconds = 3600 } }
  }
  expect_failures = [var.schedules]
}

run "names_that_are_none_and_rights_on_everything" {
  command = plan
  variables {
    name               = "My Lifeboat"
    bucket             = "Acme_Backups"
    secrets            = { backup = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:*"] }
    restore_principals = ["*"]
  }
  expect_failures = [var.name, var.bucket, var.secrets, var.restore_principals]
}

run "no_configuration" {
  command = plan
  variables {
    configuration = null
  }
  expect_failures = [aws_lambda_function.this]
}

run "a_configuration_too_long" {
  command = plan
  variables {
    configuration = join("", [for line in range(500) : "# ${line} 0123456789\n"])
  }
  expect_failures = [aws_lambda_function.this]
}

run "a_schedule_that_no_clock_runs" {
  command = plan
  variables {
    configuration = "schedules: {hourly: {schedule: '0 * * * *', cluster: prod}, nightly: {schedule: '0 2 * * *', cluster: prod}}"
    schedules     = { hourly = { expressions = ["rate(1 hour)"], job = { kind = "backup", schedule = "hourly" }, interval_seconds = 3600 } }
  }
  expect_failures = [aws_lambda_function.this]
}

run "a_clock_for_no_schedule" {
  command = plan
  variables {
    configuration = "schedules: {nightly: {schedule: '0 2 * * *', cluster: prod}}"
    schedules = {
      hourly  = { expressions = ["rate(1 hour)"], job = { kind = "backup", schedule = "hourly" }, interval_seconds = 3600 }
      nightly = { expressions = ["rate(1 hour)"], job = { kind = "backup", schedule = "nightly" }, interval_seconds = 3600 }
    }
  }
  expect_failures = [aws_lambda_function.this]
}

run "a_fleet" {
  command = plan
  variables {
    fleet = true
  }
  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.function["retention"].policy).Statement : statement.Resource if statement.Sid == "Create"
    ])) == toset(["arn:aws:s3:::acme-backups/prod/metadata/*", "arn:aws:s3:::acme-backups/prod/*/metadata/*"])
    error_message = "retention can't write in each cluster's folder, or elsewhere"
  }
  assert {
    condition = contains(flatten([
      for statement in jsondecode(aws_iam_role_policy.function["restore"].policy).Statement : statement.Resource if statement.Sid == "Create"
    ]), "arn:aws:s3:::acme-backups/prod/*/restores/*")
    error_message = "restores can't be stored in each cluster's folder"
  }
  assert {
    condition = alltrue([for job in ["backup", "restore", "retention"] : [
      for statement in jsondecode(aws_iam_role_policy.function[job].policy).Statement : "${join(",", statement.Action)} ${join(",", statement.Resource)}" if strcontains(statement.Sid, "Clusters")
    ] == ["eks:DescribeCluster arn:aws:eks:eu-west-1:111122223333:cluster/*", "eks:ListClusters *"]])
    error_message = "a function can't discover clusters"
  }
}
