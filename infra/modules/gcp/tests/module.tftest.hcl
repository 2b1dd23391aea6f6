mock_provider "google" {}

variables {
  project       = "acme-prod"
  region        = "europe-west1"
  package       = "tests/package.zip"
  bucket        = "acme-backups"
  prefix        = "prod"
  configuration = "clusters: {prod: {gke: {project: acme-prod, location: europe-west1, name: prod}}}"
  secrets = {
    backup  = ["projects/acme-prod/secrets/prod-kubeconfig"]
    restore = ["projects/acme-prod/secrets/green-kubeconfig"]
  }
  restore_principals    = ["group:operators@acme.example"]
  notification_channels = ["projects/acme-prod/notificationChannels/1"]
  schedules = {
    hourly = {
      expressions      = ["0 * * * *"]
      time_zone        = "Europe/Berlin"
      job              = { kind = "backup", schedule = "hourly" }
      interval_seconds = 3600
    }
    friday-13 = {
      expressions      = ["0 2 13 * 5"]
      job              = { kind = "backup", schedule = "friday-13" }
      interval_seconds = 604800
    }
    often = {
      expressions      = ["0,45 */3 * * *", "30 1-22/3 * * *"]
      job              = { kind = "backup", schedule = "often" }
      interval_seconds = 2700
    }
    verify        = { expressions = ["0 3 * * *"], job = { kind = "verify" }, interval_seconds = 86400 }
    retention_job = { expressions = ["45 4 * * *"], job = { kind = "retention" }, interval_seconds = 86400 }
    paused = {
      expressions      = ["0 */6 * * *"]
      job              = { kind = "backup", schedule = "paused" }
      interval_seconds = 21600
      paused           = true
    }
  }
}

