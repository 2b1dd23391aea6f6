variable "package" {
  description = "Path of dist/lifeboat-aws.zip."
  type        = string
  default     = "../../../dist/lifeboat-aws.zip"
}

variable "bucket" {
  description = "Name of the bucket."
  type        = string
}


variable "region" {
  description = "Region of all of it."
  type        = string
}

variable "kubeconfig_secret" {
  description = "ARN of the secret that holds the cluster's kubeconfig."
  type        = string
  default     = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod-kubeconfig-AbCdEf"
}

variable "subnet_ids" {
  description = "Private subnets from which the cluster's API server can be reached."
  type        = list(string)
  default     = ["subnet-0123456789abcdef0"]
}

variable "security_group_ids" {
  description = "Security groups that the API server lets in."
  type        = list(string)
  default     = ["sg-0123456789abcdef0"]
}
