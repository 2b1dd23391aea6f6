module lifeboat.test/rig/velero

go 1.26.0

tool github.com/vmware-tanzu/velero/cmd/velero

require github.com/vmware-tanzu/velero v1.18.3

replace github.com/kopia/kopia => github.com/project-velero/kopia v0.0.0-20251230033609-d946b1e75197

replace k8s.io/cli-runtime => k8s.io/cli-runtime v0.33.10