run "what_it_makes" {
  command = plan

  assert {
    condition = toset([
      for grant in google_storage_bucket_iam_member.function : "${grant.role} ${try(grant.condition[0].expression, "")}" if strcontains(grant.member, "lifeboat-backup@")
      ]) == toset([
      "roles/storage.legacyBucketReader ",
      "roles/storage.objectViewer resource.name.startsWith(\"projects/_/buckets/acme-backups/objects/prod/\")",
      "roles/storage.objectCreator resource.name.startsWith(\"projects/_/buckets/acme-backups/objects/prod/\")",
    ])
    error_message = "the backup function's rights in the bucket are not those that it needs"
  }
  assert {
    condition     = { for right, role in google_project_iam_custom_role.this : right => role.permissions } == { delete = toset(["storage.objects.delete"]), cluster = toset(["container.clusters.connect", "container.clusters.get", "container.clusters.list"]) }
    error_message = "the module's own roles hold other rights"
  }
  assert {
    condition     = length(google_project_iam_member.disks) + length(google_storage_bucket_iam_member.restic) == 0
    error_message = "without volumes somebody has a right on a disk, or restic one in the bucket"
  }
  assert {
    condition     = [for grant in google_storage_bucket_iam_member.function : grant.member if strcontains(grant.role, "delete")] == ["serviceAccount:lifeboat-retention@acme-prod.iam.gserviceaccount.com"]
    error_message = "others than retention may delete"
  }
  assert {
    condition = alltrue([
      for grant in google_storage_bucket_iam_member.function :
      contains(["roles/storage.legacyBucketReader", "roles/storage.objectViewer", "roles/storage.objectCreator", "projects/acme-prod/roles/lifeboat_delete"], grant.role)
    ])
    error_message = "a function has a role that may do more than it needs"
  }
  assert {
    condition = { for grant in google_project_iam_member.cluster : grant.member => grant.role } == {
      "serviceAccount:lifeboat-backup@acme-prod.iam.gserviceaccount.com"  = "projects/acme-prod/roles/lifeboat_cluster"
      "serviceAccount:lifeboat-restore@acme-prod.iam.gserviceaccount.com" = "projects/acme-prod/roles/lifeboat_cluster"
    }
    error_message = "a function has other rights in the project than to find clusters"
  }
  assert {
    condition     = toset([for grant in google_secret_manager_secret_iam_member.function : grant.secret_id if strcontains(grant.member, "lifeboat-backup@")]) == toset(var.secrets.backup)
    error_message = "the backup function may read other secrets than those named"
  }
  assert {
    condition = [for grant in google_storage_bucket_iam_member.function : grant.condition[0].expression if strcontains(grant.member, "lifeboat-restore@") && grant.role == "roles/storage.objectCreator"] == [join(" || ", [
      "resource.name.startsWith(\"projects/_/buckets/acme-backups/objects/prod/restores/\")",
      "resource.name.startsWith(\"projects/_/buckets/acme-backups/objects/prod/metadata/\")",
      "resource.name.extract(\"projects/_/buckets/acme-backups/objects/prod/backups/{name}/\").endsWith(\"-before\")",
      "resource.name.extract(\"projects/_/buckets/acme-backups/objects/prod/backups/{name}/\").endsWith(\"-before-2\")",
      "resource.name.extract(\"projects/_/buckets/acme-backups/objects/prod/backups/{name}/\").endsWith(\"-before-3\")",
      "resource.name.extract(\"projects/_/buckets/acme-backups/objects/prod/backups/{name}/\").endsWith(\"-before-4\")",
      "resource.name.extract(\"projects/_/buckets/acme-backups/objects/prod/backups/{name}/\").endsWith(\"-before-5\")",
      "resource.name.extract(\"projects/_/buckets/acme-backups/objects/prod/backups/{name}/\").endsWith(\"-before-6\")",
      "resource.name.extract(\"projects/_/buckets/acme-backups/objects/prod/backups/{name}/\").endsWith(\"-before-7\")",
      "resource.name.extract(\"projects/_/buckets/acme-backups/objects/prod/backups/{name}/\").endsWith(\"-before-8\")",
      "resource.name.extract(\"projects/_/buckets/acme-backups/objects/prod/backups/{name}/\").endsWith(\"-before-9\")",
    ])]
    error_message = "the restore function may create elsewhere"
  }
  assert {
    condition     = [for grant in google_storage_bucket_iam_member.function : grant.condition[0].expression if strcontains(grant.member, "lifeboat-retention@") && grant.role == "roles/storage.objectCreator"] == ["resource.name.startsWith(\"projects/_/buckets/acme-backups/objects/prod/metadata/\")"]
    error_message = "the retention function may create elsewhere"
  }
  assert {
    condition     = { for job, function in google_cloudfunctions2_function.this : job => function.service_config[0].service_account_email } == { for job in ["backup", "restore", "retention"] : job => "lifeboat-${job}@acme-prod.iam.gserviceaccount.com" }
    error_message = "two functions share an identity"
  }
  assert {
    condition     = google_storage_bucket_object.package.source == var.package && google_storage_bucket_object.package.name == "lifeboat-gcp-${filesha256(var.package)}.zip"
    error_message = "what is uploaded is another zip than the one given"
  }
  assert {
    condition = alltrue([
      for function in google_cloudfunctions2_function.this :
      function.build_config[0].source[0].storage_source[0].object == google_storage_bucket_object.package.name && function.build_config[0].entry_point == "lifeboat" && function.service_config[0].max_instance_request_concurrency == 1
    ])
    error_message = "a function is made of another zip, or runs two jobs at a time"
  }
  assert {
    condition = { for grant in google_cloud_run_v2_service_iam_member.invoker : "${grant.name} ${grant.member}" => grant.role } == {
      "lifeboat-backup serviceAccount:lifeboat-workflow@acme-prod.iam.gserviceaccount.com"    = "roles/run.invoker"
      "lifeboat-retention serviceAccount:lifeboat-workflow@acme-prod.iam.gserviceaccount.com" = "roles/run.invoker"
      "lifeboat-restore serviceAccount:lifeboat-restore@acme-prod.iam.gserviceaccount.com"    = "roles/run.invoker"
      "lifeboat-restore group:operators@acme.example"                                         = "roles/run.invoker"
    }
    error_message = "others may call a function: the restore endpoint is public, or the schedules may restore"
  }
  assert {
    condition     = { for job, function in google_cloudfunctions2_function.this : job => function.service_config[0].ingress_settings } == { backup = "ALLOW_INTERNAL_ONLY", restore = "ALLOW_ALL", retention = "ALLOW_INTERNAL_ONLY" }
    error_message = "a function that only schedules call can be reached from the internet"
  }
  assert {
    condition = google_cloudfunctions2_function.this["restore"].service_config[0].environment_variables == tomap({
      LIFEBOAT_LOCATION              = "gs://acme-backups/prod"
      LIFEBOAT_CONFIG                = "env:CONFIGURATION"
      CONFIGURATION                  = var.configuration
      LIFEBOAT_TASKS_QUEUE           = "projects/acme-prod/locations/europe-west1/queues/lifeboat-restore"
      LIFEBOAT_TASKS_URL             = "https://europe-west1-acme-prod.cloudfunctions.net/lifeboat-restore"
      LIFEBOAT_TASKS_SERVICE_ACCOUNT = "lifeboat-restore@acme-prod.iam.gserviceaccount.com"
    })
    error_message = "the restore function works on another location, or hands its jobs elsewhere"
  }
  assert {
    condition     = google_cloud_tasks_queue.restore.retry_config[0].max_attempts == 3
    error_message = "a restore is not repeated as often as retries says"
  }
  assert {
    condition     = keys(google_cloud_scheduler_job.this) == ["friday-13-0", "hourly-0", "often-0", "often-1", "paused-0", "retention_job-0", "verify-0"]
    error_message = "not one job of Cloud Scheduler for each expression"
  }
  assert {
    condition = alltrue([
      for job in google_cloud_scheduler_job.this :
      job.http_target[0].uri == "https://workflowexecutions.googleapis.com/v1/projects/acme-prod/locations/europe-west1/workflows/lifeboat-jobs/executions" &&
      job.http_target[0].oauth_token[0].service_account_email == "lifeboat-scheduler@acme-prod.iam.gserviceaccount.com" && job.retry_config[0].retry_count == 3
    ])
    error_message = "a schedule does not go through the workflow that leaves dead letters"
  }
  assert {
    condition = (
      [for step in yamldecode(google_workflows_workflow.jobs.source_contents).run_job.steps : [step.run.except.steps[1].give_up.call, step.run.except.steps[1].give_up.args.topic] if contains(keys(step), "run")] ==
      [["googleapis.pubsub.v1.projects.topics.publish", "$${sys.get_env(\"DEAD_LETTERS\")}"]] &&
      google_workflows_workflow.jobs.user_env_vars.DEAD_LETTERS == "projects/acme-prod/topics/lifeboat-dead-letters"
    )
    error_message = "a schedule has no target for dead letters"
  }
  assert {
    condition     = google_pubsub_topic_iam_member.dead_letters.member == "serviceAccount:${google_workflows_workflow.jobs.service_account}" && google_pubsub_topic_iam_member.dead_letters.topic == "lifeboat-dead-letters"
    error_message = "the workflow may not leave dead letters"
  }
  assert {
    condition     = [for step in yamldecode(google_workflows_workflow.jobs.source_contents).run_job.steps : step.beside.switch[0].steps[0].parts.parallel.concurrency_limit if contains(keys(step), "beside")] == [10]
    error_message = "not as many parts run at a time as concurrency says"
  }
  assert {
    condition     = google_pubsub_subscription.dead_letters.expiration_policy[0].ttl == "" && google_pubsub_subscription.dead_letters.message_retention_duration == "1209600s"
    error_message = "dead letters are lost"
  }
  assert {
    condition     = [for step in yamldecode(google_workflows_workflow.jobs.source_contents).run_job.steps : [step.run.retry.max_retries, step.run.try.args.auth.type] if contains(keys(step), "run")] == [[2, "OIDC"]]
    error_message = "a job is not repeated as often as retries says, or its function called without an identity"
  }
  assert {
    condition = { for name, job in google_cloud_scheduler_job.this : name => jsondecode(jsondecode(base64decode(job.http_target[0].body)).argument) if contains(["hourly-0", "verify-0", "retention_job-0"], name) } == {
      hourly-0        = { function = "backup", job = { kind = "backup", schedule = "hourly" }, slotted = true }
      verify-0        = { function = "backup", job = { kind = "verify" }, slotted = true }
      retention_job-0 = { function = "retention", job = { kind = "retention" } }
    }
    error_message = "a schedule starts another job"
  }
  assert {
    condition     = google_cloud_scheduler_job.this["paused-0"].paused && !google_cloud_scheduler_job.this["hourly-0"].paused
    error_message = "a paused schedule runs"
  }
  assert {
    condition     = google_cloud_scheduler_job.this["hourly-0"].time_zone == "Europe/Berlin" && google_cloud_scheduler_job.this["friday-13-0"].schedule == "0 2 13 * 5"
    error_message = "the time zone or the expression is lost"
  }
  assert {
    condition = alltrue([
      for bucket in concat(google_storage_bucket.this, [google_storage_bucket.package]) :
      bucket.versioning[0].enabled && bucket.uniform_bucket_level_access && bucket.public_access_prevention == "enforced"
    ])
    error_message = "a bucket keeps no versions, or can be made public"
  }
  assert {
    condition     = [for rule in google_storage_bucket.this[0].lifecycle_rule : [for action in rule.action : action.type][0]] == ["AbortIncompleteMultipartUpload", "Delete"]
    error_message = "incomplete uploads, or deleted versions, stay for ever"
  }
  assert {
    condition     = google_storage_bucket.package.force_destroy && !coalesce(google_storage_bucket.this[0].force_destroy, false)
    error_message = "a destroy takes the backups, or stops at what is built anew in a minute"
  }
  assert {
    condition     = google_logging_project_bucket_config.this.retention_days == 365 && alltrue([for name in ["backup", "restore", "retention"] : strcontains(google_logging_project_sink.functions.filter, "\"lifeboat-${name}\"")])
    error_message = "a function's logs are not kept"
  }
  assert {
    condition     = keys(google_monitoring_alert_policy.no_good_backup) == ["friday-13", "hourly", "often"]
    error_message = "not every schedule of backups is watched"
  }
  assert {
    condition     = google_monitoring_alert_policy.no_good_backup["friday-13"].conditions[0].condition_prometheus_query_language[0].query == "(sum(sum_over_time(logging_googleapis_com:user_lifeboat_good_backup_friday_13{monitored_resource=\"cloud_run_revision\"}[1209600s])) or vector(0)) < 1"
    error_message = "silence is no alarm after twice the interval"
  }
  assert {
    condition     = endswith(google_logging_metric.good_backup["hourly"].filter, "textPayload:\"job=backup schedule=hourly phase=Completed\"") && google_logging_metric.good_backup["hourly"].name == "lifeboat_good_backup_hourly"
    error_message = "the metric does not count what the function logs"
  }
  assert {
    condition     = alltrue([for job in ["backup", "restore", "retention"] : strcontains(google_monitoring_alert_policy.failed[job].conditions[0].condition_matched_log[0].filter, "service_name=\"lifeboat-${job}\" AND (textPayload:\"error=JobFailed\" OR httpRequest.status>=500)")])
    error_message = "a failed run is no alarm"
  }
  assert {
    condition     = strcontains(google_monitoring_alert_policy.dead_letters.conditions[0].condition_threshold[0].filter, "subscription_id=\"lifeboat-dead-letters\"") && google_monitoring_alert_policy.dead_letters.conditions[0].condition_threshold[0].threshold_value == 0
    error_message = "a dead letter is no alarm"
  }
  assert {
    condition     = strcontains(google_monitoring_alert_policy.not_started.conditions[0].condition_matched_log[0].filter, "^lifeboat-(friday-13|hourly|often|paused|retention_job|verify)-[0-9]+$")
    error_message = "a schedule that starts nothing is no alarm"
  }
  assert {
    condition = alltrue([
      for alarm in concat(
        values(google_monitoring_alert_policy.failed), values(google_monitoring_alert_policy.no_good_backup),
        [google_monitoring_alert_policy.dead_letters, google_monitoring_alert_policy.not_started],
      ) : alarm.notification_channels == tolist(["projects/acme-prod/notificationChannels/1"])
    ])
    error_message = "an alarm tells nobody"
  }
  assert {
    condition = { for role, grant in google_project_iam_member.build : role => try(grant.condition[0].expression, "") } == {
      "roles/logging.logWriter"       = ""
      "roles/artifactregistry.writer" = ""
      "roles/storage.objectViewer"    = "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-\")"
    }
    error_message = "what builds the functions may reach the backups"
  }
  assert {
    condition     = !strcontains(output.rbac_command, "hooks.yaml") && !strcontains(output.rbac_command, "clusterrole lifeboat-hooks") && endswith(output.rbac_command, " && kubectl delete clusterrolebinding lifeboat-csi:lifeboat-backup@acme-prod.iam.gserviceaccount.com lifeboat-csi:lifeboat-retention@acme-prod.iam.gserviceaccount.com lifeboat-hooks:lifeboat-backup@acme-prod.iam.gserviceaccount.com lifeboat-restic:lifeboat-backup@acme-prod.iam.gserviceaccount.com lifeboat-restic:lifeboat-retention@acme-prod.iam.gserviceaccount.com --ignore-not-found")
    error_message = "without hooks the backup function is given the right to write in a cluster"
  }
}

