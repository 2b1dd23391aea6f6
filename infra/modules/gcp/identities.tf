locals {
  bucket  = var.create_bucket ? google_storage_bucket.this[0].name : var.bucket
  objects = "projects/_/buckets/${var.bucket}/objects/${var.prefix == "" ? "" : "${var.prefix}/"}"
  inside  = var.prefix == "" ? null : "resource.name.startsWith(\"${local.objects}\")"

  # What a function may create, by the folders it writes in: a restore its record and report, locks, requests and notes, and
  # the backup NAME-before (NAME-before-2, …) of what it touches. A condition takes 12 operators at most.
  written = { restore = ["restores", "metadata"], retention = ["metadata"] }
  kept    = { restore = slice(["", "-2", "-3", "-4", "-5", "-6", "-7", "-8", "-9"], 0, var.fleet ? 8 : 9), retention = [] }
  creating = var.fleet ? local.creating_in_fleet : { for job, folders in local.written : job => join(" || ", concat(
    [for folder in folders : "resource.name.startsWith(\"${local.objects}${folder}/\")"],
    [for number in local.kept[job] : "resource.name.extract(\"${local.objects}backups/{name}/\").endsWith(\"-before${number}\")"],
  )) }
  # Of a fleet each cluster has those folders, beside what the fleet notes of itself. A template has one variable part, so that
  # what is extracted of a cluster's may be deeper: but in no backup.
  creating_in_fleet = { for job, folders in local.written : job => format(
    "resource.name.startsWith(\"%s\") && (%s)",
    local.objects,
    join(" || ", concat(
      ["resource.name.startsWith(\"${local.objects}metadata/\")"],
      [format(
        "resource.name.extract(\"/backups/{name}/\") == \"\" && (%s)",
        join(" || ", [for folder in folders : "resource.name.extract(\"${local.objects}{cluster}/${folder}/\") != \"\""]),
      )],
      [for number in local.kept[job] : "resource.name.extract(\"/backups/{name}/\").endsWith(\"-before${number}\")"],
    )),
  ) }

  # Nothing is overwritten: that takes the right to delete.
  bucket_grants = merge([for job in local.jobs : {
    for right, grant in merge(
      {
        # Of the whole bucket: only who may list without a condition is told that an object is absent (404, not 403).
        list = { role = "roles/storage.legacyBucketReader", condition = null }
        read = { role = "roles/storage.objectViewer", condition = local.inside }
        create = { role = "roles/storage.objectCreator", condition = {
          backup    = local.inside
          restore   = local.creating["restore"]
          retention = local.creating["retention"]
        }[job] }
      },
      job == "backup" && var.retain ? { retain = { role = local.roles.retain, condition = local.inside } } : {},
      job == "retention" ? { delete = { role = local.roles.delete, condition = local.inside } } : {},
    ) : "${job}-${right}" => merge(grant, { job = job })
  }]...)

  # Rights that no role of Google's has without others.
  permissions = merge(
    { delete = ["storage.objects.delete"] },
    var.retain ? { retain = ["storage.objects.setRetention"] } : {},
    var.gke ? { cluster = ["container.clusters.connect", "container.clusters.get", "container.clusters.list"] } : {},
    contains(var.volumes, "restic") ? { restic = ["storage.objects.create", "storage.objects.delete", "storage.objects.get"] } : {},
    { for right, permissions in local.disk_permissions : right => permissions if contains(var.volumes, "disks") },
  )
  roles = { for right, role in google_project_iam_custom_role.this : right => "projects/${var.project}/roles/${role.role_id}" }

  disk_permissions = {
    snapshot = [
      "compute.disks.createSnapshot", "compute.disks.get",
      "compute.snapshots.create", "compute.snapshots.get", "compute.snapshots.list", "compute.snapshots.setLabels",
      "compute.globalOperations.get", "compute.regionOperations.get", "compute.zoneOperations.get",
    ]
    disk = [
      "compute.disks.create", "compute.disks.get",
      "compute.snapshots.get", "compute.snapshots.list", "compute.snapshots.useReadOnly",
      "compute.regionOperations.get", "compute.zoneOperations.get",
    ]
    discard    = ["compute.disks.delete"]
    unsnapshot = ["compute.snapshots.delete", "compute.snapshots.get", "compute.snapshots.list", "compute.globalOperations.get"]
  }

  # A restore gives its disks names of its own. Snapshots have those of their volumes, and IAM doesn't see their labels.
  disk_grants = { for right, grant in {
    snapshot   = { job = "backup", condition = null }
    disk       = { job = "restore", condition = null }
    discard    = { job = "restore", condition = "resource.name.extract(\"/disks/{name}\").startsWith(\"lifeboat-\")" }
    unsnapshot = { job = "retention", condition = null }
  } : right => grant if contains(var.volumes, "disks") }

  # What a driver or restic has stored, only a cluster can delete.
  copying = [for method in ["csi", "restic"] : method if contains(var.volumes, method)]

  restic_grants = merge([for principal in contains(var.volumes, "restic") ? var.restic_principals : [] : {
    "list ${principal}"  = { member = principal, role = "roles/storage.legacyBucketReader", condition = null }
    "write ${principal}" = { member = principal, role = local.roles.restic, condition = "resource.name.startsWith(\"${local.objects}restic/\")" }
  }]...)

  secret_grants = merge([for job in local.jobs : {
    for secret in distinct(concat(var.secrets[job], compact([var.configuration_secret]))) : "${job} ${secret}" => { job = job, secret = secret }
  }]...)

  # Who may call which function.
  invokers = merge(
    { for job in ["backup", "retention"] : "${job} workflow" => { job = job, member = "serviceAccount:${local.workflow_email}" } },
    { "restore itself" = { job = "restore", member = "serviceAccount:${local.emails.restore}" } },
    { for principal in var.restore_principals : "restore ${principal}" => { job = "restore", member = principal } },
  )
}

