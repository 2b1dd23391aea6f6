locals {
  account_group = var.storage_account_resource_group == null ? local.group : "/subscriptions/${data.azurerm_client_config.current.subscription_id}/resourceGroups/${var.storage_account_resource_group}"
  key_parts     = var.encryption_key == null ? [] : split("/", var.encryption_key)
  container_id  = "${local.account_group}/providers/Microsoft.Storage/storageAccounts/${var.storage_account}/blobServices/default/containers/${var.container}"
}

resource "azurerm_storage_account" "this" {
  # checkov:skip=CKV_AZURE_33:There are no queues in it.
  # checkov:skip=CKV_AZURE_59:A restore must be possible from a laptop; Entra ID alone lets in, no key, nobody anonymous.
  # checkov:skip=CKV_AZURE_206:Three zones by default; `replication = "GZRS"` adds a second region.
  # checkov:skip=CKV2_AZURE_33:A private endpoint needs a network; an account that exists may have one (`create_storage_account = false`).
  count = var.create_storage_account ? 1 : 0

  name                              = var.storage_account
  resource_group_name               = var.resource_group
  location                          = local.region
  account_tier                      = "Standard"
  account_replication_type          = var.replication
  min_tls_version                   = "TLS1_2"
  https_traffic_only_enabled        = true
  shared_access_key_enabled         = false
  default_to_oauth_authentication   = true
  local_user_enabled                = false
  allow_nested_items_to_be_public   = false
  cross_tenant_replication_enabled  = false
  infrastructure_encryption_enabled = true
  tags                              = var.tags

  blob_properties {
    versioning_enabled = true

    delete_retention_policy {
      days = var.noncurrent_days
    }

    container_delete_retention_policy {
      days = var.noncurrent_days
    }
  }

  dynamic "identity" {
    for_each = azurerm_user_assigned_identity.encryption

    content {
      type         = "UserAssigned"
      identity_ids = [identity.value.id]
    }
  }

  dynamic "customer_managed_key" {
    for_each = azurerm_user_assigned_identity.encryption

    content {
      key_vault_key_id          = "https://${local.key_parts[8]}.vault.azure.net/keys/${local.key_parts[10]}"
      user_assigned_identity_id = customer_managed_key.value.id
    }
  }

  # Objects can be held one by one; nothing is held by default, as the locks of runs must go again.
  dynamic "immutability_policy" {
    for_each = var.immutability ? [1] : []

    content {
      state                         = "Disabled"
      period_since_creation_in_days = 1
      allow_protected_append_writes = false
    }
  }

  lifecycle {
    prevent_destroy = true

    precondition {
      condition     = var.storage_account_resource_group == null
      error_message = "storage_account_resource_group is for a storage account that exists: leave it out, or set create_storage_account to false."
    }
  }

  depends_on = [azurerm_role_assignment.encryption]
}

# The account itself asks for the key, as this identity; the functions can't.
resource "azurerm_user_assigned_identity" "encryption" {
  count = var.create_storage_account && var.encryption_key != null ? 1 : 0

  name                = "${var.name}-encryption-${local.suffix}"
  resource_group_name = var.resource_group
  location            = local.region
  tags                = var.tags
}

resource "azurerm_role_assignment" "encryption" {
  count = length(azurerm_user_assigned_identity.encryption)

  scope                = var.encryption_key
  principal_id         = azurerm_user_assigned_identity.encryption[0].principal_id
  principal_type       = "ServicePrincipal"
  role_definition_name = "Key Vault Crypto Service Encryption User"
}

resource "azurerm_storage_container" "this" {
  # checkov:skip=CKV2_AZURE_21:Reads are logged by a diagnostic setting, at a price for each: the account's choice, not the module's.
  count = var.create_storage_account ? 1 : 0

  name                  = var.container
  storage_account_id    = azurerm_storage_account.this[0].id
  container_access_type = "private"

  lifecycle {
    prevent_destroy = true
  }
}

# A deleted object is a version until this takes it, within a day; then Azure keeps it for noncurrent_days. The other
# way round it would not do: Azure counts a version's age from when the object was written.
resource "azurerm_storage_management_policy" "this" {
  count = var.create_storage_account ? 1 : 0

  storage_account_id = azurerm_storage_account.this[0].id

  rule {
    name    = "leftovers"
    enabled = true

    filters {
      blob_types = ["blockBlob"]
    }

    actions {
      version {
        delete_after_days_since_creation = 1
      }
    }
  }
}
