mock_provider "azurerm" {
  override_during = plan

  mock_data "azurerm_client_config" {
    defaults = {
      subscription_id = "00000000-0000-0000-0000-000000000001"
      tenant_id       = "00000000-0000-0000-0000-000000000002"
    }
  }
  mock_data "azurerm_resource_group" {
    defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backups", location = "westeurope" }
  }
  mock_resource "azurerm_service_plan" {
    defaults = { id = "/plan" }
  }
  # A role is given by its name or by its id.
  mock_resource "azurerm_role_assignment" {
    defaults = { role_definition_name = "", role_definition_id = "" }
  }
}

override_resource {
  target          = azurerm_user_assigned_identity.function["backup"]
  override_during = plan
  values          = { id = "/identities/backup", principal_id = "principal-of-backup", client_id = "client-of-backup" }
}

override_resource {
  target          = azurerm_user_assigned_identity.function["restore"]
  override_during = plan
  values          = { id = "/identities/restore", principal_id = "principal-of-restore", client_id = "client-of-restore" }
}

override_resource {
  target          = azurerm_user_assigned_identity.function["retention"]
  override_during = plan
  values          = { id = "/identities/retention", principal_id = "principal-of-retention", client_id = "client-of-retention" }
}

override_resource {
  target          = azurerm_storage_account.host["backup"]
  override_during = plan
  values          = { id = "/accounts/of-backup" }
}

override_resource {
  target          = azurerm_storage_account.host["restore"]
  override_during = plan
  values          = { id = "/accounts/of-restore" }
}

override_resource {
  target          = azurerm_storage_account.host["retention"]
  override_during = plan
  values          = { id = "/accounts/of-retention" }
}

override_resource {
  target          = azurerm_application_insights.this
  override_during = plan
  values          = { id = "/insights" }
}

variables {
  package         = "tests/package.zip"
  resource_group  = "backups"
  storage_account = "acmebackups"
  prefix          = "prod"
  configuration   = "clusters: {prod: {aks: {subscription: s, resourceGroup: g, name: prod}}}"
  clusters        = ["/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/prod/providers/Microsoft.ContainerService/managedClusters/prod"]
  secrets = {
    backup  = ["/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/prod/providers/Microsoft.KeyVault/vaults/prod/secrets/blue-kubeconfig"]
    restore = ["/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/prod/providers/Microsoft.KeyVault/vaults/prod/secrets/green-kubeconfig"]
  }
  restore_application = "00000000-0000-0000-0000-00000000000a"
  restore_principals  = ["00000000-0000-0000-0000-00000000000b"]
  backup_principals   = ["00000000-0000-0000-0000-00000000000c"]
  alarm_actions       = ["/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/prod/providers/Microsoft.Insights/actionGroups/oncall"]
  clock               = ["0 0 * * * *", "0 0,30 2 1-7 * 1,5", "0 */15 * * * *"]
  schedules = {
    hourly        = { job = { kind = "backup", schedule = "hourly" }, interval_seconds = 3600 }
    daily         = { job = { kind = "backup", schedule = "daily" }, interval_seconds = 90000 }
    weekly        = { job = { kind = "backup", schedule = "weekly" }, interval_seconds = 604800 }
    verify        = { job = { kind = "verify" }, interval_seconds = 86400 }
    retention_job = { job = { kind = "retention" }, interval_seconds = 86400 }
    paused        = { job = { kind = "backup", schedule = "paused" }, interval_seconds = 21600, paused = true }
  }
}

