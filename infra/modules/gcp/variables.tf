variable "name" {
  description = "Begins the name of everything that the module makes, so that several can stand in one project."
  type        = string
  default     = "lifeboat"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}$", var.name))
    error_message = "name: up to 20 lower-case letters, digits and hyphens, a letter first."
  }
}

variable "project" {
  description = "Id of the project that everything is made in."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project: a project's id (not its number or display name): 6 to 30 lower-case letters, digits and hyphens, a letter first."
  }
}

variable "region" {
  description = "Region of the functions and of all that goes with them, like `europe-west1`."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region: a region like europe-west1, not a zone."
  }
}

variable "package" {
  description = "Path of the zip that `npm run build` makes: `dist/lifeboat-gcp.zip`."
  type        = string

  validation {
    condition     = endswith(var.package, ".zip")
    error_message = "package: the path of a zip, dist/lifeboat-gcp.zip of `npm run build`."
  }
}

variable "bucket" {
  description = "Name of the bucket: of the one to make, or with `create_bucket = false` of one that exists."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9_.-]{1,61}[a-z0-9]$", var.bucket)) && !can(regex("[.][.]|^[0-9]+([.][0-9]+){3}$|^goog|google|g00gle", var.bucket))
    error_message = "bucket: 3 to 63 lower-case letters, digits, hyphens, underscores and dots, a letter or digit first and last, without \"google\"."
  }
}

variable "create_bucket" {
  description = "Whether the bucket is made here. One that exists keeps its own settings, and must have uniform bucket-level access."
  type        = bool
  default     = true
}

variable "bucket_location" {
  description = "Location of the bucket to make: a region, or a multi-region like `EU`. Null: the functions' region."
  type        = string
  default     = null

  validation {
    condition     = var.bucket_location == null || can(regex("^[A-Za-z]+[A-Za-z0-9-]*$", var.bucket_location))
    error_message = "bucket_location: a location of Cloud Storage, like europe-west1 or EU."
  }
}

variable "prefix" {
  description = "Folder of the bucket for the backups, without a slash at either end. Empty: the whole bucket."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*)?$", var.prefix))
    error_message = "prefix: letters, digits, _ . - and slashes between them, none at either end."
  }
}

variable "bucket_kms_key" {
  description = "Name of the KMS key of the bucket to make, in its location. Null: keys of Google."
  type        = string
  default     = null

  validation {
    condition     = var.bucket_kms_key == null || can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.bucket_kms_key))
    error_message = "bucket_kms_key: the name of a key, projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY."
  }
}

variable "object_retention" {
  description = "Whether the bucket can hold objects against deletion (docs/write-once.md). Only when it is made."
  type        = bool
  default     = false
}

variable "retain" {
  description = "Whether the backup function may hold what it stores (`retainFor`, docs/write-once.md): adds `storage.objects.setRetention`."
  type        = bool
  default     = false
}

variable "noncurrent_days" {
  description = "Days after which Cloud Storage removes versions that were deleted."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 1 && floor(var.noncurrent_days) == var.noncurrent_days
    error_message = "noncurrent_days: a whole number of days, 1 at least."
  }
}

variable "configuration" {
  description = "Text of lifeboat.yaml, 24 KB at most. It holds references to secrets, never secrets. Its `location` is overridden by the bucket."
  type        = string
  default     = null

  validation {
    # base64 has four characters for each three bytes.
    condition     = var.configuration == null || length(base64encode(coalesce(var.configuration, "-"))) <= 32768
    error_message = "configuration: 24 KB at most. Put a longer one into a secret, and give its name as configuration_secret."
  }
}

variable "configuration_secret" {
  description = "Name of a secret that holds lifeboat.yaml, in place of `configuration`: `projects/PROJECT/secrets/SECRET`."
  type        = string
  default     = null

  validation {
    condition     = var.configuration_secret == null || can(regex("^projects/[a-z0-9:.-]+/secrets/[A-Za-z0-9_-]{1,255}$", var.configuration_secret))
    error_message = "configuration_secret: the name of a secret, projects/PROJECT/secrets/SECRET."
  }
}