run "every_setting_but_hooks_leaves_the_cluster_alone" {
  command = plan

  variables {
    retain               = true
    object_retention     = true
    vpc                  = { connector = "projects/acme-prod/locations/europe-west1/connectors/prod" }
    bucket_kms_key       = "projects/acme-prod/locations/europe-west1/keyRings/backups/cryptoKeys/bucket"
    kms_key              = "projects/acme-prod/locations/europe-west1/keyRings/backups/cryptoKeys/logs"
    configuration        = null
    configuration_secret = "projects/acme-prod/secrets/lifeboat"
  }

  assert {
    condition     = output.rbac_command == "kubectl apply -f infra/kubernetes/backup.yaml -f infra/kubernetes/restore.yaml && kubectl create clusterrolebinding lifeboat-backup:lifeboat-backup@acme-prod.iam.gserviceaccount.com --clusterrole lifeboat-backup --user lifeboat-backup@acme-prod.iam.gserviceaccount.com --dry-run=client -o yaml | kubectl apply -f - && kubectl create clusterrolebinding lifeboat-restore:lifeboat-restore@acme-prod.iam.gserviceaccount.com --clusterrole lifeboat-restore --user lifeboat-restore@acme-prod.iam.gserviceaccount.com --dry-run=client -o yaml | kubectl apply -f - && kubectl delete clusterrolebinding lifeboat-csi:lifeboat-backup@acme-prod.iam.gserviceaccount.com lifeboat-csi:lifeboat-retention@acme-prod.iam.gserviceaccount.com lifeboat-hooks:lifeboat-backup@acme-prod.iam.gserviceaccount.com lifeboat-restic:lifeboat-backup@acme-prod.iam.gserviceaccount.com lifeboat-restic:lifeboat-retention@acme-prod.iam.gserviceaccount.com --ignore-not-found"
    error_message = "without hooks the backup function is given a right to write in a cluster"
  }
  assert {
    condition     = toset(flatten([for role in google_project_iam_custom_role.this : role.permissions])) == toset(["storage.objects.delete", "storage.objects.setRetention", "container.clusters.connect", "container.clusters.get", "container.clusters.list"])
    error_message = "a setting adds a right on clusters beyond finding them and connecting"
  }
  assert {
    condition     = [for grant in google_storage_bucket_iam_member.function : grant.member if grant.role == "projects/acme-prod/roles/lifeboat_delete"] == ["serviceAccount:lifeboat-retention@acme-prod.iam.gserviceaccount.com"]
    error_message = "a setting lets others than retention delete"
  }
  assert {
    condition     = [for grant in google_storage_bucket_iam_member.function : "${grant.member} ${grant.condition[0].expression}" if grant.role == "projects/acme-prod/roles/lifeboat_retain"] == ["serviceAccount:lifeboat-backup@acme-prod.iam.gserviceaccount.com resource.name.startsWith(\"projects/_/buckets/acme-backups/objects/prod/\")"]
    error_message = "retain adds no right to hold objects, or to others than the backup function"
  }
  assert {
    condition     = google_storage_bucket.this[0].enable_object_retention && google_storage_bucket.this[0].encryption[0].default_kms_key_name == var.bucket_kms_key && google_kms_crypto_key_iam_member.bucket[0].crypto_key_id == var.bucket_kms_key
    error_message = "the bucket can hold no objects, or is not encrypted by its key"
  }
  assert {
    condition     = google_logging_project_bucket_config.this.cmek_settings[0].kms_key_name == var.kms_key && google_pubsub_topic.dead_letters.kms_key_name == var.kms_key
    error_message = "logs or dead letters are encrypted by another key than the one given"
  }
  assert {
    condition = alltrue([
      for function in google_cloudfunctions2_function.this : function.service_config[0].vpc_connector == var.vpc.connector && function.service_config[0].vpc_connector_egress_settings == "PRIVATE_RANGES_ONLY"
    ])
    error_message = "a function does not reach private addresses"
  }
  assert {
    condition     = google_cloudfunctions2_function.this["backup"].service_config[0].environment_variables.LIFEBOAT_CONFIG == "gcp-sm://${var.configuration_secret}"
    error_message = "the configuration's secret is not handed over as a reference"
  }
  assert {
    condition = toset([for grant in google_secret_manager_secret_iam_member.function : grant.member if grant.secret_id == var.configuration_secret]) == toset([
      for job in ["backup", "restore", "retention"] : "serviceAccount:lifeboat-${job}@acme-prod.iam.gserviceaccount.com"
    ])
    error_message = "a function can't read its configuration"
  }
}