run "what_it_makes" {
  command = plan

  assert {
    condition = { for key, right in azurerm_role_assignment.function : key => [right.scope, coalesce(right.role_definition_name, right.role_definition_id)] if right.principal_id == "principal-of-backup" } == {
      backup-create         = ["/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backups/providers/Microsoft.Storage/storageAccounts/acmebackups/blobServices/default/containers/lifeboat", "/subscriptions/00000000-0000-0000-0000-000000000001/providers/Microsoft.Authorization/roleDefinitions/${azurerm_role_definition.this["create"].role_definition_id}"]
      backup-read           = ["/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backups/providers/Microsoft.Storage/storageAccounts/acmebackups/blobServices/default/containers/lifeboat", "Storage Blob Data Reader"]
      backup-host-blobs     = ["/accounts/of-backup", "Storage Blob Data Owner"]
      backup-host-queues    = ["/accounts/of-backup", "Storage Queue Data Contributor"]
      backup-host-tables    = ["/accounts/of-backup", "Storage Table Data Contributor"]
      backup-host-telemetry = ["/insights", "Monitoring Metrics Publisher"]
      backup-secret-0       = [var.secrets.backup[0], "Key Vault Secrets User"]
      backup-cluster-0      = [var.clusters[0], "Azure Kubernetes Service Cluster User Role"]
    }
    error_message = "the backup function's rights are not those that it needs"
  }
  assert {
    condition = azurerm_role_definition.this["create"].permissions[0].data_actions == toset([
      "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action",
      "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write",
    ]) && azurerm_role_definition.this["create"].permissions[0].actions == null
    error_message = "who may create blobs may do more"
  }
  assert {
    condition     = keys(azurerm_role_definition.this) == ["create", "delete"]
    error_message = "roles are made that nobody needs"
  }
  assert {
    condition = toset([
      for right in azurerm_role_assignment.function : right.principal_id if right.role_definition_id == "/subscriptions/00000000-0000-0000-0000-000000000001/providers/Microsoft.Authorization/roleDefinitions/${azurerm_role_definition.this["delete"].role_definition_id}"
    ]) == toset(["principal-of-retention"])
    error_message = "others than retention may delete, or retention may not"
  }
  assert {
    condition = alltrue(flatten([
      for job in ["backup", "restore", "retention"] : [
        for right in azurerm_role_assignment.function : right.scope == "/accounts/of-${job}"
        if right.principal_id == "principal-of-${job}" && startswith(right.scope, "/accounts/")
      ]
    ]))
    error_message = "a function may write another one's code or queue"
  }
  assert {
    condition     = azurerm_role_assignment.function["restore-create"].condition == "((!(ActionMatches{'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action'}) AND !(ActionMatches{'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write'})) OR (@Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs:path] StringLike 'prod/restores/*' OR @Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs:path] StringLike 'prod/metadata/*' OR @Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs:path] StringLike 'prod/backups/*-before/*' OR @Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs:path] StringLike 'prod/backups/*-before-*/*'))"
    error_message = "the restore function may write elsewhere"
  }
  assert {
    condition = alltrue([
      for key, path in { "backup-create" = "prod/*", "retention-create" = "prod/metadata/*", "retention-delete" = "prod/*" } :
      endswith(azurerm_role_assignment.function[key].condition, " OR (@Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs:path] StringLike '${path}'))")
    ])
    error_message = "a function may write or delete beside the backups"
  }
  assert {
    condition     = alltrue([for right in azurerm_role_assignment.function : right.condition == null || right.condition_version == "2.0"])
    error_message = "a condition without a version is refused"
  }
  assert {
    condition = toset([for right in azurerm_role_assignment.function : right.role_definition_name if startswith(right.scope, var.clusters[0])]) == toset(["Azure Kubernetes Service Cluster User Role"]) && toset([
      for right in azurerm_role_assignment.function : right.principal_id if startswith(right.scope, var.clusters[0])
    ]) == toset(["principal-of-backup", "principal-of-restore"])
    error_message = "by Azure a function may do more with a cluster than find it"
  }
  assert {
    condition     = !strcontains(output.rbac_command, "hooks.yaml") && !strcontains(output.rbac_command, "--clusterrole lifeboat-hooks") && length(regexall(" && kubectl delete clusterrolebinding( lifeboat-(csi|csi-retention|hooks|restic|restic-retention)-[0-9a-f]{6}){5} --ignore-not-found$", output.rbac_command)) == 1
    error_message = "without hooks the backup function gets, or keeps, a right to write in the cluster"
  }
  assert {
    condition     = strcontains(output.rbac_command, "--clusterrole lifeboat-backup --user principal-of-backup ") && strcontains(output.rbac_command, "--clusterrole lifeboat-restore --user principal-of-restore ")
    error_message = "the rights in the cluster go to others than the functions"
  }
  assert {
    condition     = jsondecode(azurerm_resource_group_template_deployment.function["restore"].parameters_content).application.value.id == var.restore_application && jsondecode(azurerm_resource_group_template_deployment.function["restore"].parameters_content).application.value.principals == ["00000000-0000-0000-0000-00000000000b"]
    error_message = "others than the principals named may call the restore endpoint"
  }
  assert {
    condition = [
      for resource in jsondecode(azurerm_resource_group_template_deployment.function["restore"].template_content).resources :
      [resource.properties.globalValidation.requireAuthentication, resource.properties.globalValidation.unauthenticatedClientAction, resource.properties.platform.enabled, resource.condition]
      if resource.type == "Microsoft.Web/sites/config"
    ] == [[true, "Return401", true, "[not(empty(parameters('application').id))]"]]
    error_message = "the restore endpoint is public"
  }
  assert {
    condition = [
      for job in ["backup", "restore", "retention"] : jsondecode(azurerm_resource_group_template_deployment.function[job].parameters_content).access.value
    ] == ["Deny", "Allow", "Deny"]
    error_message = "not the restore function alone can be called"
  }
  assert {
    condition = alltrue([
      for function in azurerm_resource_group_template_deployment.function : alltrue([
        for resource in jsondecode(function.template_content).resources :
        resource.properties.siteConfig.ipSecurityRestrictionsDefaultAction == "[parameters('access')]" && resource.properties.siteConfig.minTlsVersion == "1.2" && resource.properties.httpsOnly
        if resource.type == "Microsoft.Web/sites"
      ])
    ])
    error_message = "a function lets in whom it should not, or without TLS"
  }
  assert {
    condition = alltrue([
      for function in azurerm_resource_group_template_deployment.function : toset([
        for resource in jsondecode(function.template_content).resources : resource.name if try(resource.properties.allow, true) == false
      ]) == toset(["[format('{0}/scm', parameters('name'))]", "[format('{0}/ftp', parameters('name'))]"])
    ])
    error_message = "code can come in by a password"
  }
  assert {
    condition = alltrue([
      for job in ["backup", "restore", "retention"] : alltrue([
        for name, value in {
          AzureWebJobsStorage__accountName = azurerm_storage_account.host[job].name
          AzureWebJobsStorage__clientId    = "client-of-${job}"
          AZURE_CLIENT_ID                  = "client-of-${job}"
          LIFEBOAT_LOCATION                = "azblob://lifeboat/prod?account=acmebackups"
          LIFEBOAT_CONFIG                  = "env:CONFIGURATION"
          LIFEBOAT_QUEUE                   = azurerm_storage_queue.jobs[job].name
          LIFEBOAT_CLOCK                   = "0 0 * * * *;0 0,30 2 1-7 * 1,5;0 */15 * * * *"
          LIFEBOAT_CLOCK_JOBS              = { backup = "backup,verify", restore = "none", retention = "retention" }[job]
        } : contains(jsondecode(azurerm_resource_group_template_deployment.function[job].parameters_content).settings.value, { name = name, value = value })
      ])
    ])
    error_message = "a function's settings are not its own"
  }
  assert {
    condition = alltrue([
      for function in azurerm_resource_group_template_deployment.function : !contains(
        [for setting in jsondecode(function.parameters_content).settings.value : setting.name], "AzureWebJobsStorage"
      ) && !strcontains(function.parameters_content, "AccountKey")
    ])
    error_message = "the host would take a key in place of its identity"
  }
  assert {
    condition = alltrue([
      for job in ["backup", "retention"] :
      azurerm_storage_queue.dead_letters[job].name == "${azurerm_storage_queue.jobs[job].name}-poison" && azurerm_storage_queue.dead_letters[job].storage_account_id == azurerm_storage_queue.jobs[job].storage_account_id
    ])
    error_message = "a schedule has no target for dead letters"
  }
  assert {
    condition     = alltrue([for function in azurerm_resource_group_template_deployment.function : contains(jsondecode(function.parameters_content).settings.value, { name = "AzureFunctionsJobHost__extensions__queues__maxDequeueCount", value = "3" })])
    error_message = "a job is not tried three times"
  }
  assert {
    condition = alltrue([
      for job, alarm in azurerm_monitor_scheduled_query_rules_alert_v2.dead_letters :
      strcontains(alarm.criteria[0].query, "\"${azurerm_storage_account.host[job].name}\"") && strcontains(alarm.criteria[0].query, "\"/${azurerm_storage_queue.dead_letters[job].name}/\"") && azurerm_monitor_diagnostic_setting.queue[job].target_resource_id == "/accounts/of-${job}/queueServices/default"
    ]) && length(azurerm_monitor_scheduled_query_rules_alert_v2.dead_letters) == 3
    error_message = "dead letters are no alarm"
  }
  assert {
    condition = alltrue([for account in concat(values(azurerm_storage_account.host), azurerm_storage_account.this) :
      !account.shared_access_key_enabled && !account.allow_nested_items_to_be_public && account.https_traffic_only_enabled && account.min_tls_version == "TLS1_2"
    ])
    error_message = "a storage account can be read by a key, by everybody, or without TLS"
  }
  assert {
    condition     = azurerm_storage_account.this[0].blob_properties[0].versioning_enabled && azurerm_storage_account.this[0].blob_properties[0].delete_retention_policy[0].days == 30
    error_message = "what is deleted or overwritten is not kept"
  }
  assert {
    condition     = azurerm_storage_container.this[0].container_access_type == "private" && alltrue([for container in azurerm_storage_container.code : container.container_access_type == "private"])
    error_message = "a container is public"
  }
  assert {
    condition     = length(azurerm_storage_account.this[0].immutability_policy) == 0
    error_message = "objects are held though nobody asked for it"
  }
  assert {
    condition     = keys(azurerm_monitor_scheduled_query_rules_alert_v2.no_good_backup) == ["daily", "hourly"] && output.schedules_without_alarm == ["weekly"]
    error_message = "not the schedules that a log search can watch"
  }
  assert {
    condition = (
      azurerm_monitor_scheduled_query_rules_alert_v2.no_good_backup["hourly"].window_duration == "PT2H" &&
      azurerm_monitor_scheduled_query_rules_alert_v2.no_good_backup["daily"].window_duration == "P2D" &&
      azurerm_monitor_scheduled_query_rules_alert_v2.no_good_backup["hourly"].criteria[0].operator == "LessThan" &&
      azurerm_monitor_scheduled_query_rules_alert_v2.no_good_backup["hourly"].criteria[0].threshold == 1
    )
    error_message = "silence is no alarm after twice the interval"
  }
  assert {
    condition     = strcontains(azurerm_monitor_scheduled_query_rules_alert_v2.no_good_backup["hourly"].criteria[0].query, "Message contains \"job=backup schedule=hourly phase=Completed\"")
    error_message = "the alarm does not look for what the function logs"
  }
  assert {
    condition = alltrue([
      for alarm in concat(values(azurerm_monitor_scheduled_query_rules_alert_v2.failed), values(azurerm_monitor_scheduled_query_rules_alert_v2.no_good_backup), values(azurerm_monitor_scheduled_query_rules_alert_v2.dead_letters)) :
      alarm.action[0].action_groups == var.alarm_actions
    ])
    error_message = "an alarm tells nobody"
  }
  assert {
    condition     = azurerm_log_analytics_workspace.this.retention_in_days == 365 && !azurerm_log_analytics_workspace.this.local_authentication_enabled && azurerm_application_insights.this.local_authentication_disabled
    error_message = "logs are not kept, or can be written by a key"
  }
  assert {
    condition     = toset(keys(azurerm_role_assignment.backup_caller)) == toset(var.backup_principals) && azurerm_role_assignment.backup_caller[var.backup_principals[0]].scope == "/accounts/of-backup/queueServices/default/queues/lifeboat-jobs" && azurerm_role_assignment.backup_caller[var.backup_principals[0]].role_definition_name == "Storage Queue Data Message Sender"
    error_message = "who may ask for backups may do more, or others may"
  }
  assert {
    condition     = toset(keys(azurerm_role_assignment.restore_caller)) == toset(var.restore_principals) && endswith(azurerm_role_assignment.restore_caller[var.restore_principals[0]].scope, "/Microsoft.Web/sites/${output.function_names.restore}") && azurerm_role_definition.restore_caller[0].permissions[0].actions == tolist(["Microsoft.Web/sites/read", "Microsoft.Web/sites/functions/read", "Microsoft.Web/sites/functions/listkeys/action"])
    error_message = "who may restore may do more with the function than call it"
  }
  assert {
    condition     = length(regexall("--src '${abspath(var.package)}'", output.deploy_command)) == 3
    error_message = "a function gets another zip than the one given"
  }
  assert {
    condition     = base64decode(regex("--content ([^ ]+)", output.backup_command)[0]) == "{\"kind\": \"backup\"}"
    error_message = "the command asks for no backup"
  }
  assert {
    condition     = base64decode(regex("--content ([^ ]+)", output.check_command)[0]) == "{\"kind\": \"check\"}"
    error_message = "the command asks for no check"
  }
}

