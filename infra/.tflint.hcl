# The ruleset that tflint brings along, whole. Rulesets of providers are plugins to download: left to whoever wants them.
plugin "terraform" {
  enabled = true
  preset  = "all"
}
