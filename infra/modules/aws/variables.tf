variable "name" {
  description = "Begins the name of everything that the module makes, so that several can stand in one account."
  type        = string
  default     = "lifeboat"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,23}$", var.name))
    error_message = "name: up to 24 lower-case letters, digits and hyphens, a letter first."
  }
}

variable "package" {
  description = "Path of the zip that `npm run build` makes: `dist/lifeboat-aws.zip`."
  type        = string

  validation {
    condition     = endswith(var.package, ".zip")
    error_message = "package: the path of a zip, dist/lifeboat-aws.zip of `npm run build`."
  }
}

variable "bucket" {
  description = "Name of the bucket: of the one to make, or with `create_bucket = false` of one that exists."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.bucket)) && !can(regex("[.][.]|^[0-9.]+$|^xn--|-s3alias$", var.bucket))
    error_message = "bucket: 3 to 63 lower-case letters, digits, hyphens and dots, a letter or digit first and last."
  }
}

variable "create_bucket" {
  description = "Whether the bucket is made here. One that exists keeps its own settings and policy."
  type        = bool
  default     = true
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
  description = "ARN of the KMS key of the bucket. Null: keys of S3 (or what an existing bucket has)."
  type        = string
  default     = null

  validation {
    condition     = var.bucket_kms_key == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.bucket_kms_key))
    error_message = "bucket_kms_key: the ARN of a key, arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "object_lock" {
  description = "Whether the bucket can hold objects against deletion (docs/write-once.md). Only when it is made."
  type        = bool
  default     = false
}

variable "write_once" {
  description = "Whether the bucket's policy refuses to overwrite objects. Set to false where a Velero writes to the same bucket."
  type        = bool
  default     = true
}

variable "retain" {
  description = "Whether the backup function may hold what it stores (`retainFor`, docs/write-once.md): adds `s3:PutObjectRetention`."
  type        = bool
  default     = false
}

variable "noncurrent_days" {
  description = "Days after which S3 removes versions that were deleted."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 1 && floor(var.noncurrent_days) == var.noncurrent_days
    error_message = "noncurrent_days: a whole number of days, 1 at least."
  }
}

variable "configuration" {
  description = "Text of lifeboat.yaml, 3 KB at most. It holds references to secrets, never secrets. Its `location` is overridden by the bucket."
  type        = string
  default     = null
}

variable "configuration_secret" {
  description = "ARN of a secret that holds lifeboat.yaml, in place of `configuration`."
  type        = string
  default     = null

  validation {
    condition     = var.configuration_secret == null || can(regex("^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+$", var.configuration_secret))
    error_message = "configuration_secret: the ARN of a secret, arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-XXXXXX."
  }
}

variable "secrets" {
  description = "ARNs of the secrets (kubeconfigs, keys, webhooks) that each function may read. Only references: no value gets into the state."
  type = object({
    backup    = optional(list(string), [])
    restore   = optional(list(string), [])
    retention = optional(list(string), [])
  })
  default = {}

  validation {
    condition = alltrue([
      for arn in concat(var.secrets.backup, var.secrets.restore, var.secrets.retention) :
      can(regex("^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+$", arn))
    ])
    error_message = "secrets: whole ARNs of single secrets, arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-XXXXXX, without *."
  }
}

variable "secrets_kms_keys" {
  description = "ARNs of the customer-managed KMS keys of those secrets."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.secrets_kms_keys : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", arn))])
    error_message = "secrets_kms_keys: ARNs of keys, arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "clusters" {
  description = "Names of the EKS clusters of this account and region that are backed up and restored into."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.clusters : can(regex("^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$", name))])
    error_message = "clusters: names of EKS clusters, not ARNs: letters, digits, - and _."
  }
}

variable "fleet" {
  description = "Whether the location is a fleet's: restores and retention may write in each cluster's folder, and the account's EKS clusters of this region be discovered. Each still needs access entries, as the module makes them for `clusters`."
  type        = bool
  default     = false
}

variable "hooks" {
  description = "Whether backups may run commands in Pods (`pods/exec`). Without it and `volumes` the backup function has no write to any cluster."
  type        = bool
  default     = false
}

variable "volumes" {
  description = "How volumes' data may be copied (docs/volumes.md): `disks` by snapshots of EBS, `csi` by snapshots of CSI drivers, `restic` by Jobs in the cluster. Empty: nobody has a right on a disk, and the backup function no write to any cluster."
  type        = list(string)
  default     = []

  validation {
    condition     = length(setsubtract(var.volumes, ["disks", "csi", "restic"])) == 0
    error_message = "volumes: some of disks, csi and restic."
  }
}

variable "volumes_kms_keys" {
  description = "ARNs of the customer-managed KMS keys of EBS volumes, so that a restore can make encrypted ones of snapshots (`volumes` with `disks`)."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.volumes_kms_keys : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", arn))])
    error_message = "volumes_kms_keys: ARNs of keys, arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "restic_principals" {
  description = "Names of the IAM roles of this account that restic's Jobs have: they may read, write and delete below `restic/` (`volumes` with `restic`)."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.restic_principals : can(regex("^[A-Za-z0-9_+=,.@-]{1,64}$", name))])
    error_message = "restic_principals: names of IAM roles, not ARNs, and never *."
  }
}