run "every_setting_but_hooks_leaves_the_cluster_alone" {
  command = plan

  variables {
    retain               = true
    immutability         = true
    encryption_key       = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/prod/providers/Microsoft.KeyVault/vaults/prod/keys/backups"
    prefix               = ""
    subnet               = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/prod/providers/Microsoft.Network/virtualNetworks/prod/subnets/lifeboat"
    configuration        = null
    configuration_secret = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/prod/providers/Microsoft.KeyVault/vaults/prod/secrets/lifeboat"
  }

  assert {
    condition     = [for right in azurerm_role_assignment.function : right.role_definition_name if right.principal_id == "principal-of-backup" && startswith(right.scope, var.clusters[0])] == ["Azure Kubernetes Service Cluster User Role"] && !strcontains(output.rbac_command, "--clusterrole lifeboat-hooks")
    error_message = "without hooks the backup function can write in the cluster"
  }
  assert {
    condition = toset([for key, right in azurerm_role_assignment.function : key if right.principal_id == "principal-of-backup" && right.role_definition_name == ""]) == toset(["backup-create", "backup-hold"]) && alltrue([
      for right in ["create", "hold"] : alltrue([for action in azurerm_role_definition.this[right].permissions[0].data_actions : !strcontains(lower(action), "delete") && !strcontains(action, "*")])
    ])
    error_message = "a setting lets the backup function delete"
  }
  assert {
    condition     = [for key, right in azurerm_role_assignment.function : key if strcontains(right.role_definition_id, azurerm_role_definition.this["hold"].role_definition_id)] == ["backup-hold"]
    error_message = "retain adds no right to hold objects, or adds it to others"
  }
  assert {
    condition     = azurerm_storage_account.this[0].immutability_policy[0].state == "Disabled"
    error_message = "immutability holds what nobody asked to hold"
  }
  assert {
    condition     = azurerm_storage_account.this[0].customer_managed_key[0].key_vault_key_id == "https://prod.vault.azure.net/keys/backups" && azurerm_role_assignment.encryption[0].scope == var.encryption_key && azurerm_role_assignment.encryption[0].role_definition_name == "Key Vault Crypto Service Encryption User"
    error_message = "the storage account is encrypted by another key, or can't use it"
  }
  assert {
    condition     = azurerm_role_assignment.function["backup-create"].condition == null && strcontains(azurerm_role_assignment.function["restore-create"].condition, "StringLike 'restores/*'")
    error_message = "without a prefix the paths are others"
  }
  assert {
    condition     = alltrue([for function in azurerm_resource_group_template_deployment.function : jsondecode(function.parameters_content).subnet.value == var.subnet])
    error_message = "a function is outside of the network"
  }
  assert {
    condition = alltrue([
      for function in azurerm_resource_group_template_deployment.function :
      contains(jsondecode(function.parameters_content).settings.value, { name = "LIFEBOAT_CONFIG", value = "azure-kv://prod/lifeboat" })
    ]) && length([for right in azurerm_role_assignment.function : right if right.scope == var.configuration_secret]) == 3
    error_message = "the configuration's secret is not handed over as a reference that each function can read"
  }
}

