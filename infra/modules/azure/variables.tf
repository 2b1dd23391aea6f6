variable "name" {
  description = "Begins the name of everything that the module makes, so that several can stand in one resource group."
  type        = string
  default     = "lifeboat"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,23}$", var.name))
    error_message = "name: up to 24 lower-case letters, digits and hyphens, a letter first."
  }
}

variable "package" {
  description = "Path of the zip that `npm run build` makes: `dist/lifeboat-azure.zip`."
  type        = string

  validation {
    condition     = endswith(var.package, ".zip") && fileexists(var.package)
    error_message = "package: the path of a zip that is there, dist/lifeboat-azure.zip of `npm run build`."
  }
}

variable "resource_group" {
  description = "Name of the resource group, which exists, for everything that is made; its region is the functions'."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_.()-]{0,89}[A-Za-z0-9_()-]$", var.resource_group))
    error_message = "resource_group: the name of a resource group, not its id: up to 90 letters, digits, _ . - ( ), no dot at the end."
  }
}

variable "storage_account" {
  description = "Name of the storage account of the backups: of the one to make, or with `create_storage_account = false` of one that exists."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{3,24}$", var.storage_account))
    error_message = "storage_account: 3 to 24 lower-case letters and digits, nothing else; the name must be free in all of Azure."
  }
}

variable "create_storage_account" {
  description = "Whether the storage account and the container are made here. One that exists keeps its own settings; its container must be there."
  type        = bool
  default     = true
}

variable "storage_account_resource_group" {
  description = "Resource group of a storage account that exists, of the same subscription. Null: `resource_group`."
  type        = string
  default     = null

  validation {
    condition     = var.storage_account_resource_group == null || can(regex("^[A-Za-z0-9_.()-]{0,89}[A-Za-z0-9_()-]$", var.storage_account_resource_group))
    error_message = "storage_account_resource_group: the name of a resource group, not its id."
  }
}

variable "container" {
  description = "Name of the container of the backups."
  type        = string
  default     = "lifeboat"

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.container)) && !strcontains(var.container, "--")
    error_message = "container: 3 to 63 lower-case letters, digits and single hyphens, a letter or digit first and last."
  }
}

variable "prefix" {
  description = "Folder of the container for the backups, without a slash at either end. Empty: the whole container."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*)?$", var.prefix))
    error_message = "prefix: letters, digits, _ . - and slashes between them, none at either end."
  }
}

variable "replication" {
  description = "How Azure replicates the storage account that is made: `ZRS` in three zones of the region, `GZRS` in a second region too."
  type        = string
  default     = "ZRS"

  validation {
    condition     = contains(["LRS", "ZRS", "GRS", "RAGRS", "GZRS", "RAGZRS"], var.replication)
    error_message = "replication: LRS, ZRS, GRS, RAGRS, GZRS or RAGZRS."
  }
}

variable "encryption_key" {
  description = "Resource id of a Key Vault key by which the storage account that is made is encrypted; its vault must use Azure RBAC and purge protection. Null: keys of Azure."
  type        = string
  default     = null

  validation {
    condition     = var.encryption_key == null || can(regex("^/subscriptions/[0-9a-f-]{36}/resourceGroups/[^/]+/providers/Microsoft[.]KeyVault/vaults/[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]/keys/[A-Za-z0-9-]{1,127}$", var.encryption_key))
    error_message = "encryption_key: /subscriptions/S/resourceGroups/G/providers/Microsoft.KeyVault/vaults/V/keys/NAME, without a version."
  }
}

variable "immutability" {
  description = "Whether the storage account can hold objects against deletion (docs/write-once.md). Only when it is made."
  type        = bool
  default     = false
}

variable "retain" {
  description = "Whether the backup function may hold what it stores (`retainFor`, docs/write-once.md): adds `immutableStorage/runAsSuperUser`, which can also lift a hold of mode governance."
  type        = bool
  default     = false
}

variable "noncurrent_days" {
  description = "Days that Azure keeps what was deleted."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 1 && var.noncurrent_days <= 365 && floor(var.noncurrent_days) == var.noncurrent_days
    error_message = "noncurrent_days: a whole number of days, 1 to 365."
  }
}

variable "configuration" {
  description = "Text of lifeboat.yaml. It holds references to secrets, never secrets. Its `location` is overridden by the container."
  type        = string
  default     = null
}

