# Sourced after common.sh: the registry on loopback that serves the test images.

# start_registry FOLDER STORAGE [writable]: serves STORAGE on a free port of 127.0.0.1; its pid, address and log go to FOLDER.
# Its life is that of its own session, not of this script: stop_registry FOLDER ends it.
start_registry() {
  local folder=$1 storage=$2 readonly=true address="" waited
  [ "${3:-}" != writable ] || readonly=false
  [ -x "$BIN/registry" ] || die "the registry is missing: run hack/setup"
  mkdir -p "$folder" "$storage"
  cat >"$folder/config.yaml" <<CONFIG
version: 0.1
log: { level: info, accesslog: { disabled: true } }
storage:
  filesystem: { rootdirectory: $storage }
  delete: { enabled: true }
  maintenance: { uploadpurging: { enabled: false }, readonly: { enabled: $readonly } }
http: { addr: "127.0.0.1:0", secret: tests }
CONFIG
  # Its own session, and none of this script's files: whoever waits for the script's output must not wait for the registry.
  OTEL_TRACES_EXPORTER=none setsid "$BIN/registry" serve "$folder/config.yaml" >"$folder/registry.log" 2>&1 </dev/null 9>&- &
  echo $! >"$folder/registry.pid"
  for waited in $(seq 100); do
    address=$(grep -o 'listening on 127\.0\.0\.1:[0-9]*' "$folder/registry.log" | head -n1 | cut -d' ' -f3 || true)
    [ -z "$address" ] || break
    kill -0 "$(cat "$folder/registry.pid")" 2>/dev/null || break
    sleep 0.05
  done
  [ -n "$address" ] || {
    tail -n 5 "$folder/registry.log" >&2
    stop_registry "$folder"
    die "the registry did not start (tried for $((waited / 20)) s), see $folder/registry.log"
  }
  echo "$address" >"$folder/registry.address"
}

# registry_alive FOLDER: whether the registry that FOLDER knows runs; a pid that another program has by now is not it.
registry_alive() {
  local pid
  [ -f "$1/registry.address" ] && pid=$(cat "$1/registry.pid" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = registry ]
}

stop_registry() {
  local pid
  if registry_alive "$1" || [ -f "$1/registry.pid" ]; then
    pid=$(cat "$1/registry.pid")
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != registry ] || kill "$pid" 2>/dev/null || true
  fi
  rm -f "$1/registry.pid" "$1/registry.address"
}
