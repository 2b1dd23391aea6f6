mock_provider "aws" {
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/lifeboat" }
  }
  mock_data "aws_region" {
    defaults = { region = "eu-west-1" }
  }
}

variables {
  package = "tests/package.zip"
  bucket  = "acme-backups"
  region  = "eu-west-1"
}

run "applies" {
  assert {
    condition     = startswith(output.location, "s3://acme-backups")
    error_message = "the backups go elsewhere"
  }
}