run "volumes_by_disks" {
  command = plan

  variables {
    volumes = ["disks"]
  }

  assert {
    condition = { for grant in google_project_iam_member.disks : grant.role => grant.member } == {
      "projects/acme-prod/roles/lifeboat_snapshot"   = "serviceAccount:lifeboat-backup@acme-prod.iam.gserviceaccount.com"
      "projects/acme-prod/roles/lifeboat_disk"       = "serviceAccount:lifeboat-restore@acme-prod.iam.gserviceaccount.com"
      "projects/acme-prod/roles/lifeboat_discard"    = "serviceAccount:lifeboat-restore@acme-prod.iam.gserviceaccount.com"
      "projects/acme-prod/roles/lifeboat_unsnapshot" = "serviceAccount:lifeboat-retention@acme-prod.iam.gserviceaccount.com"
    }
    error_message = "the rights on disks go to others than those that need them"
  }
  assert {
    condition = {
      for right, role in google_project_iam_custom_role.this : right => toset([for permission in role.permissions : permission if endswith(permission, ".create") || endswith(permission, ".delete") || endswith(permission, "createSnapshot")])
      if !contains(["cluster", "delete"], right)
      } == {
      snapshot   = toset(["compute.disks.createSnapshot", "compute.snapshots.create"])
      disk       = toset(["compute.disks.create"])
      discard    = toset(["compute.disks.delete"])
      unsnapshot = toset(["compute.snapshots.delete"])
    }
    error_message = "a function may make or delete other things than it needs to"
  }
  assert {
    condition     = { for right, grant in google_project_iam_member.disks : right => grant.condition[0].expression if length(grant.condition) > 0 } == { discard = "resource.name.extract(\"/disks/{name}\").startsWith(\"lifeboat-\")" }
    error_message = "the restore function may delete disks that it didn't make"
  }
  assert {
    condition     = keys(google_project_iam_member.cluster) == ["backup", "restore"] && length(google_storage_bucket_iam_member.restic) == 0 && !strcontains(split(" && kubectl delete", output.rbac_command)[0], "lifeboat-csi")
    error_message = "snapshots of disks, which the cloud makes, need a right in the cluster"
  }
}

