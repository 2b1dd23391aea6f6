variable "package" {
  description = "Path of dist/lifeboat-azure.zip."
  type        = string
  default     = "../../../dist/lifeboat-azure.zip"
}

variable "subscription" {
  description = "Id of the subscription of all of it."
  type        = string
}

variable "resource_group" {
  description = "Name of the resource group for Lifeboat."
  type        = string
}

variable "storage_account" {
  description = "Name of the storage account to make for the backups."
  type        = string
}

variable "cluster" {
  description = "Name of the AKS cluster."
  type        = string
}

variable "cluster_resource_group" {
  description = "Name of the cluster's resource group."
  type        = string
}

variable "clock" {
  description = "`clock` of what `lifeboat schedule render --target azure` prints; without it for an hourly backup and a nightly retention."
  type        = list(string)
  default     = ["0 0 * * * *", "0 45 4 * * *", "0 */15 * * * *"]
}

variable "schedules" {
  description = "`schedules` of what `lifeboat schedule render --target azure` prints; without it an hourly backup and a nightly retention."
  type = map(object({
    job              = map(string)
    interval_seconds = number
    paused           = optional(bool, false)
  }))
  default = {
    hourly    = { job = { kind = "backup", schedule = "hourly" }, interval_seconds = 3600 }
    retention = { job = { kind = "retention" }, interval_seconds = 86400 }
  }
}

variable "backup_principals" {
  description = "Object ids of those who may ask for a backup."
  type        = list(string)
  default     = []
}

variable "restore_application" {
  description = "Client id of the application by which the restore function's URL lets callers in."
  type        = string
  default     = null
}

variable "restore_principals" {
  description = "Object ids of the users and service principals that may restore."
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

variable "disk_resource_groups" {
  description = "Names of the resource groups that the cluster's disks are in, for disks: `az aks show --query nodeResourceGroup`."
  type        = list(string)
  default     = []
}

variable "alarm_actions" {
  description = "Ids of action groups that alarms tell; without one they tell nobody."
  type        = list(string)
  default     = []
}
