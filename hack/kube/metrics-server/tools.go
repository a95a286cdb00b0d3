//go:build tools

// Package tools pins what hack/build-kube builds.
package tools

import _ "sigs.k8s.io/metrics-server/cmd/metrics-server"
