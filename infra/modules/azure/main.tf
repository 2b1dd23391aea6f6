data "azurerm_client_config" "current" {}

data "azurerm_resource_group" "this" {
  name = var.resource_group
}

locals {
  group    = data.azurerm_resource_group.this.id
  region   = data.azurerm_resource_group.this.location
  jobs     = toset(["backup", "restore", "retention"])
  suffix   = substr(sha256("${local.group}/${var.name}"), 0, 6)
  location = "azblob://${var.container}${var.prefix == "" ? "" : "/${var.prefix}"}?account=${var.storage_account}"

  # Names of function apps and of storage accounts are taken all over Azure.
  function_names = { for job in local.jobs : job => "${var.name}-${job}-${local.suffix}" }
  host_accounts  = { for job in local.jobs : job => "${substr(replace(var.name, "-", ""), 0, 9)}${job}${local.suffix}" }

  queue        = "lifeboat-jobs"
  dead_letters = "${local.queue}-poison"

  clock_jobs = { backup = "backup,verify", restore = "none", retention = "retention" }

  # In an id: /subscriptions/S/resourceGroups/G/providers/Microsoft.KeyVault/vaults/VAULT/secrets/NAME.
  configuration_parts = var.configuration_secret == null ? [] : split("/", var.configuration_secret)

  common_settings = merge(
    {
      AzureWebJobsStorage__credential                            = "managedidentity"
      AzureFunctionsJobHost__extensions__queues__maxDequeueCount = tostring(var.retries + 1)
      LIFEBOAT_LOCATION                                          = local.location
      LIFEBOAT_QUEUE                                             = local.queue
    },
    # Beside the disks they would go with the cluster.
    contains(var.volumes, "disks") ? { LIFEBOAT_AZURE_SNAPSHOT_GROUP = var.resource_group } : {},
    var.configuration == null ? {} : { LIFEBOAT_CONFIG = "env:CONFIGURATION", CONFIGURATION = var.configuration },
    length(local.configuration_parts) != 11 ? {} : {
      LIFEBOAT_CONFIG = "azure-kv://${local.configuration_parts[8]}/${local.configuration_parts[10]}"
    },
  )

  settings = { for job in local.jobs : job => merge(local.common_settings, {
    AzureWebJobsStorage__accountName          = local.host_accounts[job]
    AzureWebJobsStorage__clientId             = azurerm_user_assigned_identity.function[job].client_id
    AZURE_CLIENT_ID                           = azurerm_user_assigned_identity.function[job].client_id
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING = "ClientId=${azurerm_user_assigned_identity.function[job].client_id};Authorization=AAD"
    LIFEBOAT_CLOCK                            = join(";", var.clock)
    LIFEBOAT_CLOCK_JOBS                       = length(var.clock) == 0 ? "none" : local.clock_jobs[job]
  }) }

  # Who may call it is asked by App Service, before the key is: without that, nobody gets as far as the door.
  open = { for job in local.jobs : job => job == "restore" && var.restore_application != null }
}

resource "azurerm_log_analytics_workspace" "this" {
  name                         = "${var.name}-${local.suffix}"
  resource_group_name          = var.resource_group
  location                     = local.region
  retention_in_days            = var.log_retention_days
  local_authentication_enabled = false
  tags                         = var.tags
}

resource "azurerm_application_insights" "this" {
  name                          = "${var.name}-${local.suffix}"
  resource_group_name           = var.resource_group
  location                      = local.region
  workspace_id                  = azurerm_log_analytics_workspace.this.id
  application_type              = "Node.JS"
  sampling_percentage           = 100
  local_authentication_disabled = true
  tags                          = var.tags
}

# What the Functions host needs for itself: its code, its keys, the jobs. One for each function, since who writes
# the code of another acts as that one.
resource "azurerm_storage_account" "host" {
  # checkov:skip=CKV_AZURE_33:A diagnostic setting (alarms.tf) logs what is put into the queues, in place of the classic log.
  # checkov:skip=CKV_AZURE_59:Without a subnet the function reaches it only so, and code is deployed from anywhere; Entra ID alone lets in, no key, nobody anonymous.
  # checkov:skip=CKV_AZURE_206:What lies there is deployed anew in any region; nothing of a backup.
  # checkov:skip=CKV2_AZURE_1:No backup lies there, and a key in a vault would be one more thing on which a restore depends.
  # checkov:skip=CKV2_AZURE_33:A private endpoint needs a network, which a function without subnet doesn't have; Entra ID alone lets in.
  # checkov:skip=CKV2_AZURE_38:The host writes the state of its clocks all the time, and each former one would be kept; what lies there is deployed anew.
  for_each = local.jobs

  name                            = local.host_accounts[each.key]
  resource_group_name             = var.resource_group
  location                        = local.region
  account_tier                    = "Standard"
  account_replication_type        = "LRS"
  min_tls_version                 = "TLS1_2"
  https_traffic_only_enabled      = true
  shared_access_key_enabled       = false
  default_to_oauth_authentication = true
  local_user_enabled              = false
  allow_nested_items_to_be_public = false
  tags                            = var.tags
}

