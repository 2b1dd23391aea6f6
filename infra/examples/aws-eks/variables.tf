variable "package" {
  description = "Path of dist/lifeboat-aws.zip."
  type        = string
  default     = "../../../dist/lifeboat-aws.zip"
}

variable "bucket" {
  description = "Name of the bucket."
  type        = string
}

variable "cluster" {
  description = "Name of the EKS cluster."
  type        = string
}

variable "region" {
  description = "Region of all of it."
  type        = string
}

variable "schedules" {
  description = "What `lifeboat schedule render --target aws` prints; without it an hourly backup and a nightly retention."
  type = map(object({
    expressions      = list(string)
    time_zone        = optional(string, "UTC")
    job              = map(string)
    interval_seconds = number
    paused           = optional(bool, false)
  }))
  default = {
    hourly    = { expressions = ["cron(0 * * * ? *)"], job = { kind = "backup", schedule = "hourly" }, interval_seconds = 3600 }
    retention = { expressions = ["cron(45 4 * * ? *)"], job = { kind = "retention" }, interval_seconds = 86400 }
  }
}

variable "restore_principals" {
  description = "Names of the IAM roles that may restore."
  type        = list(string)
  default     = []
}

variable "configuration_file" {
  description = "Path of lifeboat.yaml, its schedules rendered into the variable `schedules`; without it an hourly backup of `cluster`, by the name prod."
  type        = string
  default     = null
}

variable "fleet" {
  description = "Whether the schedules of `configuration_file` are each of many clusters."
  type        = bool
  default     = false
}

variable "hooks" {
  description = "Whether backups may run commands in Pods."
  type        = bool
  default     = false
}

variable "volumes" {
  description = "How volumes' data may be copied: some of disks, csi and restic."
  type        = list(string)
  default     = []
}

variable "alarm_actions" {
  description = "ARNs of SNS topics that alarms tell; without one they tell nobody."
  type        = list(string)
  default     = []
}
