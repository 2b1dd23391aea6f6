locals {
  machine_arns = {
    for job, name in local.function_names : job => "arn:${local.partition}:states:${local.region}:${local.account}:stateMachine:${name}"
  }
}

# Each runs the jobs of its function, and starts itself alone: who may start one gets no other function's rights.
resource "aws_sfn_state_machine" "this" {
  # checkov:skip=CKV_AWS_284:X-Ray would need a right on all resources; traces go by OpenTelemetry (docs/notifications.md).
  # checkov:skip=CKV_AWS_285:Logs would need rights on all resources; Step Functions keeps each history for 90 days, and the functions' logs tell the rest.
  for_each = local.jobs

  name     = local.function_names[each.key]
  type     = "STANDARD"
  role_arn = aws_iam_role.machine[each.key].arn
  definition = templatefile("${path.module}/machine.json.tftpl", {
    partition    = local.partition
    function     = local.function_arns[each.key]
    machine      = local.machine_arns[each.key]
    dead_letters = local.dead_letters_url
    retries      = var.retries
    concurrency  = var.concurrency
  })
  tags = var.tags

  depends_on = [aws_iam_role_policy.machine, aws_sqs_queue.dead_letters]
}

resource "aws_iam_role" "machine" {
  for_each = local.jobs

  name = "${local.function_names[each.key]}-machine"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "states.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
  tags = var.tags
}

resource "aws_iam_role_policy" "machine" {
  for_each = local.jobs

  name = "lifeboat"
  role = aws_iam_role.machine[each.key].name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "RunJobs"
        Effect   = "Allow"
        Action   = ["lambda:InvokeFunction"]
        Resource = [local.function_arns[each.key]]
      },
      {
        Sid      = "RunParts"
        Effect   = "Allow"
        Action   = ["states:StartExecution"]
        Resource = [local.machine_arns[each.key]]
      },
      {
        Sid      = "FollowParts"
        Effect   = "Allow"
        Action   = ["states:DescribeExecution", "states:StopExecution"]
        Resource = ["arn:${local.partition}:states:${local.region}:${local.account}:execution:${local.function_names[each.key]}:*"]
      },
      {
        # By this rule Step Functions hears that an execution has ended which another one waits for.
        Sid      = "HearOfParts"
        Effect   = "Allow"
        Action   = ["events:PutTargets", "events:PutRule", "events:DescribeRule"]
        Resource = ["arn:${local.partition}:events:${local.region}:${local.account}:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"]
      },
      local.dead_letter_statement,
    ]
  })
}
