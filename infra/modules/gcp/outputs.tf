locals {
  restore_uri      = google_cloudfunctions2_function.this["restore"].service_config[0].uri
  run_command      = "gcloud workflows run ${google_workflows_workflow.jobs.name} --project ${var.project} --location ${var.region} --data"
  cluster_rights   = { backup = ["backup"], restore = ["restore"], hooks = ["backup"], csi = ["backup", "retention"], restic = ["backup", "retention"] }
  wanted_rights    = concat(["backup", "restore"], var.hooks ? ["hooks"] : [], local.copying)
  cluster_bindings = flatten([for role, jobs in local.cluster_rights : [for job in jobs : { role = role, job = job, name = "lifeboat-${role}:${local.emails[job]}" }]])
  unwanted         = [for binding in local.cluster_bindings : binding.name if !contains(local.wanted_rights, binding.role)]
}

output "location" {
  description = "Where the backups lie, for `--location` and LIFEBOAT_LOCATION."
  value       = local.location
}

output "service_accounts" {
  description = "E-mail addresses of the functions' service accounts, for rights on a key or in another project."
  value       = local.emails
}

output "restore_url" {
  description = "URL of the restore function, for those in `restore_principals`."
  value       = "${local.restore_uri}/"
}

output "dead_letters_command" {
  description = "Takes the jobs that were given up out of their subscription, and prints them. Each can be given to `gcloud workflows run` as `--data`."
  value       = "gcloud pubsub subscriptions pull ${google_pubsub_subscription.dead_letters.name} --project ${var.project} --auto-ack --limit 100 --format 'value(message.data.decode(base64))'"
}

output "backup_command" {
  description = "Makes a backup now, of the only cluster of the configuration."
  value       = "${local.run_command} '{\"function\": \"backup\", \"job\": {\"kind\": \"backup\"}}'"
}

output "check_command" {
  description = "Asks the backup function whether backups can be made."
  value       = "${local.run_command} '{\"function\": \"backup\", \"job\": {\"kind\": \"check\"}}'"
}

output "restore_command" {
  description = "Asks for a restore of the newest backup of a schedule: replace SCHEDULE and CLUSTER."
  value       = "curl -H \"Authorization: Bearer $(gcloud auth print-identity-token)\" -H 'content-type: application/json' -d '{\"cluster\": \"CLUSTER\", \"spec\": {\"scheduleName\": \"SCHEDULE\"}}' ${local.restore_uri}/v1/restores"
}

output "rbac_command" {
  description = "Gives the functions' service accounts their rights in a cluster, and takes away those that `hooks` and `volumes` don't ask for, from the root of Lifeboat's repository."
  value = join(" && ", concat(
    ["kubectl apply ${join(" ", [for role in local.wanted_rights : "-f infra/kubernetes/${role}.yaml"])}"],
    [for binding in local.cluster_bindings :
      "kubectl create clusterrolebinding ${binding.name} --clusterrole lifeboat-${binding.role} --user ${local.emails[binding.job]} --dry-run=client -o yaml | kubectl apply -f -"
      if contains(local.wanted_rights, binding.role)
    ],
    length(local.unwanted) == 0 ? [] : ["kubectl delete clusterrolebinding ${join(" ", local.unwanted)} --ignore-not-found"],
  ))
}