run "volumes_by_disks" {
  command = plan

  variables {
    volumes              = ["disks"]
    disk_resource_groups = ["MC_prod"]
  }

  assert {
    condition = {
      for key, right in azurerm_role_assignment.function : key => [right.principal_id, trimprefix(right.scope, "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/")]
      if length(regexall("disks|snapshots", key)) > 0
      } == {
      backup-read-disks-0          = ["principal-of-backup", "MC_prod"]
      backup-make-snapshots-0      = ["principal-of-backup", "backups"]
      restore-make-disks-0         = ["principal-of-restore", "MC_prod"]
      restore-read-snapshots-0     = ["principal-of-restore", "backups"]
      restore-read-snapshots-1     = ["principal-of-restore", "MC_prod"]
      retention-delete-snapshots-0 = ["principal-of-retention", "backups"]
    }
    error_message = "the rights on disks go to others than those that need them"
  }
  assert {
    condition = alltrue([for key, right in azurerm_role_assignment.function :
      endswith(right.role_definition_id, azurerm_role_definition.this[regex("(?:read|make|delete)-(?:disks|snapshots)", key)].role_definition_id) if length(regexall("disks|snapshots", key)) > 0
    ])
    error_message = "a right on disks is another than its name says"
  }
  assert {
    condition = { for right, role in azurerm_role_definition.this : right => [for action in role.permissions[0].actions : action if length(regexall("/(write|delete)$", action)) > 0] if role.permissions[0].actions != null } == {
      read-disks       = []
      make-snapshots   = ["Microsoft.Compute/snapshots/write"]
      make-disks       = ["Microsoft.Compute/disks/write", "Microsoft.Compute/disks/delete"]
      read-snapshots   = []
      delete-snapshots = ["Microsoft.Compute/snapshots/delete"]
    }
    error_message = "a function may change or delete other things than it needs to"
  }
  assert {
    condition     = contains(azurerm_role_definition.this["read-disks"].assignable_scopes, "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/MC_prod") && !contains(azurerm_role_definition.this["delete"].assignable_scopes, "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/MC_prod")
    error_message = "a role can't be given where the disks are, or can be where it has no business"
  }
  assert {
    condition     = alltrue([for function in azurerm_resource_group_template_deployment.function : contains(jsondecode(function.parameters_content).settings.value, { name = "LIFEBOAT_AZURE_SNAPSHOT_GROUP", value = "backups" })])
    error_message = "snapshots go where the cluster's end is theirs"
  }
  assert {
    condition     = !strcontains(split(" && kubectl delete", output.rbac_command)[0], "lifeboat-csi") && length(azurerm_role_assignment.restic) == 0
    error_message = "snapshots of disks, which the cloud makes, need a right in the cluster"
  }
}

