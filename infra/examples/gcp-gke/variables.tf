variable "package" {
  description = "Path of dist/lifeboat-gcp.zip."
  type        = string
  default     = "../../../dist/lifeboat-gcp.zip"
}

variable "project" {
  description = "Id of the project of all of it."
  type        = string
}

variable "region" {
  description = "Region of all of it."
  type        = string
}

variable "bucket" {
  description = "Name of the bucket."
  type        = string
}

variable "cluster" {
  description = "Name of the GKE cluster."
  type        = string
}

variable "cluster_location" {
  description = "Zone of the cluster, or its region where that is another one."
  type        = string
  default     = null
}

variable "schedules" {
  description = "What `lifeboat schedule render --target gcp` prints; without it an hourly backup and a nightly retention."
  type = map(object({
    expressions      = list(string)
    time_zone        = optional(string, "UTC")
    job              = map(string)
    interval_seconds = number
    paused           = optional(bool, false)
  }))
  default = {
    hourly    = { expressions = ["0 * * * *"], job = { kind = "backup", schedule = "hourly" }, interval_seconds = 3600 }
    retention = { expressions = ["45 4 * * *"], job = { kind = "retention" }, interval_seconds = 86400 }
  }
}

variable "restore_principals" {
  description = "Who may restore: `user:`, `group:` or `serviceAccount:` and an e-mail address."
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

variable "notification_channels" {
  description = "Notification channels that alarms tell; without one they tell nobody."
  type        = list(string)
  default     = []
}
