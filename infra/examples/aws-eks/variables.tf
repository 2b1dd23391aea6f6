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
