locals {
  # restic has files of its own below restic/, some of which it replaces.
  written_once = !contains(var.volumes, "restic") ? ["${local.bucket_arn}/*"] : [
    for folder in ["backups", "restores", "metadata"] : "${local.objects_arn}/${folder}/*"
  ]
}

resource "aws_s3_bucket" "this" {
  # checkov:skip=CKV_AWS_18:The log of who reads needs another bucket, or CloudTrail's data events: the account's choice, not the module's.
  # checkov:skip=CKV_AWS_144:`lifeboat backup copy` copies to any other location, and reads again what arrived.
  # checkov:skip=CKV2_AWS_62:Nobody acts on a single object; of whole backups, alarms and notifications tell.
  count = var.create_bucket ? 1 : 0

  bucket              = var.bucket
  object_lock_enabled = var.object_lock
  tags                = var.tags
}

resource "aws_s3_bucket_public_access_block" "this" {
  count = var.create_bucket ? 1 : 0

  bucket                  = aws_s3_bucket.this[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_versioning" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].id

  rule {
    bucket_key_enabled = var.bucket_kms_key != null

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.bucket_kms_key == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.bucket_kms_key
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].id

  rule {
    id     = "leftovers"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }

    noncurrent_version_expiration {
      noncurrent_days = var.noncurrent_days
    }

    expiration {
      expired_object_delete_marker = true
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_policy" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid       = "OnlyTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [local.bucket_arn, "${local.bucket_arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }],
      [for sid in var.write_once ? ["NothingIsOverwritten"] : [] : {
        Sid       = sid
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:PutObject"
        Resource  = local.written_once
        Condition = {
          Null = { "s3:if-none-match" = "true" }
          Bool = { "s3:ObjectCreationOperation" = "true" }
        }
      }],
    )
  })

  depends_on = [aws_s3_bucket_public_access_block.this]
}
