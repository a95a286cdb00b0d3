# Shared by the scripts in hack/. Sourced, never run.
# Everything that is built or cached lies in the checkout's git-ignored .tools/; only apt packages go outside of it.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TOOLS="$ROOT/.tools"
BIN="$TOOLS/bin"
STAMPS="$TOOLS/stamps"
mkdir -p "$BIN" "$STAMPS"
export PATH="$BIN:$ROOT/node_modules/.bin:$PATH:/usr/sbin:/sbin"

# One line a step, with the seconds since the script began.
step() { printf '%4ds  %s\n' "$SECONDS" "$*" >&2; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Runs a command quietly; its output is shown only when it fails.
quietly() {
  local log
  log=$(mktemp)
  if "$@" >"$log" 2>&1 </dev/null; then
    rm -f "$log"
  else
    local status=$?
    tail -n 60 "$log" >&2
    rm -f "$log"
    return "$status"
  fi
}

# stamped NAME KEY: true when NAME was last made with KEY. The caller checks that what it made is still there.
stamped() { [ -f "$STAMPS/$1" ] && [ "$(cat "$STAMPS/$1")" = "$2" ]; }
# stamp NAME KEY: remembers that NAME is made. KEY is whatever decides whether it must be made again.
stamp() { printf '%s' "$2" >"$STAMPS/$1"; }
# The sha256 of the contents (and names) of files and folders.
hash_of() { find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1; }

# Takes the lock NAME for the rest of the script, so that two set-ups at once do not write the same files.
hold_lock() {
  exec 9>"$TOOLS/$1.lock"
  flock -n 9 || {
    step "waiting for another $1 to finish"
    flock 9
  }
}
