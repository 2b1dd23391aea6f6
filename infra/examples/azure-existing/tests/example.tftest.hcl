mock_provider "azurerm" {}

variables {
  package                        = "tests/package.zip"
  subscription                   = "00000000-0000-0000-0000-000000000001"
  resource_group                 = "backups"
  storage_account                = "acmebackups"
  storage_account_resource_group = "storage"
  kubeconfig_secret              = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/prod/providers/Microsoft.KeyVault/vaults/prod/secrets/kubeconfig"
  subnet                         = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/prod/providers/Microsoft.Network/virtualNetworks/prod/subnets/lifeboat"
}

run "applies" {
  assert {
    condition     = output.location == "azblob://backups/lifeboat?account=acmebackups"
    error_message = "the backups go elsewhere"
  }
}
