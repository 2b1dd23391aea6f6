locals {
  # What is backed up by the clock, and what the configuration wants to be, where its text tells.
  clocked    = toset([for schedule in var.schedules : schedule.job.schedule if contains(keys(schedule.job), "schedule")])
  configured = try(toset(keys(yamldecode(var.configuration).schedules)), local.clocked)

  # What EventBridge puts in place of it is the time that the run was due, whenever it is delivered.
  slotted = { for name, schedule in var.schedules : name => !contains(keys(schedule.job), "name") && (
    schedule.job.kind == "verify" || (schedule.job.kind == "backup" && contains(keys(schedule.job), "schedule"))
  ) }

  triggers = merge([
    for name, schedule in var.schedules : {
      for index, expression in schedule.expressions : "${name}-${index}" => {
        expression = expression
        time_zone  = schedule.time_zone
        state      = schedule.paused ? "DISABLED" : "ENABLED"
        function   = schedule.job.kind == "retention" ? "retention" : "backup"
        # EventBridge looks for the text <aws.…>, which jsonencode escapes.
        input = replace(replace(
          jsonencode(merge(schedule.job, local.slotted[name] ? { slot = "<aws.scheduler.scheduled-time>" } : {})),
        "\\u003c", "<"), "\\u003e", ">")
      }
    }
  ]...)
}

resource "aws_scheduler_schedule_group" "this" {
  name = var.name
  tags = var.tags
}

resource "aws_scheduler_schedule" "this" {
  for_each = local.triggers

  name                         = "${var.name}-${each.key}"
  group_name                   = aws_scheduler_schedule_group.this.name
  schedule_expression          = each.value.expression
  schedule_expression_timezone = each.value.time_zone
  state                        = each.value.state
  kms_key_arn                  = var.kms_key

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = local.machine_arns[each.value.function]
    role_arn = aws_iam_role.scheduler.arn
    input    = each.value.input

    retry_policy {
      maximum_retry_attempts       = 3
      maximum_event_age_in_seconds = 3600
    }

    dead_letter_config {
      arn = local.dead_letters_arn
    }
  }

  depends_on = [aws_sfn_state_machine.this, aws_sqs_queue.dead_letters, aws_iam_role_policy.scheduler]
}

resource "aws_iam_role" "scheduler" {
  name = "${var.name}-scheduler"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "scheduler.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
  tags = var.tags
}

resource "aws_iam_role_policy" "scheduler" {
  name = "lifeboat"
  role = aws_iam_role.scheduler.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Effect   = "Allow"
          Action   = ["states:StartExecution"]
          Resource = [local.machine_arns.backup, local.machine_arns.retention]
        },
        local.dead_letter_statement,
      ],
      [for key in compact([var.kms_key]) : {
        Sid      = "DecryptJobs"
        Effect   = "Allow"
        Action   = ["kms:Decrypt"]
        Resource = [key]
      }],
    )
  })
}