run "volumes_by_the_cluster" {
  command = plan

  variables {
    volumes           = ["csi", "restic"]
    restic_principals = ["serviceAccount:restic@acme-prod.iam.gserviceaccount.com"]
  }

  assert {
    condition     = length(google_project_iam_member.disks) == 0 && keys(google_project_iam_custom_role.this) == ["cluster", "delete", "restic"]
    error_message = "copies that the cluster makes need a right on disks"
  }
  assert {
    condition = alltrue([for role in ["csi", "restic"] : alltrue([for job in ["backup", "retention"] :
      strcontains(output.rbac_command, "-f infra/kubernetes/${role}.yaml") && strcontains(output.rbac_command, "--clusterrole lifeboat-${role} --user lifeboat-${job}@acme-prod.iam.gserviceaccount.com")
    ])]) && endswith(output.rbac_command, " && kubectl delete clusterrolebinding lifeboat-hooks:lifeboat-backup@acme-prod.iam.gserviceaccount.com --ignore-not-found")
    error_message = "the functions don't get the rights by which copies are made and deleted, or others with them"
  }
  assert {
    condition     = keys(google_project_iam_member.cluster) == ["backup", "restore", "retention"]
    error_message = "retention can't find the cluster that deletes copies"
  }
  assert {
    condition = toset([for grant in google_storage_bucket_iam_member.restic : "${grant.role} ${try(grant.condition[0].expression, "")}"]) == toset([
      "roles/storage.legacyBucketReader ",
      "projects/acme-prod/roles/lifeboat_restic resource.name.startsWith(\"projects/_/buckets/acme-backups/objects/prod/restic/\")",
    ])
    error_message = "restic's Jobs may read or write backups"
  }
  assert {
    condition     = [for grant in google_storage_bucket_iam_member.function : grant.member if strcontains(grant.role, "delete")] == ["serviceAccount:lifeboat-retention@acme-prod.iam.gserviceaccount.com"]
    error_message = "others than retention may delete"
  }
}