resource "azurerm_storage_container" "code" {
  # checkov:skip=CKV2_AZURE_21:It holds nothing but the zip that `npm run build` makes, which is no secret.
  for_each = local.jobs

  name                  = "code"
  storage_account_id    = azurerm_storage_account.host[each.key].id
  container_access_type = "private"
}

resource "azurerm_storage_queue" "jobs" {
  for_each = local.jobs

  name               = local.queue
  storage_account_id = azurerm_storage_account.host[each.key].id
}

# The host puts here what has failed as often as it may: the name is the host's own rule.
resource "azurerm_storage_queue" "dead_letters" {
  for_each = local.jobs

  name               = local.dead_letters
  storage_account_id = azurerm_storage_account.host[each.key].id
}

# A plan of Flex Consumption has one app.
resource "azurerm_service_plan" "function" {
  # checkov:skip=CKV_AZURE_212:Flex Consumption starts instances as jobs come; there is no number of them to set.
  # checkov:skip=CKV_AZURE_225:Not every region has zones for it; a job that ends with its zone is repeated.
  for_each = local.jobs

  name                = local.function_names[each.key]
  resource_group_name = var.resource_group
  location            = local.region
  os_type             = "Linux"
  sku_name            = "FC1"
  tags                = var.tags
}

# By a template, since azurerm_function_app_flex_consumption adds a connection string without a key, which the host
# prefers to the identity: https://github.com/hashicorp/terraform-provider-azurerm/issues/29693.
resource "azurerm_resource_group_template_deployment" "function" {
  for_each = local.jobs

  name                = local.function_names[each.key]
  resource_group_name = var.resource_group
  deployment_mode     = "Incremental"
  template_content    = jsonencode(local.function_template)
  parameters_content = jsonencode({ for name, value in {
    name     = local.function_names[each.key]
    location = local.region
    tags     = var.tags
    plan     = azurerm_service_plan.function[each.key].id
    identity = azurerm_user_assigned_identity.function[each.key].id
    code     = "https://${local.host_accounts[each.key]}.blob.core.windows.net/code"
    memory   = var.memory_size
    subnet   = var.subnet == null ? "" : var.subnet
    insights = azurerm_application_insights.this.id
    settings = [for name, value in local.settings[each.key] : { name = name, value = value }]
    access   = local.open[each.key] ? "Allow" : "Deny"
    application = local.open[each.key] ? {
      id         = var.restore_application
      issuer     = "https://login.microsoftonline.com/${data.azurerm_client_config.current.tenant_id}/v2.0"
      principals = var.restore_principals
      } : {
      id         = ""
      issuer     = ""
      principals = []
    }
  } : name => { value = value } })
  tags = var.tags

  lifecycle {
    precondition {
      condition     = (var.configuration == null) != (var.configuration_secret == null)
      error_message = "Give either configuration, the text of lifeboat.yaml, or configuration_secret, the id of a Key Vault secret that holds it."
    }
    precondition {
      condition     = length(var.schedules) == 0 || length(var.clock) > 0
      error_message = "Give clock beside schedules: without it nothing looks at them. `lifeboat schedule render --target azure` prints both."
    }
    precondition {
      condition     = !contains(var.volumes, "disks") || length(var.disk_resource_groups) > 0
      error_message = "volumes has disks: say by disk_resource_groups where they are."
    }
    precondition {
      condition     = (var.restore_application == null) == (length(var.restore_principals) == 0)
      error_message = "Give restore_application and restore_principals together: who may restore, and the application by which Entra ID lets them in."
    }
  }

  depends_on = [azurerm_role_assignment.function, azurerm_storage_container.code, azurerm_storage_queue.jobs]
}
