mock_provider "azurerm" {}

variables {
  package                = "tests/package.zip"
  subscription           = "00000000-0000-0000-0000-000000000001"
  resource_group         = "backups"
  storage_account        = "acmebackups"
  cluster                = "prod"
  cluster_resource_group = "prod"
}

# A plan, since what it makes can't be destroyed by Terraform.
run "plans" {
  command = plan

  assert {
    condition     = output.location == "azblob://lifeboat?account=acmebackups"
    error_message = "the backups go elsewhere"
  }
}
