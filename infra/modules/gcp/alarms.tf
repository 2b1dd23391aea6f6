locals {
  watched = { for name, schedule in var.schedules : name => {
    schedule = schedule.job.schedule
    window   = 2 * schedule.interval_seconds
    metric   = replace("${var.name}-good-backup-${name}", "-", "_")
    } if schedule.job.kind == "backup" && contains(keys(schedule.job), "schedule") && !schedule.paused
  }
}

resource "google_monitoring_alert_policy" "failed" {
  for_each = local.jobs

  project               = var.project
  display_name          = "${local.function_names[each.key]}-failed"
  combiner              = "OR"
  notification_channels = var.notification_channels
  user_labels           = var.labels

  documentation {
    content = "A run of ${local.function_names[each.key]} failed: its log tells why."
  }

  conditions {
    display_name = "A job failed, or the function itself"

    condition_matched_log {
      filter = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${local.function_names[each.key]}\" AND (textPayload:\"error=JobFailed\" OR httpRequest.status>=500)"
    }
  }

  alert_strategy {
    auto_close = "1800s"

    notification_rate_limit {
      period = "300s"
    }
  }
}

resource "google_monitoring_alert_policy" "not_started" {
  project               = var.project
  display_name          = "${var.name}-not-started"
  combiner              = "OR"
  notification_channels = var.notification_channels
  user_labels           = var.labels

  documentation {
    content = "Cloud Scheduler could not start a job of ${var.name}: its log tells why."
  }

  conditions {
    display_name = "An attempt to start a job failed"

    condition_matched_log {
      filter = "resource.type=\"cloud_scheduler_job\" AND severity>=ERROR AND resource.labels.job_id=~\"^${var.name}-(${join("|", keys(var.schedules))})-[0-9]+$\""
    }
  }

  alert_strategy {
    auto_close = "1800s"

    notification_rate_limit {
      period = "300s"
    }
  }
}

resource "google_monitoring_alert_policy" "dead_letters" {
  project               = var.project
  display_name          = "${var.name}-dead-letters"
  combiner              = "OR"
  notification_channels = var.notification_channels
  user_labels           = var.labels

  documentation {
    content = "Jobs were given up: they lie in the subscription ${google_pubsub_subscription.dead_letters.name}."
  }

  conditions {
    display_name = "There are dead letters"

    condition_threshold {
      filter          = "resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"${google_pubsub_subscription.dead_letters.name}\" AND metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"

      aggregations {
        alignment_period   = "300s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }
}

resource "google_logging_metric" "good_backup" {
  for_each = local.watched

  project     = var.project
  name        = each.value.metric
  description = "Completed backups of schedule ${each.value.schedule}"
  filter      = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${local.function_names.backup}\" AND textPayload:\"job=backup schedule=${each.value.schedule} phase=Completed\""

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }
}

resource "google_monitoring_alert_policy" "no_good_backup" {
  for_each = local.watched

  project               = var.project
  display_name          = "${var.name}-${each.key}-no-good-backup"
  combiner              = "OR"
  notification_channels = var.notification_channels
  user_labels           = var.labels

  documentation {
    content = "Schedule ${each.value.schedule} has made no Completed backup for ${each.value.window} seconds, twice its interval."
  }

  conditions {
    display_name = "No Completed backup for ${each.value.window} seconds"

    # In PromQL, since the other conditions look back a day at most, and say nothing of what has never been there.
    condition_prometheus_query_language {
      query                     = "(sum(sum_over_time(logging_googleapis_com:user_${google_logging_metric.good_backup[each.key].name}{monitored_resource=\"cloud_run_revision\"}[${each.value.window}s])) or vector(0)) < 1"
      duration                  = "0s"
      evaluation_interval       = each.value.window <= 90000 ? "300s" : "3600s"
      disable_metric_validation = true
    }
  }
}
