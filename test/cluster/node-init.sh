#!/usr/bin/env bash
# Pid 1 of a node's namespaces. Makes the node's own file system out of the machine's (an overlay whose changes lie on the node's disk),
# goes into it, and keeps the services running that lie in /etc/services, as an init system would.
# A service is an executable file; NAME.disabled beside it leaves it off at boot, /run/init/NAME.down keeps it down (see systemctl.sh), /run/init/NAME.pid is the running one, /var/log/NAME.log its output.
# usage: node-init.sh NAME DISK-IMAGE MOUNT-POINT LIST     LIST: lines of "SOURCE TARGET", files of the machine to show read-only
set -euo pipefail
name=$1 image=$2 disk=$3 list=$4
read -r _ # the test has moved this process into the node's cgroups

hostname "$name"
mount --make-rprivate /
mount -o loop "$image" "$disk"
mkdir -p "$disk"/{upper,work,root} "$disk"/var/{cache,tmp,log/pods,log/containers,lib/kubelet,lib/etcd,lib/crid,lib/containerd,lib/cni}
ln -sfn /run "$disk/var/run"
root=$disk/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$disk/upper,workdir=$disk/work" "$root"
# Real disk below the runtime's and etcd's files: an overlay cannot be the upper layer of another.
mount --bind "$disk/var" "$root/var"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o nosuid,nodev,noexec sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o nosuid,nodev tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
while read -r source target; do
  mkdir -p "$(dirname "$root$target")"
  [ -e "$root$target" ] || touch "$root$target"
  mount --bind "$source" "$root$target"
done <"$list"
mkdir -p "$root/run/init" "$root/etc/services" "$root/run/lock"
cd "$root"
pivot_root . mnt
umount -l /mnt
cd /
mount --make-rshared /
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward

supervise() {
  local service=$1 pid
  while :; do
    while [ -e "/run/init/$service.down" ]; do sleep 0.1; done
    setsid "/etc/services/$service" >>"/var/log/$service.log" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"/run/init/$service.pid"
    wait "$pid" || echo "$(date -u +%FT%TZ) init: $service ended with $?" >>"/var/log/$service.log"
    rm -f "/run/init/$service.pid"
    sleep 0.2
  done
}
for service in /etc/services/*; do
  [ -x "$service" ] || continue
  [ ! -e "$service.disabled" ] || touch "/run/init/$(basename "$service").down"
  supervise "$(basename "$service")" &
done
echo up
exec <&- >/dev/null 2>&1
# `wait` alone ends when no child is left; orphans of the node arrive at any time.
while :; do
  sleep 3600 &
  wait $!
done
