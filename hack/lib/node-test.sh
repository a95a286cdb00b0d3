# Sourced after common.sh: runs test files on the pinned Node and keeps count.

# Where the counts of all runs of a script go, one "pass fail skipped" a line; set by the script that adds them up.
: "${TEST_COUNTS:=/dev/null}"

# node_test NAME CONCURRENCY SECONDS_A_TEST SECONDS_IN_ALL FILE...    IN=(command...) runs them inside of it.
node_test() {
  local name=$1 concurrency=$2 each=$3 all=$4 log status=0
  shift 4
  step "$name: $# files"
  log=$(mktemp)
  ${IN[@]+"${IN[@]}"} timeout --kill-after=10 "$all" node --disable-warning=ExperimentalWarning --test --test-concurrency="$concurrency" \
    --test-timeout=$((each * 1000)) --test-force-exit --test-reporter=spec "$@" </dev/null 2>&1 | tee "$log" || status=$?
  [ "$status" != 124 ] || step "$name: ended after $all seconds"
  # A run that failed without a failing test (a crash, the time limit) counts as one.
  awk -v status="$status" '$1 == "ℹ" && $2 ~ /^(pass|fail|cancelled|skipped|todo)$/ { n[$2] = $3 }
    END { bad = n["fail"] + n["cancelled"]; print n["pass"] + 0, bad + (status != 0 && bad == 0), n["skipped"] + n["todo"] }' "$log" >>"$TEST_COUNTS"
  rm -f "$log"
  return "$status"
}