variable "configuration_secret" {
  description = "Resource id of a Key Vault secret that holds lifeboat.yaml, in place of `configuration`."
  type        = string
  default     = null

  validation {
    condition     = var.configuration_secret == null || can(regex("^/subscriptions/[0-9a-f-]{36}/resourceGroups/[^/]+/providers/Microsoft[.]KeyVault/vaults/[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]/secrets/[A-Za-z0-9-]{1,127}$", var.configuration_secret))
    error_message = "configuration_secret: /subscriptions/S/resourceGroups/G/providers/Microsoft.KeyVault/vaults/V/secrets/NAME, without a version."
  }
}

variable "secrets" {
  description = "Resource ids of the Key Vault secrets (kubeconfigs, keys, webhooks) that each function may read; the vault must use Azure RBAC. Only references: no value gets into the state."
  type = object({
    backup    = optional(list(string), [])
    restore   = optional(list(string), [])
    retention = optional(list(string), [])
  })
  default = {}

  validation {
    condition = alltrue([
      for id in concat(var.secrets.backup, var.secrets.restore, var.secrets.retention) :
      can(regex("^/subscriptions/[0-9a-f-]{36}/resourceGroups/[^/]+/providers/Microsoft[.]KeyVault/vaults/[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]/secrets/[A-Za-z0-9-]{1,127}$", id))
    ])
    error_message = "secrets: ids of single secrets, /subscriptions/S/resourceGroups/G/providers/Microsoft.KeyVault/vaults/V/secrets/NAME, not of a vault, without a version."
  }
}

variable "clusters" {
  description = "Resource ids of the AKS clusters that are backed up and restored into, of which `aks` of the configuration takes the parts, or of resource groups with such clusters alone, for a fleet's."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.clusters : can(regex("^/subscriptions/[0-9a-f-]{36}/resourceGroups/[^/]+(/providers/Microsoft[.]ContainerService/managedClusters/[A-Za-z0-9_-]{1,63})?$", id))])
    error_message = "clusters: ids of AKS clusters or resource groups, /subscriptions/S/resourceGroups/G or /subscriptions/S/resourceGroups/G/providers/Microsoft.ContainerService/managedClusters/NAME."
  }
}

variable "fleet" {
  description = "Whether the location is a fleet's: restores and retention may write in each cluster's folder, and every function discover the AKS clusters of this subscription. Only those of `clusters` can be reached by `aks`."
  type        = bool
  default     = false
}

variable "hooks" {
  description = "Whether backups may run commands in Pods (`pods/exec`), once `rbac_command` has run. Without it and `volumes` the backup function has no write to any cluster."
  type        = bool
  default     = false
}

variable "volumes" {
  description = "How volumes' data may be copied (docs/volumes.md): `disks` by snapshots of Azure, `csi` by snapshots of CSI drivers, `restic` by Jobs in the cluster, the last two once `rbac_command` has run. Empty: nobody has a right on a disk, and the backup function no write to any cluster."
  type        = list(string)
  default     = []

  validation {
    condition     = length(setsubtract(var.volumes, ["disks", "csi", "restic"])) == 0
    error_message = "volumes: some of disks, csi and restic."
  }
}

variable "disk_resource_groups" {
  description = "Names of the resource groups of this subscription that the clusters' disks are in, for `disks`: `az aks show --query nodeResourceGroup`. Their snapshots go into `resource_group`."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.disk_resource_groups : can(regex("^[A-Za-z0-9_.()-]{0,89}[A-Za-z0-9_()-]$", name))])
    error_message = "disk_resource_groups: names of resource groups, not their ids."
  }
}

variable "restic_principals" {
  description = "Object ids of the identities that restic's Jobs have: they may read, write and delete below `restic/` (`volumes` with `restic`)."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.restic_principals : can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", id))])
    error_message = "restic_principals: object ids of Entra ID, like 00000000-0000-0000-0000-000000000000, and never *."
  }
}

variable "clock" {
  description = "When the functions look at the schedules, in UTC: `clock` of what `lifeboat schedule render --target azure` prints."
  type        = list(string)
  default     = []

  validation {
    condition = alltrue(flatten([
      for expression in var.clock : [
        length(split(" ", expression)) == 6,
        [for index, field in split(" ", expression) : [
          for part in split(",", field) : can(regex(format("^([*]|%[1]s(-%[1]s)?)(/[1-9][0-9]?)?$", [
            "[0-5]?[0-9]", "[0-5]?[0-9]", "([01]?[0-9]|2[0-3])", "(0?[1-9]|[12][0-9]|3[01])", "(0?[1-9]|1[0-2])", "[0-6]"
          ][index]), part))
        ]],
      ]
    ]))
    error_message = "clock: every expression has six fields of numbers, seconds first and Sunday 0, as Azure Functions has them, not a line of crontab: `lifeboat schedule render --target azure` makes them."
  }
}