run "rights_of_restic_that_nobody_asked_for" {
  command = plan

  variables {
    volumes           = ["csi"]
    restic_principals = ["serviceAccount:restic@acme-prod.iam.gserviceaccount.com"]
  }

  assert {
    condition     = length(google_storage_bucket_iam_member.restic) == 0
    error_message = "restic gets rights though no volume is copied by it"
  }
}

run "a_way_of_copying_that_is_none_by_everybody" {
  command = plan
  variables {
    volumes           = ["kopia"]
    restic_principals = ["allUsers"]
  }
  expect_failures = [var.volumes, var.restic_principals]
}

run "hooks" {
  command = plan

  variables {
    hooks = true
  }

  assert {
    condition     = strcontains(output.rbac_command, "-f infra/kubernetes/hooks.yaml") && strcontains(output.rbac_command, "--clusterrole lifeboat-hooks --user lifeboat-backup@acme-prod.iam.gserviceaccount.com") && !strcontains(split("kubectl delete", output.rbac_command)[1], "lifeboat-hooks")
    error_message = "hooks adds no right to run commands"
  }
  assert {
    condition     = google_project_iam_custom_role.this["cluster"].permissions == toset(["container.clusters.connect", "container.clusters.get", "container.clusters.list"])
    error_message = "hooks adds rights in every cluster of the project"
  }
}