variable "schedules" {
  description = "What `lifeboat schedule render --target aws` prints, by name: EventBridge Scheduler's expressions, the job, and the longest interval between two runs."
  type = map(object({
    expressions      = list(string)
    time_zone        = optional(string, "UTC")
    job              = map(string)
    interval_seconds = number
    paused           = optional(bool, false)
  }))
  default = {}

  validation {
    condition     = alltrue([for name, _ in var.schedules : can(regex("^[a-z0-9]([a-z0-9_-]{0,33}[a-z0-9])?$", name))])
    error_message = "schedules: names of up to 35 lower-case letters, digits, hyphens and underscores, a letter or digit first and last."
  }
  validation {
    # Each field: single values, ranges and *, each with a step or without, between commas; of day and weekday one is ?.
    condition = alltrue(flatten([
      for schedule in var.schedules : [
        length(schedule.expressions) > 0,
        [for expression in schedule.expressions : can(regex(format("^(cron[(]%s %s (%s %s [?]|[?] %s %s) %s[)]|rate[(](1 (minute|hour|day)|([2-9]|[1-9][0-9]+) (minute|hour|day)s)[)])$", [
          for at in [0, 1, 2, 3, 3, 4, 5] : format("(([*]|%[1]s(-%[1]s)?)(/[1-9][0-9]?)?)(,([*]|%[1]s(-%[1]s)?)(/[1-9][0-9]?)?)*", [
            "[0-5]?[0-9]",
            "([01]?[0-9]|2[0-3])",
            "((0?[1-9]|[12][0-9]|3[01])W?|LW?)",
            "(0?[1-9]|1[0-2]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)",
            "([1-7]|SUN|MON|TUE|WED|THU|FRI|SAT)(L|#[1-5])?",
            "(19[7-9][0-9]|2[01][0-9]{2})",
          ][at])
        ]...), expression))]
      ]
    ]))
    error_message = "schedules: every expression is cron(minute hour day month weekday year), of day and weekday one ?, or rate(…), as EventBridge has them, not a line of crontab: `lifeboat schedule render --target aws` makes them."
  }
  validation {
    condition     = alltrue([for schedule in var.schedules : can(regex("^[A-Za-z][A-Za-z0-9_+/-]*$", schedule.time_zone))])
    error_message = "schedules: time_zone is an IANA name, like Europe/Berlin."
  }
  validation {
    condition     = alltrue([for schedule in var.schedules : contains(["backup", "verify", "retention"], lookup(schedule.job, "kind", ""))])
    error_message = "schedules: job is {kind = \"backup\", schedule = NAME}, {kind = \"verify\"} or {kind = \"retention\"}: `lifeboat schedule render --target aws` makes them."
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
  description = "Names of the IAM roles of this account that may call the restore function's URL."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.restore_principals : can(regex("^[A-Za-z0-9_+=,.@-]{1,64}$", name))])
    error_message = "restore_principals: names of IAM roles, not ARNs, and never *."
  }
}

variable "vpc" {
  description = "Subnets and security groups for clusters whose API server is private. The subnets need a way to S3, Secrets Manager, STS, EKS and Step Functions, and for `disks` to EC2."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
  })
  default = null

  validation {
    condition = var.vpc == null || (
      try(length(var.vpc.subnet_ids) > 0 && length(var.vpc.security_group_ids) > 0, false) &&
      alltrue([for id in try(var.vpc.subnet_ids, []) : startswith(id, "subnet-")]) &&
      alltrue([for id in try(var.vpc.security_group_ids, []) : startswith(id, "sg-")])
    )
    error_message = "vpc: at least one subnet-… and one sg-…."
  }
}

variable "memory_size" {
  description = "Memory of each function in MB; 1769 is one whole CPU."
  type        = number
  default     = 1769

  validation {
    condition     = var.memory_size >= 512 && var.memory_size <= 10240
    error_message = "memory_size: 512 to 10240 MB."
  }
}

variable "concurrency" {
  description = "How many parts of one job run at a time: clusters of a fleet, shards of a large cluster. Each part may have as many of its own; the account's limit of Lambda (1000, in a new account 10) is for all of them."
  type        = number
  default     = 10

  validation {
    condition     = var.concurrency >= 1 && var.concurrency <= 1000 && floor(var.concurrency) == var.concurrency
    error_message = "concurrency: a whole number, 1 to 1000."
  }
}

variable "retries" {
  description = "How often a job that failed is repeated, before it is a dead letter."
  type        = number
  default     = 2

  validation {
    condition     = contains([0, 1, 2], var.retries)
    error_message = "retries: 0, 1 or 2."
  }
}

variable "log_retention_days" {
  description = "Days that CloudWatch keeps the functions' logs."
  type        = number
  default     = 365

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days: one of CloudWatch's: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653."
  }
}

variable "kms_key" {
  description = "ARN of a KMS key for the functions' logs and environment and the schedules' jobs. Its policy lets CloudWatch Logs use it."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key))
    error_message = "kms_key: the ARN of a key, arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "alarm_actions" {
  description = "ARNs that alarms tell, as an SNS topic."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.alarm_actions : startswith(arn, "arn:")])
    error_message = "alarm_actions: ARNs, as arn:aws:sns:REGION:ACCOUNT:TOPIC."
  }
}

variable "tags" {
  description = "Tags of everything that takes some."
  type        = map(string)
  default     = {}
}
