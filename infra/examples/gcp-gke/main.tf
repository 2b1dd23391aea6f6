# A GKE cluster, an hourly backup of all of it into a new bucket.

provider "google" {
  project = var.project
  region  = var.region
}

module "lifeboat" {
  source = "../../modules/gcp"

  project            = var.project
  region             = var.region
  package            = var.package
  bucket             = var.bucket
  schedules          = var.schedules
  restore_principals = var.restore_principals

  fleet                 = var.fleet
  hooks                 = var.hooks
  volumes               = var.volumes
  notification_channels = var.notification_channels

  configuration = var.configuration_file != null ? file(var.configuration_file) : yamlencode({
    clusters = { prod = { gke = { project = var.project, location = coalesce(var.cluster_location, var.region), name = var.cluster } } }
    schedules = {
      hourly = {
        schedule  = "0 * * * *"
        cluster   = "prod"
        retention = { keepLast = 24, daily = 7, weekly = 4, monthly = 12 }
      }
    }
  })
}