run "volumes_by_the_cluster" {
  command = plan

  variables {
    volumes           = ["csi", "restic"]
    restic_principals = ["00000000-0000-0000-0000-00000000000d"]
  }

  assert {
    condition     = length([for key, right in azurerm_role_assignment.function : key if length(regexall("disks|snapshots", key)) > 0]) == 0 && keys(azurerm_role_definition.this) == ["create", "delete", "restic"]
    error_message = "copies that the cluster makes need a right on disks"
  }
  assert {
    condition = alltrue([for rights in ["csi", "restic"] : alltrue([for job in ["backup", "retention"] :
      strcontains(output.rbac_command, "-f infra/kubernetes/${rights}.yaml") && strcontains(output.rbac_command, "--clusterrole lifeboat-${rights} --user principal-of-${job} ")
    ])]) && length(regexall(" && kubectl delete clusterrolebinding lifeboat-hooks-[0-9a-f]{6} --ignore-not-found$", output.rbac_command)) == 1
    error_message = "the functions don't get the rights by which copies are made and deleted, or others with them"
  }
  assert {
    condition     = azurerm_role_assignment.function["retention-cluster-0"].scope == var.clusters[0]
    error_message = "retention can't find the cluster that deletes copies"
  }
  assert {
    condition     = azurerm_role_assignment.restic[var.restic_principals[0]].condition == "((!(ActionMatches{'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read'} AND NOT SubOperationMatches{'Blob.List'}) AND !(ActionMatches{'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action'}) AND !(ActionMatches{'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write'}) AND !(ActionMatches{'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete'})) OR (@Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs:path] StringLike 'prod/restic/*'))"
    error_message = "restic's Jobs may read or write backups"
  }
}

