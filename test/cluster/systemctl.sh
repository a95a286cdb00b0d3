#!/bin/sh
# /usr/local/bin/systemctl of a node: systemd's command in front of the services of node-init.sh, as docs/ and kubeadm type it.
set -eu
command=$1
shift
now=false
names=""
for word in "$@"; do
  case $word in
    --now) now=true ;;
    -*) ;;
    *) names="$names ${word%.service}" ;;
  esac
done

known() { [ -x "/etc/services/$1" ]; }
running() { [ ! -e "/run/init/$1.down" ] && [ -e "/run/init/$1.pid" ]; }
stop() {
  touch "/run/init/$1.down"
  [ ! -e "/run/init/$1.pid" ] || kill -TERM "$(cat "/run/init/$1.pid")" 2>/dev/null || true
  while [ -e "/run/init/$1.pid" ]; do sleep 0.05; done
}
start() {
  rm -f "/run/init/$1.down"
  while [ ! -e "/run/init/$1.pid" ]; do sleep 0.05; done
}

[ "$command" != daemon-reload ] || exit 0
for name in $names; do
  # The machine's kernel has its modules, or has not.
  [ "$name" != systemd-modules-load ] || continue
  known "$name" || {
    echo "Unit $name.service not found." >&2
    exit 4
  }
  case $command in
    start) start "$name" ;;
    stop) stop "$name" ;;
    restart) stop "$name" && start "$name" ;;
    enable)
      rm -f "/etc/services/$name.disabled"
      ! $now || start "$name"
      ;;
    disable)
      touch "/etc/services/$name.disabled"
      ! $now || stop "$name"
      ;;
    is-enabled) [ ! -e "/etc/services/$name.disabled" ] && echo enabled || { echo disabled && exit 1; } ;;
    is-active) running "$name" && echo active || { echo inactive && exit 3; } ;;
    status) running "$name" && echo "$name.service: active (running)" || { echo "$name.service: inactive (dead)" && exit 3; } ;;
    *)
      echo "systemctl.sh: no command $command" >&2
      exit 1
      ;;
  esac
done
