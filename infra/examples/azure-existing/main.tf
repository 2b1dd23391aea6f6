# A storage account and a cluster that exist, the cluster private and reached by a kubeconfig out of a secret.

provider "azurerm" {
  # The module's storage accounts take no keys, and the provider would read properties of theirs by one.
  features {
    storage {
      data_plane_available = false
    }
  }

  subscription_id = var.subscription
}

locals {
  kubeconfig = regex("/vaults/(?P<vault>[^/]+)/secrets/(?P<name>[^/]+)$", var.kubeconfig_secret)
}

module "lifeboat" {
  source = "../../modules/azure"

  package                        = var.package
  resource_group                 = var.resource_group
  storage_account                = var.storage_account
  storage_account_resource_group = var.storage_account_resource_group
  create_storage_account         = false
  container                      = "backups"
  prefix                         = "lifeboat"
  secrets                        = { backup = [var.kubeconfig_secret], restore = [var.kubeconfig_secret] }
  subnet                         = var.subnet

  configuration = yamlencode({
    clusters  = { prod = { kubeconfig = "azure-kv://${local.kubeconfig.vault}/${local.kubeconfig.name}" } }
    schedules = { nightly = { schedule = "30 2 * * *", timeZone = "Europe/Berlin", cluster = "prod" } }
  })

  clock     = ["0 30 * * * *", "0 */15 * * * *"]
  schedules = { nightly = { job = { kind = "backup", schedule = "nightly" }, interval_seconds = 90000 } }
}
