output "location" {
  description = "Where the backups lie, for `--location` and LIFEBOAT_LOCATION."
  value       = local.location
}

output "function_arns" {
  description = "ARNs of the functions: backup, restore, retention."
  value       = { for job, function in aws_lambda_function.this : job => function.arn }
}

output "state_machine_arns" {
  description = "ARNs of the state machines that run the functions' jobs: backup, restore, retention."
  value       = { for job, machine in aws_sfn_state_machine.this : job => machine.arn }
}

output "role_arns" {
  description = "ARNs of the functions' roles, for a key's policy or a cluster in another account."
  value       = { for job, role in aws_iam_role.function : job => role.arn }
}

output "restore_url" {
  description = "URL of the restore function, for those in `restore_principals`."
  value       = aws_lambda_function_url.restore.function_url
}

output "restore_caller_policy_arn" {
  description = "ARN of the policy that allows to call that URL, for identities that `restore_principals` can't name, as permission sets of IAM Identity Center."
  value       = aws_iam_policy.restore_caller.arn
}

output "restic_policy_arn" {
  description = "ARN of the policy of restic's Jobs, for identities that `restic_principals` can't name; null where `volumes` has no `restic`."
  value       = one(aws_iam_policy.restic[*].arn)
}

output "dead_letters_url" {
  description = "URL of the queue of jobs that were given up."
  value       = aws_sqs_queue.dead_letters.url
}

output "schedules_without_alarm" {
  description = "Schedules of backups that come too seldom for CloudWatch's 7 days: watch them by `lifeboat schedule get`."
  value       = [for name, schedule in var.schedules : name if schedule.job.kind == "backup" && 2 * schedule.interval_seconds > 604800]
}

output "backup_command" {
  description = "Makes a backup now, of the only cluster of the configuration."
  value       = "aws lambda invoke --region ${local.region} --function-name ${local.function_names.backup} --cli-binary-format raw-in-base64-out --cli-read-timeout 900 --payload '{\"kind\": \"backup\"}' /dev/stdout"
}

output "check_command" {
  description = "Asks the backup function whether backups can be made."
  value       = "aws lambda invoke --region ${local.region} --function-name ${local.function_names.backup} --cli-binary-format raw-in-base64-out --cli-read-timeout 900 --payload '{\"kind\": \"check\"}' /dev/stdout"
}

output "restore_command" {
  description = "Asks for a restore of the newest backup of a schedule: replace SCHEDULE and CLUSTER."
  value       = "curl --aws-sigv4 aws:amz:${local.region}:lambda --user \"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY\" -H \"x-amz-security-token: $AWS_SESSION_TOKEN\" -H 'content-type: application/json' -d '{\"cluster\": \"CLUSTER\", \"spec\": {\"scheduleName\": \"SCHEDULE\"}}' ${aws_lambda_function_url.restore.function_url}v1/restores"
}

output "rbac_command" {
  description = "Gives the functions' groups their rights in a cluster, from the root of Lifeboat's repository."
  value       = "kubectl apply ${join(" ", [for group in distinct(concat(["lifeboat:backup", "lifeboat:restore"], local.groups.backup)) : "-f infra/kubernetes/${trimprefix(group, "lifeboat:")}.yaml"])}"
}