variable "secrets" {
  description = "Names of the secrets (kubeconfigs, keys, webhooks) that each function may read, `projects/PROJECT/secrets/SECRET`. Only references: no value gets into the state."
  type = object({
    backup    = optional(list(string), [])
    restore   = optional(list(string), [])
    retention = optional(list(string), [])
  })
  default = {}

  validation {
    condition = alltrue([
      for name in concat(var.secrets.backup, var.secrets.restore, var.secrets.retention) :
      can(regex("^projects/[a-z0-9:.-]+/secrets/[A-Za-z0-9_-]{1,255}$", name))
    ])
    error_message = "secrets: whole names of single secrets, projects/PROJECT/secrets/SECRET, without a version and without *."
  }
}

variable "gke" {
  description = "Whether backup and restore function may find the project's GKE clusters and connect to them. What they may do there, RBAC says (output `rbac_command`)."
  type        = bool
  default     = true
}

variable "fleet" {
  description = "Whether the location is a fleet's: restores and retention may write in each cluster's folder, and with `gke` every function may discover the project's GKE clusters. No folder of `prefix` may then be called `backups`."
  type        = bool
  default     = false

  validation {
    condition     = !var.fleet || !strcontains("/${var.bucket}/objects/${var.prefix}/", "/backups/")
    error_message = "fleet: neither the bucket nor a folder of prefix may be called backups, or the condition of restores would look for the name of a backup there."
  }
}

variable "hooks" {
  description = "Whether backups may run commands in Pods (`pods/exec`). Without it and `volumes` the backup function has no write to any cluster."
  type        = bool
  default     = false
}

variable "volumes" {
  description = "How volumes' data may be copied (docs/volumes.md): `disks` by snapshots of Compute Engine, `csi` by snapshots of CSI drivers, `restic` by Jobs in the cluster. Empty: nobody has a right on a disk, and the backup function no write to any cluster."
  type        = list(string)
  default     = []

  validation {
    condition     = length(setsubtract(var.volumes, ["disks", "csi", "restic"])) == 0
    error_message = "volumes: some of disks, csi and restic."
  }
}

variable "restic_principals" {
  description = "Whom restic's Jobs act as, `serviceAccount:` and an e-mail address, or a `principal:` or `principalSet:` of IAM: they may read, write and delete below `restic/` (`volumes` with `restic`)."
  type        = list(string)
  default     = []

  validation {
    condition = alltrue([
      for principal in var.restic_principals : can(regex("^(serviceAccount:[^@ *]+@[^@ *]+|principal(Set)?://[^ ]+)$", principal))
    ])
    error_message = "restic_principals: serviceAccount: and an e-mail address, principal:// or principalSet://, never allUsers or allAuthenticatedUsers."
  }
}

variable "schedules" {
  description = "What `lifeboat schedule render --target gcp` prints, by name: Cloud Scheduler's expressions, the job, and the longest interval between two runs."
  type = map(object({
    expressions      = list(string)
    time_zone        = optional(string, "UTC")
    job              = map(string)
    interval_seconds = number
    paused           = optional(bool, false)
  }))
  default = {}

  validation {
    condition     = alltrue([for name, _ in var.schedules : can(regex("^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$", name))])
    error_message = "schedules: names of up to 63 lower-case letters, digits, hyphens and underscores, a letter or digit first and last."
  }
  validation {
    # Each field: single numbers, ranges and *, each with a step or without, between commas.
    condition = alltrue(flatten([
      for schedule in var.schedules : [
        length(schedule.expressions) > 0,
        [for expression in schedule.expressions : can(regex(format("^%s$", join(" ", [
          for number in ["[0-5]?[0-9]", "([01]?[0-9]|2[0-3])", "(0?[1-9]|[12][0-9]|3[01])", "(0?[1-9]|1[0-2])", "[0-7]"] :
          format("(([*]|%[1]s(-%[1]s)?)(/[1-9][0-9]?)?)(,([*]|%[1]s(-%[1]s)?)(/[1-9][0-9]?)?)*", number)
        ])), expression))]
      ]
    ]))
    error_message = "schedules: every expression has five fields, minute hour day month weekday, in numbers, as Cloud Scheduler has them: `lifeboat schedule render --target gcp` makes them."
  }
  validation {
    condition     = alltrue([for schedule in var.schedules : can(regex("^[A-Za-z][A-Za-z0-9_+/-]*$", schedule.time_zone))])
    error_message = "schedules: time_zone is an IANA name, like Europe/Berlin."
  }
  validation {
    condition     = alltrue([for schedule in var.schedules : contains(["backup", "verify", "retention"], lookup(schedule.job, "kind", ""))])
    error_message = "schedules: job is {kind = \"backup\", schedule = NAME}, {kind = \"verify\"} or {kind = \"retention\"}: `lifeboat schedule render --target gcp` makes them."
  }
  validation {
    condition     = alltrue([for schedule in var.schedules : can(regex("^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", lookup(schedule.job, "schedule", "none")))])
    error_message = "schedules: the job's schedule is a name of the configuration: lower-case letters, digits and hyphens."
  }
  validation {
    condition     = alltrue([for schedule in var.schedules : schedule.interval_seconds >= 60 && floor(schedule.interval_seconds) == schedule.interval_seconds])
    error_message = "schedules: interval_seconds is a whole number, 60 at least."
  }
}

