data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region

  jobs           = toset(["backup", "restore", "retention"])
  function_names = { for job in local.jobs : job => "${var.name}-${job}" }
  function_arns = {
    for job, name in local.function_names : job => "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${name}"
  }
  dead_letters     = "${var.name}-dead-letters"
  dead_letters_arn = "arn:${local.partition}:sqs:${local.region}:${local.account}:${local.dead_letters}"
  dead_letters_url = "https://sqs.${local.region}.${data.aws_partition.current.dns_suffix}/${local.account}/${local.dead_letters}"
  bucket_arn       = "arn:${local.partition}:s3:::${var.bucket}"
  objects_arn      = var.prefix == "" ? local.bucket_arn : "${local.bucket_arn}/${var.prefix}"
  location         = "s3://${var.bucket}${var.prefix == "" ? "" : "/${var.prefix}"}?region=${local.region}"

  environment = merge(
    { LIFEBOAT_LOCATION = local.location, NODE_OPTIONS = "--enable-source-maps" },
    var.configuration == null ? {} : { LIFEBOAT_CONFIG = "env:CONFIGURATION", CONFIGURATION = var.configuration },
    var.configuration_secret == null ? {} : { LIFEBOAT_CONFIG = "aws-sm://${var.configuration_secret}" },
  )
  environments = { for job in local.jobs : job => merge(local.environment, { LIFEBOAT_STATE_MACHINE = local.machine_arns[job] }) }
}

resource "aws_cloudwatch_log_group" "function" {
  for_each = local.jobs

  name              = "/aws/lambda/${local.function_names[each.key]}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key
  tags              = var.tags
}

resource "aws_lambda_function" "this" {
  # checkov:skip=CKV_AWS_50:X-Ray would need a right on all resources; traces go by OpenTelemetry (docs/notifications.md).
  # checkov:skip=CKV_AWS_115:Reserved concurrency is taken from the account's, of which a new account has none to spare; locks in the bucket keep runs apart.
  # checkov:skip=CKV_AWS_116:A destination (aws_lambda_function_event_invoke_config) leads to the queue of dead letters, and tells why a job failed.
  # checkov:skip=CKV_AWS_272:The zip is the user's own build, the same bytes every time, of which the plan has the digest.
  for_each = local.jobs

  function_name    = local.function_names[each.key]
  role             = aws_iam_role.function[each.key].arn
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  runtime          = "nodejs24.x"
  handler          = "index.handler"
  architectures    = ["arm64"]
  memory_size      = var.memory_size
  timeout          = 900
  kms_key_arn      = var.kms_key
  tags             = var.tags

  environment {
    variables = local.environments[each.key]
  }

  dynamic "vpc_config" {
    for_each = var.vpc == null ? [] : [var.vpc]

    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  lifecycle {
    precondition {
      condition     = (var.configuration == null) != (var.configuration_secret == null)
      error_message = "Give either configuration, the text of lifeboat.yaml, or configuration_secret, the ARN of a secret that holds it."
    }
    precondition {
      condition     = local.configured == local.clocked
      error_message = "The configuration and the variable schedules have different ones (${join(", ", setunion(setsubtract(local.configured, local.clocked), setsubtract(local.clocked, local.configured)))}): `lifeboat schedule render --target aws` writes them from the configuration."
    }
    precondition {
      # Lambda takes 4 KB of environment; base64 has four characters for each three bytes.
      condition     = length(base64encode(jsonencode(local.environments[each.key]))) <= 5400
      error_message = "The configuration is too long for a function's environment (4 KB): put it into a secret, and give its ARN as configuration_secret."
    }
  }

  depends_on = [aws_cloudwatch_log_group.function, aws_iam_role_policy.function]
}

resource "aws_lambda_function_event_invoke_config" "this" {
  for_each = local.jobs

  function_name                = aws_lambda_function.this[each.key].function_name
  maximum_retry_attempts       = var.retries
  maximum_event_age_in_seconds = 3600

  destination_config {
    on_failure {
      destination = local.dead_letters_arn
    }
  }

  depends_on = [aws_sqs_queue.dead_letters]
}

resource "aws_sqs_queue" "dead_letters" {
  name                      = local.dead_letters
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
  tags                      = var.tags
}

resource "aws_lambda_function_url" "restore" {
  function_name      = aws_lambda_function.this["restore"].function_name
  authorization_type = "AWS_IAM"
}
