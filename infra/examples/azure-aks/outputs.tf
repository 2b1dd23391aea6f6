output "deploy_command" {
  description = "Brings the zip into the functions."
  value       = module.lifeboat.deploy_command
}

output "check_command" {
  description = "Asks whether backups can be made; the answer is in the log."
  value       = module.lifeboat.check_command
}

output "backup_command" {
  description = "Asks for a backup now."
  value       = module.lifeboat.backup_command
}

output "restore_command" {
  description = "Asks for a restore: replace SCHEDULE and CLUSTER."
  value       = module.lifeboat.restore_command
}

output "rbac_command" {
  description = "Gives the functions their rights in the cluster."
  value       = module.lifeboat.rbac_command
}

output "location" {
  description = "Where the backups lie."
  value       = module.lifeboat.location
}

output "restore_url" {
  description = "URL of the restore function."
  value       = module.lifeboat.restore_url
}

output "restore_function" {
  description = "Name of the restore function's app."
  value       = module.lifeboat.function_names.restore
}
