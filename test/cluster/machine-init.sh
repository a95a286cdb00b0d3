#!/usr/bin/env bash
# Pid 1 of the machine's namespaces: the wire between the nodes. What it has to do is to be there, and to reap.
# Its end ends the nodes and all that runs in them. It ends itself when its input does (the test is gone), unless that said "keep".
# usage: machine-init.sh LAN-PREFIX (10.X.Y)
set -euo pipefail
hostname machine
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /run
ip link set lo up
ip link add lan0 type bridge
ip addr add "$1.1/24" dev lan0
ip link set lan0 up
# Packets between nodes pass the bridge as on a wire, not this namespace's firewall; nodes reach other networks through it.
for knob in /proc/sys/net/bridge/bridge-nf-call-*tables; do [ ! -e "$knob" ] || echo 0 >"$knob"; done
echo 1 >/proc/sys/net/ipv4/ip_forward
echo up
word=""
read -r word || true
[ "$word" = keep ] || exit 0
exec <&- >/dev/null 2>&1
while :; do
  sleep 3600 &
  wait
done
