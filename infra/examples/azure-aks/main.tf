# An AKS cluster, an hourly backup of all of it into a new storage account.

provider "azurerm" {
  # The module's storage accounts take no keys, and the provider would read properties of theirs by one.
  features {
    storage {
      data_plane_available = false
    }
  }

  subscription_id = var.subscription
}

module "lifeboat" {
  source = "../../modules/azure"

  package             = var.package
  resource_group      = var.resource_group
  storage_account     = var.storage_account
  clusters            = ["/subscriptions/${var.subscription}/resourceGroups/${var.cluster_resource_group}/providers/Microsoft.ContainerService/managedClusters/${var.cluster}"]
  clock               = var.clock
  schedules           = var.schedules
  backup_principals   = var.backup_principals
  restore_application = var.restore_application
  restore_principals  = var.restore_principals

  fleet                = var.fleet
  hooks                = var.hooks
  volumes              = var.volumes
  disk_resource_groups = var.disk_resource_groups
  alarm_actions        = var.alarm_actions

  configuration = var.configuration_file != null ? file(var.configuration_file) : yamlencode({
    clusters = { prod = { aks = { subscription = var.subscription, resourceGroup = var.cluster_resource_group, name = var.cluster } } }
    schedules = {
      hourly = {
        schedule  = "0 * * * *"
        cluster   = "prod"
        retention = { keepLast = 24, daily = 7, weekly = 4, monthly = 12 }
      }
    }
    retentionSchedule = "45 4 * * *"
  })
}