run "whole_bucket_and_no_gke" {
  command = plan

  variables {
    prefix = ""
    gke    = false
  }

  assert {
    condition     = [for grant in google_storage_bucket_iam_member.function : length(grant.condition) if grant.role == "roles/storage.objectViewer"] == [0, 0, 0]
    error_message = "without a prefix a function reads only a part of the bucket"
  }
  assert {
    condition     = startswith(google_storage_bucket_iam_member.function["restore-create"].condition[0].expression, "resource.name.startsWith(\"projects/_/buckets/acme-backups/objects/restores/\") || ")
    error_message = "without a prefix the restore function may create everywhere"
  }
  assert {
    condition     = length(google_project_iam_member.cluster) == 0 && keys(google_project_iam_custom_role.this) == ["delete"]
    error_message = "without GKE clusters a function has rights on some"
  }
}

run "existing_bucket" {
  command = plan

  variables {
    create_bucket = false
  }

  assert {
    condition     = length(google_storage_bucket.this) == 0 && length(google_storage_bucket_iam_member.function) == 10
    error_message = "an existing bucket is touched, or the functions have no rights in it"
  }
}

run "applies" {
  assert {
    condition     = output.location == "gs://acme-backups/prod" && length(output.restore_url) > 0
    error_message = "the backups go elsewhere"
  }
}