run "rights_of_restic_that_nobody_asked_for" {
  command = plan

  variables {
    volumes           = ["csi"]
    restic_principals = ["00000000-0000-0000-0000-00000000000d"]
  }

  assert {
    condition     = length(azurerm_role_assignment.restic) == 0
    error_message = "restic gets rights though no volume is copied by it"
  }
}

run "a_way_of_copying_that_is_none_by_everybody" {
  command = plan
  variables {
    volumes           = ["kopia"]
    restic_principals = ["*"]
  }
  expect_failures = [var.volumes, var.restic_principals]
}

run "disks_that_are_nowhere" {
  command = plan
  variables {
    volumes = ["disks"]
  }
  expect_failures = [azurerm_resource_group_template_deployment.function]
}

run "hooks" {
  command = plan

  variables {
    hooks = true
  }

  assert {
    condition     = strcontains(output.rbac_command, "-f infra/kubernetes/hooks.yaml") && strcontains(output.rbac_command, "--clusterrole lifeboat-hooks --user principal-of-backup ") && !strcontains(split("kubectl delete", output.rbac_command)[1], "hooks")
    error_message = "hooks adds no right"
  }
}

run "nobody_may_restore" {
  command = plan

  variables {
    restore_application = null
    restore_principals  = []
  }

  assert {
    condition     = alltrue([for function in azurerm_resource_group_template_deployment.function : jsondecode(function.parameters_content).access.value == "Deny"])
    error_message = "the restore endpoint is open though nobody is named"
  }
}

