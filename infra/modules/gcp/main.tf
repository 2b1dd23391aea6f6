locals {
  jobs           = toset(["backup", "restore", "retention"])
  function_names = { for job in local.jobs : job => "${var.name}-${job}" }
  emails         = { for job, account in google_service_account.function : job => "${account.account_id}@${local.accounts}" }
  accounts       = "${var.project}.iam.gserviceaccount.com"
  location       = "gs://${var.bucket}${var.prefix == "" ? "" : "/${var.prefix}"}"

  environment = merge(
    { LIFEBOAT_LOCATION = local.location },
    var.configuration == null ? {} : { LIFEBOAT_CONFIG = "env:CONFIGURATION", CONFIGURATION = var.configuration },
    var.configuration_secret == null ? {} : { LIFEBOAT_CONFIG = "gcp-sm://${var.configuration_secret}" },
  )

  # Requests to its URL become jobs of its own. This address of it is known before it is made.
  own_environment = {
    backup    = {}
    retention = {}
    restore = {
      LIFEBOAT_TASKS_QUEUE           = "projects/${var.project}/locations/${var.region}/queues/${google_cloud_tasks_queue.restore.name}"
      LIFEBOAT_TASKS_URL             = "https://${var.region}-${var.project}.cloudfunctions.net/${local.function_names.restore}"
      LIFEBOAT_TASKS_SERVICE_ACCOUNT = local.emails.restore
    }
  }
}

resource "google_storage_bucket" "package" {
  # checkov:skip=CKV_GCP_62:It holds nothing but the zip that `npm run build` makes, which is no secret.
  project                     = var.project
  name                        = "${var.project}-${var.name}-package"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true
  labels                      = var.labels

  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      days_since_noncurrent_time = 30
      with_state                 = "ARCHIVED"
    }
  }
}

resource "google_storage_bucket_object" "package" {
  name   = "lifeboat-gcp-${filesha256(var.package)}.zip"
  bucket = google_storage_bucket.package.name
  source = var.package
}

resource "google_cloudfunctions2_function" "this" {
  # checkov:skip=CKV_GCP_124:The restore function is called from anywhere, by whom IAM lets in; the other two take internal requests only.
  for_each = local.jobs

  project     = var.project
  location    = var.region
  name        = local.function_names[each.key]
  description = "Lifeboat: ${each.key}"
  labels      = var.labels

  build_config {
    runtime         = "nodejs24"
    entry_point     = "lifeboat"
    service_account = google_service_account.build.name

    source {
      storage_source {
        bucket = google_storage_bucket_object.package.bucket
        object = google_storage_bucket_object.package.name
      }
    }
  }

  service_config {
    service_account_email            = local.emails[each.key]
    available_memory                 = "${var.memory_size}Mi"
    timeout_seconds                  = 1800
    max_instance_request_concurrency = 1
    environment_variables            = merge(local.environment, local.own_environment[each.key])
    # Workflows, which calls the other two, counts as internal.
    ingress_settings              = each.key == "restore" ? "ALLOW_ALL" : "ALLOW_INTERNAL_ONLY"
    vpc_connector                 = try(var.vpc.connector, null)
    vpc_connector_egress_settings = var.vpc == null ? null : var.vpc.all_traffic ? "ALL_TRAFFIC" : "PRIVATE_RANGES_ONLY"
  }

  lifecycle {
    precondition {
      condition     = local.configured == local.clocked
      error_message = "The configuration and the variable schedules have different ones (${join(", ", setunion(setsubtract(local.configured, local.clocked), setsubtract(local.clocked, local.configured)))}): `lifeboat schedule render --target gcp` writes them from the configuration."
    }
    precondition {
      condition     = (var.configuration == null) != (var.configuration_secret == null)
      error_message = "Give either configuration, the text of lifeboat.yaml, or configuration_secret, the name of a secret that holds it."
    }
  }

  depends_on = [google_logging_project_sink.functions, google_project_iam_member.build, google_storage_bucket_iam_member.build]
}

resource "google_cloud_tasks_queue" "restore" {
  project  = var.project
  location = var.region
  name     = local.function_names.restore

  retry_config {
    max_attempts = var.retries + 1
    min_backoff  = "60s"
  }
}

resource "google_logging_project_bucket_config" "this" {
  project        = var.project
  location       = var.region
  bucket_id      = var.name
  description    = "Logs of Lifeboat's functions"
  retention_days = var.log_retention_days

  dynamic "cmek_settings" {
    for_each = compact([var.kms_key])

    content {
      kms_key_name = cmek_settings.value
    }
  }
}

resource "google_logging_project_sink" "functions" {
  project                = var.project
  name                   = var.name
  description            = "Logs of Lifeboat's functions into their log bucket"
  destination            = "logging.googleapis.com/projects/${var.project}/locations/${var.region}/buckets/${google_logging_project_bucket_config.this.bucket_id}"
  filter                 = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=(${join(" OR ", [for name in values(local.function_names) : "\"${name}\""])})"
  unique_writer_identity = true
}
