mock_provider "google" {}

variables {
  package            = "tests/package.zip"
  project            = "acme-prod"
  region             = "europe-west1"
  bucket             = "acme-backups"
  cluster            = "prod"
  restore_principals = ["user:operator@acme.example"]
}

run "applies" {
  assert {
    condition     = output.location == "gs://acme-backups"
    error_message = "the backups go elsewhere"
  }
}
