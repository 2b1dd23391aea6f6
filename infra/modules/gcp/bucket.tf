data "google_storage_project_service_account" "this" {
  count = var.create_bucket && var.bucket_kms_key != null ? 1 : 0

  project = var.project
}

# Cloud Storage encrypts and decrypts by its own account, whoever reads.
resource "google_kms_crypto_key_iam_member" "bucket" {
  count = var.create_bucket && var.bucket_kms_key != null ? 1 : 0

  crypto_key_id = var.bucket_kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${data.google_storage_project_service_account.this[0].email_address}"
}

resource "google_storage_bucket" "this" {
  # checkov:skip=CKV_GCP_62:Who reads is told by Cloud Audit Logs (Data Access), in place of usage logs in another bucket: the project's choice, not the module's.
  count = var.create_bucket ? 1 : 0

  project                     = var.project
  name                        = var.bucket
  location                    = coalesce(var.bucket_location, var.region)
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  enable_object_retention     = var.object_retention
  labels                      = var.labels

  versioning {
    enabled = true
  }

  # Who may delete may delete versions too. What is deleted wholly can be had back for so long.
  soft_delete_policy {
    retention_duration_seconds = 604800
  }

  dynamic "encryption" {
    for_each = compact([var.bucket_kms_key])

    content {
      default_kms_key_name = encryption.value
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }

    condition {
      age = 2
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      days_since_noncurrent_time = var.noncurrent_days
      with_state                 = "ARCHIVED"
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.bucket]
}
