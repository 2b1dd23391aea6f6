locals {
  # What a log search may look back, by its own list; two days at most.
  windows = [
    { name = "PT10M", seconds = 600 },
    { name = "PT15M", seconds = 900 },
    { name = "PT30M", seconds = 1800 },
    { name = "PT1H", seconds = 3600 },
    { name = "PT2H", seconds = 7200 },
    { name = "PT4H", seconds = 14400 },
    { name = "PT6H", seconds = 21600 },
    { name = "P1D", seconds = 86400 },
    { name = "P2D", seconds = 172800 },
  ]

  watched = { for name, schedule in var.schedules : name => {
    schedule  = schedule.job.schedule
    window    = [for window in local.windows : window.name if window.seconds >= min(2 * schedule.interval_seconds, 172800)][0]
    frequency = schedule.interval_seconds < 3600 ? "PT5M" : "PT15M"
    } if schedule.job.kind == "backup" && contains(keys(schedule.job), "schedule") && !schedule.paused && schedule.interval_seconds <= 129600
  }

  role_of = { for job in local.jobs : job => "AppRoleName =~ \"${local.function_names[job]}\"" }
}

resource "azurerm_monitor_scheduled_query_rules_alert_v2" "failed" {
  for_each = local.jobs

  name                    = "${local.function_names[each.key]}-failed"
  description             = "A run of ${local.function_names[each.key]} failed: its log tells why."
  resource_group_name     = var.resource_group
  location                = local.region
  scopes                  = [azurerm_log_analytics_workspace.this.id]
  severity                = 2
  evaluation_frequency    = "PT5M"
  window_duration         = "PT15M"
  skip_query_validation   = true
  auto_mitigation_enabled = true
  tags                    = var.tags

  criteria {
    query                   = "AppRequests | where ${local.role_of[each.key]} and Success == false and (Name == \"jobs\" or Name startswith \"clock\")"
    time_aggregation_method = "Count"
    operator                = "GreaterThan"
    threshold               = 0
  }

  action {
    action_groups = var.alarm_actions
  }
}

# Put there is what the log has; how many lie there, Azure counts once a day only.
resource "azurerm_monitor_diagnostic_setting" "queue" {
  for_each = local.jobs

  name                       = "lifeboat"
  target_resource_id         = "${azurerm_storage_account.host[each.key].id}/queueServices/default"
  log_analytics_workspace_id = azurerm_log_analytics_workspace.this.id

  enabled_log {
    category = "StorageWrite"
  }
}

resource "azurerm_monitor_scheduled_query_rules_alert_v2" "dead_letters" {
  for_each = local.jobs

  name                    = "${local.function_names[each.key]}-dead-letters"
  description             = "Jobs were given up: they lie in the queue ${local.dead_letters} of ${local.host_accounts[each.key]}."
  resource_group_name     = var.resource_group
  location                = local.region
  scopes                  = [azurerm_log_analytics_workspace.this.id]
  severity                = 1
  evaluation_frequency    = "PT5M"
  window_duration         = "PT15M"
  skip_query_validation   = true
  auto_mitigation_enabled = true
  tags                    = var.tags

  criteria {
    query                   = "StorageQueueLogs | where AccountName == \"${local.host_accounts[each.key]}\" and OperationName == \"PutMessage\" and StatusText == \"Success\" and Uri contains \"/${local.dead_letters}/\""
    time_aggregation_method = "Count"
    operator                = "GreaterThan"
    threshold               = 0
  }

  action {
    action_groups = var.alarm_actions
  }

  depends_on = [azurerm_monitor_diagnostic_setting.queue]
}

resource "azurerm_monitor_scheduled_query_rules_alert_v2" "no_good_backup" {
  for_each = local.watched

  name                    = "${var.name}-${each.key}-no-good-backup-${local.suffix}"
  description             = "Schedule ${each.value.schedule} has made no Completed backup for ${each.value.window}."
  resource_group_name     = var.resource_group
  location                = local.region
  scopes                  = [azurerm_log_analytics_workspace.this.id]
  severity                = 1
  evaluation_frequency    = each.value.frequency
  window_duration         = each.value.window
  skip_query_validation   = true
  auto_mitigation_enabled = true
  tags                    = var.tags

  criteria {
    query                   = "AppTraces | where ${local.role_of.backup} and Message contains \"job=backup schedule=${each.value.schedule} phase=Completed\""
    time_aggregation_method = "Count"
    operator                = "LessThan"
    threshold               = 1
  }

  action {
    action_groups = var.alarm_actions
  }
}
