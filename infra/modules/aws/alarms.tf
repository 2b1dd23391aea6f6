locals {
  # CloudWatch looks back 7 days at most: what comes less often than twice in them has no alarm.
  watched = { for name, schedule in var.schedules : name => {
    schedule = schedule.job.schedule
    window   = 2 * schedule.interval_seconds
    period   = schedule.interval_seconds < 1800 ? 300 : 3600
    } if schedule.job.kind == "backup" && contains(keys(schedule.job), "schedule") && !schedule.paused && 2 * schedule.interval_seconds <= 604800
  }
}

resource "aws_cloudwatch_metric_alarm" "failed" {
  for_each = local.jobs

  alarm_name          = "${local.function_names[each.key]}-failed"
  alarm_description   = "A run of ${local.function_names[each.key]} failed: its log tells why."
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = local.function_names[each.key] }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "given_up" {
  for_each = local.jobs

  alarm_name          = "${local.function_names[each.key]}-given-up"
  alarm_description   = "An execution of the state machine ${local.function_names[each.key]} failed: its job was given up."
  namespace           = "AWS/States"
  metric_name         = "ExecutionsFailed"
  dimensions          = { StateMachineArn = local.machine_arns[each.key] }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  alarm_name          = "${var.name}-dead-letters"
  alarm_description   = "Jobs were given up: they lie in the queue ${local.dead_letters}."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = local.dead_letters }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_log_metric_filter" "good_backup" {
  for_each = local.watched

  name           = "${var.name}-${each.key}"
  log_group_name = aws_cloudwatch_log_group.function["backup"].name
  pattern        = "\"job=backup schedule=${each.value.schedule} phase=Completed\""

  metric_transformation {
    namespace = "Lifeboat/${var.name}"
    name      = "good-backups-${each.key}"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "no_good_backup" {
  for_each = local.watched

  alarm_name          = "${var.name}-${each.key}-no-good-backup"
  alarm_description   = "Schedule ${each.value.schedule} has made no Completed backup for ${each.value.window} seconds, twice its interval."
  namespace           = "Lifeboat/${var.name}"
  metric_name         = "good-backups-${each.key}"
  statistic           = "Sum"
  period              = each.value.period
  evaluation_periods  = ceil(each.value.window / each.value.period)
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags

  depends_on = [aws_cloudwatch_log_metric_filter.good_backup]
}
