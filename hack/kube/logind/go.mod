// Stands in for systemd-logind on a node without systemd: the kubelet's graceful shutdown of a node listens to it.
module crid/hack/kube/logind

go 1.26.0

require github.com/godbus/dbus/v5 v5.2.2

require golang.org/x/sys v0.27.0 // indirect
