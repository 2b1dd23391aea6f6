locals {
  blobs  = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
  folder = var.prefix == "" ? "" : "${var.prefix}/"
  # Where locations are: of a fleet each cluster's lies below it.
  folders = concat([local.folder], var.fleet ? ["${local.folder}*/"] : [])

  # `add` makes new blobs; those of several blocks, above 8 MiB, need `write`.
  actions = merge(
    {
      create = ["${local.blobs}/add/action", "${local.blobs}/write"]
      delete = ["${local.blobs}/delete"]
    },
    var.retain ? { hold = ["${local.blobs}/immutableStorage/runAsSuperUser/action"] } : {},
    contains(var.volumes, "restic") ? { restic = ["${local.blobs}/read", "${local.blobs}/add/action", "${local.blobs}/write", "${local.blobs}/delete"] } : {},
  )

  # Azure lets who snapshots a disk read all of it, too.
  disks        = "Microsoft.Compute/disks"
  snapshots    = "Microsoft.Compute/snapshots"
  subscription = "/subscriptions/${data.azurerm_client_config.current.subscription_id}"
  disk_groups  = [for name in var.disk_resource_groups : "/subscriptions/${data.azurerm_client_config.current.subscription_id}/resourceGroups/${name}"]
  disk_rights = { for right, given in {
    read-disks       = { job = "backup", scopes = local.disk_groups, actions = ["${local.disks}/read", "${local.disks}/beginGetAccess/action", "Microsoft.Compute/diskEncryptionSets/read"] }
    make-snapshots   = { job = "backup", scopes = [local.group], actions = ["${local.snapshots}/read", "${local.snapshots}/write"] }
    make-disks       = { job = "restore", scopes = local.disk_groups, actions = ["${local.disks}/read", "${local.disks}/write", "${local.disks}/delete", "Microsoft.Compute/diskEncryptionSets/read"] }
    read-snapshots   = { job = "restore", scopes = concat([local.group], local.disk_groups), actions = ["${local.snapshots}/read", "${local.snapshots}/beginGetAccess/action"] }
    delete-snapshots = { job = "retention", scopes = [local.group], actions = ["${local.snapshots}/read", "${local.snapshots}/delete"] }
  } : right => given if contains(var.volumes, "disks") }

  # A fleet's clusters, which every function's jobs ask for: that they are there, and their tags.
  fleet_rights = var.fleet ? { find-clusters = ["Microsoft.ContainerService/managedClusters/read"] } : {}

  # Where a container is asked for, to make a repository in it.
  control_actions = merge(
    { for right, given in local.disk_rights : right => given.actions },
    local.fleet_rights,
    contains(var.volumes, "restic") ? { restic = ["Microsoft.Storage/storageAccounts/blobServices/containers/read"] } : {},
  )
  own_roles = setunion(keys(local.actions), keys(local.control_actions))

  # Paths of the container; where there are none, all of it.
  all = var.prefix == "" ? [] : ["${local.folder}*"]
  container_rights = {
    backup = merge({ create = local.all }, var.retain ? { hold = local.all } : {})
    # Its record and report; locks, requests and notes; and the backup NAME-before (NAME-before-2, …) of what it touches.
    restore = { create = flatten([for folder in local.folders : [
      for path in ["restores/*", "metadata/*", "backups/*-before/*", "backups/*-before-*/*"] : "${folder}${path}"
    ]]) }
    retention = {
      create = [for folder in local.folders : "${folder}metadata/*"]
      delete = local.all
    }
  }

  # Roles that the module defines have ids of its own making, so that a plan shows them.
  role_guids = { for right in local.own_roles : right => uuidv5("url", "lifeboat:${local.group}:${var.name}:${right}") }
  role_ids = {
    for right, guid in local.role_guids : right => "/subscriptions/${data.azurerm_client_config.current.subscription_id}/providers/Microsoft.Authorization/roleDefinitions/${guid}"
  }

  container_assignments = merge([for job, rights in local.container_rights : { for right, paths in rights : "${job}-${right}" => {
    job   = job
    scope = local.container_id
    role  = null
    id    = local.role_ids[right]
    condition = length(paths) == 0 ? null : format(
      "((%s) OR (%s))",
      join(" AND ", [for action in local.actions[right] : "!(ActionMatches{'${action}'})"]),
      join(" OR ", [for path in paths : "@Resource[${local.blobs}:path] StringLike '${path}'"]),
    )
  } }]...)

  disk_assignments = merge([for right, given in local.disk_rights : { for index, scope in given.scopes : "${given.job}-${right}-${index}" => {
    job       = given.job
    scope     = scope
    role      = null
    id        = local.role_ids[right]
    condition = null
  } }]...)

  fleet_assignments = merge([for right, actions in local.fleet_rights : { for job in local.jobs : "${job}-${right}" => {
    job       = job
    scope     = local.subscription
    role      = null
    id        = local.role_ids[right]
    condition = null
  } }]...)

  # What a driver or restic has stored, only a cluster can delete.
  copying = [for method in ["csi", "restic"] : method if contains(var.volumes, method)]

  secret_ids = { for job in local.jobs : job => distinct(concat(
    var.secrets[job],
    var.configuration_secret == null ? [] : [var.configuration_secret],
  )) }

  # By names of Azure's own roles: what they are given on.
  built_in = { for job in local.jobs : job => merge(
    {
      read           = { role = "Storage Blob Data Reader", scope = local.container_id }
      host-blobs     = { role = "Storage Blob Data Owner", scope = azurerm_storage_account.host[job].id }
      host-queues    = { role = "Storage Queue Data Contributor", scope = azurerm_storage_account.host[job].id }
      host-tables    = { role = "Storage Table Data Contributor", scope = azurerm_storage_account.host[job].id }
      host-telemetry = { role = "Monitoring Metrics Publisher", scope = azurerm_application_insights.this.id }
    },
    { for index, id in local.secret_ids[job] : "secret-${index}" => { role = "Key Vault Secrets User", scope = id } },
    # Where the cluster is, and that it is known there: what it may do in it is the cluster's own to say. One without Entra ID
    # gives an administrator's credentials to whom has this role, so that it is on nothing that was not named.
    { for index, id in job == "retention" && length(local.copying) == 0 ? [] : var.clusters : "cluster-${index}" => {
      role = "Azure Kubernetes Service Cluster User Role", scope = id
    } },
  ) }

  built_in_assignments = merge([for job, rights in local.built_in : { for right, given in rights : "${job}-${right}" => {
    job       = job
    scope     = given.scope
    role      = given.role
    id        = null
    condition = null
  } }]...)
}

