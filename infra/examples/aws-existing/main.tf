# A bucket and a cluster that exist, the cluster private and reached by a kubeconfig out of a secret.

provider "aws" {
  region = var.region
}

module "lifeboat" {
  source = "../../modules/aws"

  package       = var.package
  bucket        = var.bucket
  create_bucket = false
  prefix        = "lifeboat"
  secrets       = { backup = [var.kubeconfig_secret], restore = [var.kubeconfig_secret] }
  vpc           = { subnet_ids = var.subnet_ids, security_group_ids = var.security_group_ids }

  configuration = yamlencode({
    clusters  = { prod = { kubeconfig = "aws-sm://${var.kubeconfig_secret}" } }
    schedules = { nightly = { schedule = "30 2 * * *", timeZone = "Europe/Berlin", cluster = "prod" } }
  })

  schedules = {
    nightly = {
      expressions      = ["cron(30 2 * * ? *)"]
      time_zone        = "Europe/Berlin"
      job              = { kind = "backup", schedule = "nightly" }
      interval_seconds = 90000
    }
  }
}
