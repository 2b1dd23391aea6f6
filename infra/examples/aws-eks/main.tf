# An EKS cluster, an hourly backup of all of it into a new bucket.

provider "aws" {
  region = var.region
}

module "lifeboat" {
  source = "../../modules/aws"

  package            = var.package
  bucket             = var.bucket
  clusters           = [var.cluster]
  schedules          = var.schedules
  restore_principals = var.restore_principals

  fleet         = var.fleet
  hooks         = var.hooks
  volumes       = var.volumes
  alarm_actions = var.alarm_actions

  configuration = var.configuration_file != null ? file(var.configuration_file) : yamlencode({
    clusters = { prod = { eks = { name = var.cluster, region = var.region } } }
    schedules = {
      hourly = {
        schedule  = "0 * * * *"
        cluster   = "prod"
        retention = { keepLast = 24, daily = 7, weekly = 4, monthly = 12 }
      }
    }
  })
}
