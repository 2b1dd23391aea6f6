locals {
  restore_url = "https://${local.function_names.restore}.azurewebsites.net/"
  user_of     = { for job in ["backup", "restore"] : job => azurerm_user_assigned_identity.function[job].principal_id }

  bindings = merge({ backup = "backup", restore = "restore" }, var.hooks ? { hooks = "backup" } : {})
  bind_commands = [
    for rights, job in local.bindings :
    "kubectl create clusterrolebinding ${var.name}-${rights}-${local.suffix} --clusterrole lifeboat-${rights} --user ${local.user_of[job]} --dry-run=client -o yaml | kubectl apply -f -"
  ]
  unbind_commands = var.hooks ? [] : ["kubectl delete clusterrolebinding ${var.name}-hooks-${local.suffix} --ignore-not-found"]
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
  description = "Gives the functions their rights in a cluster, and takes away those for hooks where `hooks` is false, from the root of Lifeboat's repository."
  value = join(" && ", concat(
    ["kubectl apply -f infra/kubernetes/backup.yaml -f infra/kubernetes/restore.yaml${var.hooks ? " -f infra/kubernetes/hooks.yaml" : ""}"],
    local.bind_commands,
    local.unbind_commands,
  ))
}