resource "google_service_account" "function" {
  for_each = local.jobs

  project      = var.project
  account_id   = local.function_names[each.key]
  display_name = "Lifeboat: ${each.key}"
}

resource "google_project_iam_custom_role" "this" {
  for_each = local.permissions

  project     = var.project
  role_id     = "${replace(var.name, "-", "_")}_${each.key}"
  title       = "Lifeboat: ${each.key}"
  permissions = each.value
}

resource "google_storage_bucket_iam_member" "function" {
  for_each = local.bucket_grants

  bucket = local.bucket
  role   = each.value.role
  member = "serviceAccount:${local.emails[each.value.job]}"

  dynamic "condition" {
    for_each = compact([each.value.condition])

    content {
      title      = "lifeboat-${each.key}"
      expression = condition.value
    }
  }
}

resource "google_secret_manager_secret_iam_member" "function" {
  for_each = local.secret_grants

  secret_id = each.value.secret
  role      = "roles/secretmanager.secretAccessor"
  member    = "serviceAccount:${local.emails[each.value.job]}"
}

resource "google_project_iam_member" "disks" {
  for_each = local.disk_grants

  project = var.project
  role    = local.roles[each.key]
  member  = "serviceAccount:${local.emails[each.value.job]}"

  dynamic "condition" {
    for_each = compact([each.value.condition])

    content {
      title      = "lifeboat-${each.key}"
      expression = condition.value
    }
  }
}

resource "google_storage_bucket_iam_member" "restic" {
  for_each = local.restic_grants

  bucket = local.bucket
  role   = each.value.role
  member = each.value.member

  dynamic "condition" {
    for_each = compact([each.value.condition])

    content {
      title      = "lifeboat-restic"
      expression = condition.value
    }
  }
}

resource "google_project_iam_member" "cluster" {
  # Of a fleet retention asks for the clusters, whatever it does in them.
  for_each = toset(var.gke ? concat(["backup", "restore"], var.fleet || length(local.copying) > 0 ? ["retention"] : []) : [])

  project = var.project
  role    = local.roles.cluster
  member  = "serviceAccount:${local.emails[each.key]}"
}

resource "google_cloud_run_v2_service_iam_member" "invoker" {
  for_each = local.invokers

  project  = var.project
  location = var.region
  name     = google_cloudfunctions2_function.this[each.value.job].name
  role     = "roles/run.invoker"
  member   = each.value.member
}

resource "google_cloud_tasks_queue_iam_member" "restore" {
  project  = var.project
  location = var.region
  name     = google_cloud_tasks_queue.restore.name
  role     = "roles/cloudtasks.enqueuer"
  member   = "serviceAccount:${local.emails.restore}"
}

# Its tasks bear its own token.
resource "google_service_account_iam_member" "restore" {
  service_account_id = google_service_account.function["restore"].name
  role               = "roles/iam.serviceAccountUser"
  member             = "serviceAccount:${local.emails.restore}"
}

# What builds the functions has an identity of its own, since the project's default one may often read or change everything.
resource "google_service_account" "build" {
  project      = var.project
  account_id   = "${var.name}-build"
  display_name = "Lifeboat: build"
}

resource "google_project_iam_member" "build" {
  for_each = {
    "roles/logging.logWriter"       = null
    "roles/artifactregistry.writer" = null
    # Cloud Functions copies the package into a bucket of its own.
    "roles/storage.objectViewer" = "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-\")"
  }

  project = var.project
  role    = each.key
  member  = "serviceAccount:${google_service_account.build.account_id}@${local.accounts}"

  dynamic "condition" {
    for_each = compact([each.value])

    content {
      title      = "lifeboat-build"
      expression = condition.value
    }
  }
}

resource "google_storage_bucket_iam_member" "build" {
  bucket = google_storage_bucket.package.name
  role   = "roles/storage.objectViewer"
  member = "serviceAccount:${google_service_account.build.account_id}@${local.accounts}"
}