run "existing_storage_account" {
  command = plan

  variables {
    create_storage_account         = false
    storage_account_resource_group = "storage"
    encryption_key                 = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/prod/providers/Microsoft.KeyVault/vaults/prod/keys/backups"
  }

  assert {
    condition     = length(azurerm_role_assignment.encryption) + length(azurerm_storage_account.this) + length(azurerm_storage_container.this) + length(azurerm_storage_management_policy.this) == 0
    error_message = "an existing storage account is touched"
  }
  assert {
    condition     = startswith(azurerm_role_assignment.function["backup-create"].scope, "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/storage/providers/Microsoft.Storage/storageAccounts/acmebackups/")
    error_message = "the rights are on another account"
  }
  assert {
    condition     = contains(azurerm_role_definition.this["create"].assignable_scopes, "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/storage")
    error_message = "the role can't be given where the account is"
  }
}

run "no_clock" {
  command = plan

  variables {
    clock     = []
    schedules = {}
  }

  assert {
    condition     = alltrue([for function in azurerm_resource_group_template_deployment.function : contains(jsondecode(function.parameters_content).settings.value, { name = "LIFEBOAT_CLOCK_JOBS", value = "none" })])
    error_message = "a function without a clock looks at schedules"
  }
}

run "a_line_of_crontab" {
  command = plan
  variables {
    clock = ["0 * * * *"]
  }
  expect_failures = [var.clock]
}

