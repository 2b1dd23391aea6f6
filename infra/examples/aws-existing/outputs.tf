output "backup_command" {
  description = "Makes a backup now."
  value       = module.lifeboat.backup_command
}

output "check_command" {
  description = "Asks the backup function whether backups can be made."
  value       = module.lifeboat.check_command
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
