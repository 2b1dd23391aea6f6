variable "package" {
  description = "Path of dist/lifeboat-azure.zip."
  type        = string
  default     = "../../../dist/lifeboat-azure.zip"
}

variable "subscription" {
  description = "Id of the subscription of all of it."
  type        = string
}

variable "resource_group" {
  description = "Name of the resource group for Lifeboat."
  type        = string
}

variable "storage_account" {
  description = "Name of the storage account."
  type        = string
}

variable "storage_account_resource_group" {
  description = "Name of the storage account's resource group."
  type        = string
}

variable "kubeconfig_secret" {
  description = "Resource id of the Key Vault secret that holds the cluster's kubeconfig."
  type        = string
}

variable "subnet" {
  description = "Resource id of a subnet from which the cluster's API server can be reached."
  type        = string
}