variable "restore_principals" {
  description = "Who may call the restore function's URL: `user:`, `group:` or `serviceAccount:` and an e-mail address, or a `principal:` or `principalSet:` of IAM."
  type        = list(string)
  default     = []

  validation {
    condition = alltrue([
      for principal in var.restore_principals : can(regex("^((user|group|serviceAccount):[^@ *]+@[^@ *]+|principal(Set)?://[^ ]+)$", principal))
    ])
    error_message = "restore_principals: user:, group: or serviceAccount: and an e-mail address, principal:// or principalSet://, never allUsers, allAuthenticatedUsers or a whole domain."
  }
}

variable "vpc" {
  description = "Serverless VPC Access connector for clusters whose API server is private, and whether all traffic goes through it or only that to private addresses."
  type = object({
    connector   = string
    all_traffic = optional(bool, false)
  })
  default = null

  validation {
    condition     = var.vpc == null || can(regex("^projects/[^/]+/locations/[^/]+/connectors/[^/]+$", var.vpc.connector))
    error_message = "vpc: connector is the name of a connector, projects/PROJECT/locations/REGION/connectors/CONNECTOR."
  }
}

variable "memory_size" {
  description = "Memory of each function in MiB; 2048 comes with one whole CPU."
  type        = number
  default     = 2048

  validation {
    condition     = var.memory_size >= 512 && var.memory_size <= 32768 && floor(var.memory_size) == var.memory_size
    error_message = "memory_size: 512 to 32768 MiB."
  }
}

variable "concurrency" {
  description = "How many parts of one job run at a time: clusters of a fleet, shards of a large cluster. A part may have parts of its own; of all of a run Workflows runs 20 at once."
  type        = number
  default     = 10

  validation {
    condition     = var.concurrency >= 1 && var.concurrency <= 20 && floor(var.concurrency) == var.concurrency
    error_message = "concurrency: a whole number, 1 to 20."
  }
}

variable "retries" {
  description = "How often a job that failed is repeated, before it is a dead letter."
  type        = number
  default     = 2

  validation {
    condition     = contains([0, 1, 2, 3, 4, 5], var.retries)
    error_message = "retries: 0 to 5."
  }
}

variable "log_retention_days" {
  description = "Days that the log bucket keeps the functions' logs."
  type        = number
  default     = 365

  validation {
    condition     = var.log_retention_days >= 1 && var.log_retention_days <= 3650 && floor(var.log_retention_days) == var.log_retention_days
    error_message = "log_retention_days: a whole number of days, 1 to 3650."
  }
}

variable "kms_key" {
  description = "Name of a KMS key for the log bucket and the dead letters, in the region, which the service accounts of Cloud Logging and Pub/Sub may use."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null || can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "kms_key: the name of a key, projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY."
  }
}

variable "notification_channels" {
  description = "Names of the notification channels that alarms tell: `projects/PROJECT/notificationChannels/ID`."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[0-9]+$", name))])
    error_message = "notification_channels: names, as projects/PROJECT/notificationChannels/ID."
  }
}

variable "labels" {
  description = "Labels of everything that takes some."
  type        = map(string)
  default     = {}
}