run "an_expression_of_eventbridge" {
  command = plan
  variables {
    schedules = { hourly = { expressions = ["cron(0 * * * ? *)"], job = { kind = "backup", schedule = "hourly" }, interval_seconds = 3600 } }
  }
  expect_failures = [var.schedules]
}

run "a_cron_of_six_fields" {
  command = plan
  variables {
    schedules = { hourly = { expressions = ["0 0 * * * *"], job = { kind = "backup", schedule = "hourly" }, interval_seconds = 3600 } }
  }
  expect_failures = [var.schedules]
}

run "an_hour_that_no_day_has" {
  command = plan
  variables {
    schedules = { hourly = { expressions = ["0 24 * * *"], job = { kind = "backup", schedule = "hourly" }, interval_seconds = 3600 } }
  }
  expect_failures = [var.schedules]
}

run "an_interval_of_a_second" {
  command = plan
  variables {
    schedules = { hourly = { expressions = ["0 * * * *"], job = { kind = "backup", schedule = "hourly" }, interval_seconds = 1 } }
  }
  expect_failures = [var.schedules]
}

run "a_schedule_of_restores" {
  command = plan
  variables {
    schedules = { hourly = { expressions = ["0 * * * *"], job = { kind = "restore" }, interval_seconds = 3600 } }
  }
  expect_failures = [var.schedules]
}

run "names_that_are_none_and_rights_on_everything" {
  command = plan
  variables {
    name               = "My Lifeboat"
    project            = "123"
    region             = "europe-west1-b"
    bucket             = "Acme_Backups"
    secrets            = { backup = ["projects/acme-prod/secrets/*"] }
    restore_principals = ["allUsers"]
  }
  expect_failures = [var.name, var.project, var.region, var.bucket, var.secrets, var.restore_principals]
}

run "all_who_have_an_account" {
  command = plan
  variables {
    restore_principals = ["allAuthenticatedUsers"]
  }
  expect_failures = [var.restore_principals]
}

run "no_configuration" {
  command = plan
  variables {
    configuration = null
  }
  expect_failures = [google_cloudfunctions2_function.this]
}

run "a_configuration_too_long" {
  command = plan
  variables {
    configuration = join("", [for line in range(1000) : "# ${line} 0123456789 0123456789 0123456789\n"])
  }
  expect_failures = [var.configuration]
}

run "a_schedule_that_no_clock_runs" {
  command = plan
  variables {
    configuration = "schedules: {hourly: {schedule: '0 * * * *', cluster: prod}, nightly: {schedule: '0 2 * * *', cluster: prod}}"
    schedules     = { hourly = { expressions = ["0 * * * *"], job = { kind = "backup", schedule = "hourly" }, interval_seconds = 3600 } }
  }
  expect_failures = [google_cloudfunctions2_function.this]
}

run "a_clock_for_no_schedule" {
  command = plan
  variables {
    configuration = "schedules: {nightly: {schedule: '0 2 * * *', cluster: prod}}"
    schedules = {
      hourly  = { expressions = ["0 * * * *"], job = { kind = "backup", schedule = "hourly" }, interval_seconds = 3600 }
      nightly = { expressions = ["0 * * * *"], job = { kind = "backup", schedule = "nightly" }, interval_seconds = 3600 }
    }
  }
  expect_failures = [google_cloudfunctions2_function.this]
}

run "a_fleet" {
  command = plan
  variables {
    fleet = true
  }
  assert {
    condition = alltrue([
      for grant in google_storage_bucket_iam_member.function : length(regexall("[|][|]|&&|![^=]", try(grant.condition[0].expression, ""))) <= 12
    ])
    error_message = "a condition has more operators than one may have"
  }
  assert {
    condition     = keys(google_project_iam_member.cluster) == ["backup", "restore", "retention"]
    error_message = "a function can't discover clusters"
  }
}

run "a_fleet_below_a_folder_of_backups" {
  command = plan
  variables {
    fleet  = true
    prefix = "prod/backups/fleet"
  }
  expect_failures = [var.fleet]
}
