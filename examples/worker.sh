#!/usr/bin/env bash
# A worker for a queue of jobcast: bash, curl and jq.
#
#     JOBCAST_URL=http://localhost:3000 JOBCAST_KEY=jc_... bash worker.sh QUEUE
#
# It runs one job after the other and greets the payload's "name". More members
# shape the work, all of them optional: "steps" and "seconds" (3 steps of 1 s),
# "fail": true (the attempt fails) and "retry": false (it is not tried again).
#
# On SIGTERM or Ctrl-C it takes no more jobs. The one at hand may go on for
# JOBCAST_GRACE seconds (10), then it is handed back to be tried again. A second
# signal ends the worker at once; the server notices when the lease runs out.
set -euo pipefail

say() { echo "worker: $*" >&2; }
JOBCAST_KEY=${JOBCAST_KEY:-}
JOBCAST_KEY=${JOBCAST_KEY//[[:space:]]/}
JOBCAST_KEY=${JOBCAST_KEY#$'\xef\xbb\xbf'} # the byte order mark of some editors
if [ $# -ne 1 ] || [ -z "${JOBCAST_URL:-}" ] || [ -z "${JOBCAST_KEY:-}" ]; then
  echo "usage: JOBCAST_URL=http://... JOBCAST_KEY=jc_... worker.sh QUEUE" >&2
  exit 2
fi
for tool in curl jq; do
  command -v "$tool" >/dev/null || { say "$tool is not installed, but needed"; exit 1; }
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
deadline='' # set by the first signal: until then the job at hand may go on
child=''    # while no job is at hand: the process that a signal ends
lease=''    # of the job at hand

on_signal() {
  trap - INT TERM
  deadline=$((SECONDS + ${JOBCAST_GRACE:-10}))
  [ -z "$child" ] || kill "$child" 2>/dev/null || true
}
trap on_signal INT TERM

# shielded runs a command that Ctrl-C, which reaches all our processes, does not end.
# If the signal is faster than the shield, the command was not begun yet. Nothing but
# shielded commands may be forked for a job: so there is no $(...) below.
shielded() {
  local code=0
  (trap '' INT TERM; "$@") || code=$?
  case $code in 130 | 143) code=0; (trap '' INT TERM; "$@") || code=$? ;; esac
  return "$code"
}

# interruptible runs a command that ends when the worker is to stop.
interruptible() {
  local code=0
  "$@" & child=$!
  [ -z "$deadline" ] || kill "$child" 2>/dev/null || true # the signal was faster
  wait "$child" || code=$?
  if [ "$code" -gt 128 ]; then # the waiting was interrupted, maybe not the command
    code=0
    wait "$child" 2>/dev/null || code=$?
  fi
  child=''
  return "$code"
}

# ask METHOD PATH TYPE BODY makes one request. The key goes in on standard
# input, because everyone on the machine can see the arguments.
ask() {
  exec curl -s --max-time 40 -K - -X "$1" -H "Content-Type: $3" --data-raw "$4" \
    -o "$scratch/answer" -w '%{http_code}' "${JOBCAST_URL%/}$2" >"$scratch/status" \
    <<<"header = \"Authorization: Bearer $JOBCAST_KEY\"${lease:+$'\n'header = \"X-Lease-Token: $lease\"}"
}

# call HOW METHOD PATH TYPE BODY leaves the answer in $status and a file; HOW is
# shielded or interruptible. While the server cannot be reached, or answers 5xx,
# it tries again: a report may arrive twice, and `complete` and `fail` may be
# repeated with the same lease. It fails when the worker is to stop before that.
call() {
  local how=$1 wait=1; shift
  while :; do
    : >"$scratch/answer"
    if "$how" ask "$@"; then IFS= read -r status <"$scratch/status" || true; else status='no answer'; fi
    case $status in 'no answer' | 408 | 429 | 5??) ;; *) return 0 ;; esac
    [ -z "$deadline" ] || { [ "$how" = shielded ] && [ $((SECONDS + wait)) -le "$deadline" ]; } || return 1
    say "$status; trying again in $wait s"
    "$how" sleep "$wait" || true
    wait=$((wait < 8 ? 2 * wait : 15))
  done
}

# get NAME FILE FILTER sets a variable to what jq finds in a file: the last answer,
# or the job at hand.
get() {
  shielded jq -r "$3" "$scratch/$2" >"$scratch/value" 2>/dev/null || true
  IFS= read -r -d '' "$1" <"$scratch/value" || true
  printf -v "$1" %s "${!1%$'\n'}"
}

# tell METHOD WHAT TYPE BODY reports on the job at hand. It fails when that is
# no longer ours: cancelled, out of time, or its lease ran out.
tell() {
  call shielded "$1" "/v1/jobs/$id/$2" "$3" "$4" || { say "job $id: given up: $status"; return 1; }
  [[ $status != 2?? ]] || return 0
  get detail answer '"\(.detail) The job is \(.jobStatus)."'
  say "job $id: $2: $status $detail"
  return 1
}

# fail CLASS TEXT RETRY ends the attempt without a result.
fail() {
  say "job $id: failed: $2"
  tell POST fail application/json "{\"error\":\"$1\",\"errorMessage\":\"$2\",\"retry\":$3}"
}

# work is the work itself. Each report renews the lease (30 s, if the
# server was not told otherwise); who is silent for longer calls .../extend.
work() {
  local steps seconds step fails retry greeting result
  get steps job '[(.payload.steps? | numbers | floor) // 3, 100000] | min'
  get seconds job '(.payload.seconds? | numbers) // 1'
  for ((step = 1; step <= steps; step++)); do
    if [ -n "$deadline" ] && [ "$SECONDS" -ge "$deadline" ]; then
      fail Interrupted "the worker stops" true; return
    fi
    shielded sleep "$seconds"
    tell POST progress application/json \
      "{\"progress\":$((100 * step / steps)),\"message\":\"step $step of $steps\"}" || return
  done
  get fails job '.payload.fail? // false'
  if [ "$fails" = true ]; then
    get retry job '[.payload.retry?] != [false]'
    fail BadPayload "the payload asks for a failure" "$retry"; return
  fi
  get greeting job '"Hello, \(.payload.name? // "world")!"'
  tell PUT artifacts/greeting.txt 'text/plain; charset=utf-8' "$greeting"$'\n' || return
  get result job '{result: {greeting: "Hello, \(.payload.name? // "world")!", attempt}} | tojson'
  if ! tell POST complete application/json "$result"; then
    # A result that the server refuses for what it is must not wait for the lease's end.
    case $status in 401 | 403 | 404 | 409) return ;; 4??) ;; *) return ;; esac
    fail InvalidResult "the server refuses the result: $status" false; return
  fi
  say "job $id: completed"
}

claim=$(jq -cn --arg queue "$1" '{queues: [$queue], wait: 30}')
while [ -z "$deadline" ]; do
  call interruptible POST /v1/workers/claim application/json "$claim" || break
  [ "$status" = 200 ] || { get detail answer .detail; say "the server refuses: $status $detail"; exit 1; }
  # A server that goes down does not let us wait.
  get count answer '.jobs | length'
  [ "$count" != 0 ] || { interruptible sleep 1 || true; continue; }
  shielded jq '.jobs[0]' "$scratch/answer" >"$scratch/job"
  get id job .id
  get lease job .lease.token
  get attempt job .attempt
  say "job $id: attempt $attempt begins"
  work || true
  lease=''
done
