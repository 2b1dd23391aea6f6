locals {
  # What is backed up by the clock, and what the configuration wants to be, where its text tells.
  clocked    = toset([for schedule in var.schedules : schedule.job.schedule if contains(keys(schedule.job), "schedule")])
  configured = try(toset(keys(yamldecode(var.configuration).schedules)), local.clocked)

  # Their job gets the minute in which its run was due.
  slotted = { for name, schedule in var.schedules : name => !contains(keys(schedule.job), "name") && (
    schedule.job.kind == "verify" || (schedule.job.kind == "backup" && contains(keys(schedule.job), "schedule"))
  ) }

  triggers = merge([
    for name, schedule in var.schedules : {
      for index, expression in schedule.expressions : "${name}-${index}" => {
        expression = expression
        time_zone  = schedule.time_zone
        paused     = schedule.paused
        argument = merge(
          { function = schedule.job.kind == "retention" ? "retention" : "backup", job = schedule.job },
          local.slotted[name] ? { slotted = true } : {},
        )
      }
    }
  ]...)

  workflow_email  = "${google_service_account.workflow.account_id}@${local.accounts}"
  scheduler_email = "${google_service_account.scheduler.account_id}@${local.accounts}"
  dead_letters    = "projects/${var.project}/topics/${google_pubsub_topic.dead_letters.name}"
}

# Cloud Scheduler has no target for dead letters, and waits 30 minutes for an answer. So it only starts this workflow, which
# has both: a run of it is a job with its repetitions.
resource "google_workflows_workflow" "jobs" {
  project             = var.project
  region              = var.region
  name                = "${var.name}-jobs"
  description         = "Runs Lifeboat's jobs, and leaves dead letters"
  service_account     = local.workflow_email
  source_contents     = templatefile("${path.module}/workflow.yaml", { retries = var.retries, concurrency = var.concurrency })
  deletion_protection = false
  labels              = var.labels

  user_env_vars = {
    URL_backup    = google_cloudfunctions2_function.this["backup"].service_config[0].uri
    URL_retention = google_cloudfunctions2_function.this["retention"].service_config[0].uri
    DEAD_LETTERS  = local.dead_letters
  }
}

resource "google_service_account" "workflow" {
  project      = var.project
  account_id   = "${var.name}-workflow"
  display_name = "Lifeboat: workflow"
}

resource "google_pubsub_topic" "dead_letters" {
  project      = var.project
  name         = "${var.name}-dead-letters"
  kms_key_name = var.kms_key
  labels       = var.labels
}

resource "google_pubsub_topic_iam_member" "dead_letters" {
  project = var.project
  topic   = google_pubsub_topic.dead_letters.name
  role    = "roles/pubsub.publisher"
  member  = "serviceAccount:${local.workflow_email}"
}

resource "google_pubsub_subscription" "dead_letters" {
  project                    = var.project
  name                       = google_pubsub_topic.dead_letters.name
  topic                      = google_pubsub_topic.dead_letters.id
  message_retention_duration = "1209600s"
  labels                     = var.labels

  # Never, however long nobody looks.
  expiration_policy {
    ttl = ""
  }
}

resource "google_cloud_scheduler_job" "this" {
  for_each = local.triggers

  project          = var.project
  region           = var.region
  name             = "${var.name}-${each.key}"
  schedule         = each.value.expression
  time_zone        = each.value.time_zone
  paused           = each.value.paused
  attempt_deadline = "60s"

  retry_config {
    retry_count          = 3
    min_backoff_duration = "10s"
  }

  http_target {
    http_method = "POST"
    uri         = "https://workflowexecutions.googleapis.com/v1/projects/${var.project}/locations/${var.region}/workflows/${google_workflows_workflow.jobs.name}/executions"
    headers     = { "Content-Type" = "application/json" }
    body        = base64encode(jsonencode({ argument = jsonencode(each.value.argument) }))

    oauth_token {
      service_account_email = local.scheduler_email
    }
  }

  depends_on = [google_project_iam_member.scheduler]
}

resource "google_service_account" "scheduler" {
  project      = var.project
  account_id   = "${var.name}-scheduler"
  display_name = "Lifeboat: scheduler"
}

# Workflows knows no rights on a single workflow.
resource "google_project_iam_member" "scheduler" {
  project = var.project
  role    = "roles/workflows.invoker"
  member  = "serviceAccount:${local.scheduler_email}"
}