run "a_weekday_that_azure_does_not_know" {
  command = plan
  variables {
    clock = ["0 0 2 * * 7"]
  }
  expect_failures = [var.clock]
}

run "a_minute_that_never_comes" {
  command = plan
  variables {
    clock = ["0 60 * * * *"]
  }
  expect_failures = [var.clock]
}

run "an_interval_of_a_second" {
  command = plan
  variables {
    schedules = { hourly = { job = { kind = "backup", schedule = "hourly" }, interval_seconds = 1 } }
  }
  expect_failures = [var.schedules]
}

run "a_schedule_of_restores" {
  command = plan
  variables {
    schedules = { hourly = { job = { kind = "restore" }, interval_seconds = 3600 } }
  }
  expect_failures = [var.schedules]
}

run "schedules_without_a_clock" {
  command = plan
  variables {
    clock = []
  }
  expect_failures = [azurerm_resource_group_template_deployment.function]
}

run "names_that_are_none_and_rights_on_everything" {
  command = plan
  variables {
    name               = "My Lifeboat"
    storage_account    = "acme-backups"
    container          = "Backups"
    secrets            = { backup = ["/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/prod/providers/Microsoft.KeyVault/vaults/prod"] }
    clusters           = ["prod"]
    restore_principals = ["*"]
    backup_principals  = ["operator"]
    package            = "tests/no-such.zip"
    subnet             = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/prod/providers/Microsoft.Network/virtualNetworks/prod/subnets/a_b"
    encryption_key     = "backups"
  }
  expect_failures = [
    var.name, var.storage_account, var.container, var.secrets, var.clusters, var.restore_principals, var.backup_principals, var.package, var.subnet,
    var.encryption_key,
  ]
}

run "no_configuration" {
  command = plan
  variables {
    configuration = null
  }
  expect_failures = [azurerm_resource_group_template_deployment.function]
}

run "principals_without_an_application" {
  command = plan
  variables {
    restore_application = null
  }
  expect_failures = [azurerm_resource_group_template_deployment.function]
}

run "a_resource_group_of_an_account_that_is_made" {
  command = plan
  variables {
    storage_account_resource_group = "storage"
  }
  expect_failures = [azurerm_storage_account.this]
}

run "a_fleet" {
  command = plan
  variables {
    fleet    = true
    clusters = ["/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/edge"]
  }
  assert {
    condition     = strcontains(azurerm_role_assignment.function["retention-create"].condition, "StringLike 'prod/metadata/*'") && strcontains(azurerm_role_assignment.function["retention-create"].condition, "StringLike 'prod/*/metadata/*'")
    error_message = "retention can't write in each cluster's folder"
  }
  assert {
    condition     = strcontains(azurerm_role_assignment.function["restore-create"].condition, "StringLike 'prod/*/restores/*'")
    error_message = "restores can't be stored in each cluster's folder"
  }
  assert {
    condition = { for key, assignment in azurerm_role_assignment.function : key => assignment.scope if strcontains(assignment.role_definition_id, azurerm_role_definition.this["find-clusters"].role_definition_id) } == {
      for job in ["backup", "restore", "retention"] : "${job}-find-clusters" => "/subscriptions/00000000-0000-0000-0000-000000000001"
    }
    error_message = "a function can't discover the clusters of the subscription"
  }
  assert {
    condition = (
      azurerm_role_definition.this["find-clusters"].permissions[0].actions == tolist(["Microsoft.ContainerService/managedClusters/read"]) &&
      contains(azurerm_role_definition.this["find-clusters"].assignable_scopes, "/subscriptions/00000000-0000-0000-0000-000000000001")
    )
    error_message = "who discovers clusters may do more, or can't be given the role on the subscription"
  }
  assert {
    condition = { for key, assignment in azurerm_role_assignment.function : key => assignment.scope if assignment.role_definition_name == "Azure Kubernetes Service Cluster User Role" } == {
      for job in ["backup", "restore"] : "${job}-cluster-0" => var.clusters[0]
    }
    error_message = "credentials of other clusters than those named can be asked for"
  }
}