resource "azurerm_user_assigned_identity" "function" {
  for_each = local.jobs

  name                = local.function_names[each.key]
  resource_group_name = var.resource_group
  location            = local.region
  tags                = var.tags
}

resource "azurerm_role_definition" "this" {
  for_each = local.own_roles

  name               = "${var.name}-${each.key}-${local.suffix}"
  role_definition_id = local.role_guids[each.key]
  scope              = local.group
  description        = "Lifeboat: ${contains(keys(local.actions), each.key) ? "${each.key} blobs" : each.key}"
  assignable_scopes  = distinct(concat([local.group, local.account_group], contains(keys(local.disk_rights), each.key) ? local.disk_groups : [], contains(keys(local.fleet_rights), each.key) ? [local.subscription] : []))

  permissions {
    actions      = lookup(local.control_actions, each.key, null)
    data_actions = lookup(local.actions, each.key, null)
  }
}

resource "azurerm_role_assignment" "function" {
  for_each = merge(local.container_assignments, local.disk_assignments, local.fleet_assignments, local.built_in_assignments)

  scope                = each.value.scope
  principal_id         = azurerm_user_assigned_identity.function[each.value.job].principal_id
  principal_type       = "ServicePrincipal"
  role_definition_name = each.value.role
  role_definition_id   = each.value.id
  condition            = each.value.condition
  condition_version    = each.value.condition == null ? null : "2.0"

  depends_on = [azurerm_role_definition.this, azurerm_storage_container.this]
}

# A listing has no path that a condition could look at: it tells names alone.
resource "azurerm_role_assignment" "restic" {
  for_each = toset(contains(var.volumes, "restic") ? var.restic_principals : [])

  scope              = local.container_id
  principal_id       = each.value
  role_definition_id = local.role_ids["restic"]
  condition = format(
    "((%s) OR (@Resource[${local.blobs}:path] StringLike '${local.folder}restic/*'))",
    join(" AND ", concat(
      ["!(ActionMatches{'${local.blobs}/read'} AND NOT SubOperationMatches{'Blob.List'})"],
      [for action in ["add/action", "write", "delete"] : "!(ActionMatches{'${local.blobs}/${action}'})"],
    )),
  )
  condition_version = "2.0"

  depends_on = [azurerm_role_definition.this, azurerm_storage_container.this]
}

# Who asks for a backup puts a job into the queue, and may do no more with it.
resource "azurerm_role_assignment" "backup_caller" {
  for_each = toset(var.backup_principals)

  scope                = "${azurerm_storage_account.host["backup"].id}/queueServices/default/queues/${local.queue}"
  principal_id         = each.value
  role_definition_name = "Storage Queue Data Message Sender"

  depends_on = [azurerm_storage_queue.jobs]
}

# The function asks for its key, beside the token that App Service wants. The keys of the host would open its administration.
resource "azurerm_role_definition" "restore_caller" {
  count = length(var.restore_principals) > 0 ? 1 : 0

  name              = "${var.name}-restore-caller-${local.suffix}"
  scope             = local.group
  description       = "Lifeboat: read the key of the restore endpoint"
  assignable_scopes = [local.group]

  permissions {
    actions = ["Microsoft.Web/sites/read", "Microsoft.Web/sites/functions/read", "Microsoft.Web/sites/functions/listkeys/action"]
  }
}

resource "azurerm_role_assignment" "restore_caller" {
  for_each = toset(var.restore_principals)

  scope              = "${local.group}/providers/Microsoft.Web/sites/${local.function_names.restore}"
  principal_id       = each.value
  role_definition_id = azurerm_role_definition.restore_caller[0].role_definition_resource_id

  depends_on = [azurerm_resource_group_template_deployment.function]
}