variable "schedules" {
  description = "What `lifeboat schedule render --target azure` prints, by name: the job, and the longest interval between two runs, for the alarms. When they are due says the configuration."
  type = map(object({
    job              = map(string)
    interval_seconds = number
    paused           = optional(bool, false)
  }))
  default = {}

  validation {
    condition     = alltrue([for name, _ in var.schedules : can(regex("^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$", name))])
    error_message = "schedules: names of up to 63 lower-case letters, digits, - and _, a letter or digit first and last."
  }
  validation {
    condition     = alltrue([for schedule in var.schedules : contains(["backup", "verify", "retention"], lookup(schedule.job, "kind", ""))])
    error_message = "schedules: job is {kind = \"backup\", schedule = NAME}, {kind = \"verify\"} or {kind = \"retention\"}: `lifeboat schedule render --target azure` makes them."
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

variable "backup_principals" {
  description = "Object ids of the users, groups and service principals that may ask for a backup, by a message to the backup function's queue."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.backup_principals : can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", id))])
    error_message = "backup_principals: object ids of Entra ID, like 00000000-0000-0000-0000-000000000000: `az ad signed-in-user show --query id`."
  }
}

variable "restore_application" {
  description = "Client id of the application of Entra ID by which the restore function's URL lets callers in. Null: nobody can call it."
  type        = string
  default     = null

  validation {
    condition     = var.restore_application == null || can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.restore_application))
    error_message = "restore_application: the client id of an application, like 00000000-0000-0000-0000-000000000000."
  }
}

variable "restore_principals" {
  description = "Object ids of the users and service principals, not groups, that may call the restore function's URL."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.restore_principals : can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", id))])
    error_message = "restore_principals: object ids of Entra ID, like 00000000-0000-0000-0000-000000000000, and never *."
  }
}

variable "subnet" {
  description = "Resource id of a subnet for clusters whose API server is private, delegated to Microsoft.App/environments. It needs a way to Blob and Queue Storage, Key Vault, Entra ID, Resource Manager and Azure Monitor."
  type        = string
  default     = null

  validation {
    condition     = var.subnet == null || can(regex("^/subscriptions/[0-9a-f-]{36}/resourceGroups/[^/]+/providers/Microsoft[.]Network/virtualNetworks/[^/]+/subnets/[A-Za-z0-9.-]+$", var.subnet))
    error_message = "subnet: /subscriptions/S/resourceGroups/G/providers/Microsoft.Network/virtualNetworks/V/subnets/NAME; Flex Consumption takes no _ in its name."
  }
}

variable "memory_size" {
  description = "Memory of each instance in MB; with it comes its share of CPU."
  type        = number
  default     = 2048

  validation {
    condition     = contains([512, 2048, 4096], var.memory_size)
    error_message = "memory_size: 512, 2048 or 4096 MB."
  }
}

variable "retries" {
  description = "How often the host repeats a job that failed, before it is a dead letter."
  type        = number
  default     = 2

  validation {
    condition     = contains([0, 1, 2, 3, 4], var.retries)
    error_message = "retries: 0 to 4."
  }
}

variable "log_retention_days" {
  description = "Days that Log Analytics keeps the functions' logs."
  type        = number
  default     = 365

  validation {
    condition     = var.log_retention_days >= 30 && var.log_retention_days <= 730 && floor(var.log_retention_days) == var.log_retention_days
    error_message = "log_retention_days: a whole number, 30 to 730."
  }
}

variable "alarm_actions" {
  description = "Resource ids of the action groups that alarms tell."
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.alarm_actions) <= 5 && alltrue([for id in var.alarm_actions : can(regex("(?i)^/subscriptions/[0-9a-f-]{36}/resourceGroups/[^/]+/providers/Microsoft[.]Insights/actionGroups/[^/]+$", id))])
    error_message = "alarm_actions: up to 5 ids, /subscriptions/S/resourceGroups/G/providers/Microsoft.Insights/actionGroups/NAME."
  }
}

variable "tags" {
  description = "Tags of everything that takes some."
  type        = map(string)
  default     = {}
}
