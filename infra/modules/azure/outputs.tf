locals {
  restore_url = "https://${local.function_names.restore}.azurewebsites.net/"
  user_of     = { for job, identity in azurerm_user_assigned_identity.function : job => identity.principal_id }

  cluster_rights = { backup = ["backup"], restore = ["restore"], hooks = ["backup"], csi = ["backup", "retention"], restic = ["backup", "retention"] }
  wanted_rights  = concat(["backup", "restore"], var.hooks ? ["hooks"] : [], local.copying)
  bindings = flatten([for rights, jobs in local.cluster_rights : [
    for job in jobs : { rights = rights, job = job, name = "${var.name}-${rights}${job == "retention" ? "-retention" : ""}-${local.suffix}" }
  ]])
  bind_commands = [
    for binding in local.bindings :
    "kubectl create clusterrolebinding ${binding.name} --clusterrole lifeboat-${binding.rights} --user ${local.user_of[binding.job]} --dry-run=client -o yaml | kubectl apply -f -"
    if contains(local.wanted_rights, binding.rights)
  ]
  unwanted        = [for binding in local.bindings : binding.name if !contains(local.wanted_rights, binding.rights)]
  unbind_commands = length(local.unwanted) == 0 ? [] : ["kubectl delete clusterrolebinding ${join(" ", local.unwanted)} --ignore-not-found"]
}

output "location" {
  description = "Where the backups lie, for `--location` and LIFEBOAT_LOCATION."
  value       = local.location
}

output "function_names" {
  description = "Names of the function apps: backup, restore, retention."
  value       = local.function_names
}

output "principal_ids" {
  description = "Object ids of the functions' identities: their user names in a cluster."
  value       = { for job, identity in azurerm_user_assigned_identity.function : job => identity.principal_id }
}

output "restore_url" {
  description = "URL of the restore function, for those in `restore_principals`."
  value       = local.restore_url
}

output "dead_letter_queues" {
  description = "URLs of the queues of jobs that were given up, one for each function."
  value       = { for job, account in local.host_accounts : job => "https://${account}.queue.core.windows.net/${local.dead_letters}" }
}

output "schedules_without_alarm" {
  description = "Schedules of backups that come too seldom for the 2 days of a log search: watch them by `lifeboat schedule get`."
  value       = [for name, schedule in var.schedules : name if schedule.job.kind == "backup" && schedule.interval_seconds > 129600]
}

output "deploy_command" {
  description = "Brings the zip into the three functions: after the first apply, and whenever it was built again."
  value = join(" && ", [
    for job in sort(local.jobs) :
    "az functionapp deployment source config-zip --resource-group ${var.resource_group} --name ${local.function_names[job]} --src '${abspath(var.package)}'"
  ])

  depends_on = [azurerm_resource_group_template_deployment.function]
}

output "check_command" {
  description = "Asks whether backups can be made, for those in `backup_principals`: the answer is in the log (docs/azure.md)."
  value       = "az storage message put --auth-mode login --account-name ${local.host_accounts.backup} --queue-name ${local.queue} --content ${base64encode("{\"kind\": \"check\"}")}"
}

output "backup_command" {
  description = "Asks for a backup now, of the only cluster of the configuration, for those in `backup_principals`."
  value       = "az storage message put --auth-mode login --account-name ${local.host_accounts.backup} --queue-name ${local.queue} --content ${base64encode("{\"kind\": \"backup\"}")}"
}

output "restore_command" {
  description = "Asks for a restore of the newest backup of a schedule: replace SCHEDULE and CLUSTER."
  value = var.restore_application == null ? "echo 'Nobody may restore: set restore_application and restore_principals'" : join(" ", [
    "curl -H \"authorization: Bearer $(az account get-access-token --scope api://${var.restore_application}/.default --query accessToken -o tsv)\"",
    "-H \"x-functions-key: $(az functionapp function keys list --resource-group ${var.resource_group} --name ${local.function_names.restore} --function-name api --query default -o tsv)\"",
    "-H 'content-type: application/json' -d '{\"cluster\": \"CLUSTER\", \"spec\": {\"scheduleName\": \"SCHEDULE\"}}' ${local.restore_url}v1/restores",
  ])
}

output "rbac_command" {
  description = "Gives the functions their rights in a cluster, and takes away those that `hooks` and `volumes` don't ask for, from the root of Lifeboat's repository."
  value = join(" && ", concat(
    ["kubectl apply ${join(" ", [for rights in local.wanted_rights : "-f infra/kubernetes/${rights}.yaml"])}"],
    local.bind_commands,
    local.unbind_commands,
  ))
}
