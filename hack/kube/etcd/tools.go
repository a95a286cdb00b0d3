//go:build tools

// Package tools pins what hack/build-kube builds.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
)
