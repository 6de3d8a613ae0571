#!/bin/sh
# STANDARD executions that are kept on disk: starts per second that `quickstep serve --data-dir` acknowledges.
#
#   benches/http/standard.sh [SECONDS [CONNECTIONS [QUICKSTEP]]]
#
# Needs wrk, curl and jq. Starts a server of its own on a free port, with a directory of its own, and ends it. Afterwards it holds
# the number of executions that the server lists against what was acknowledged, and tells processor time, memory and
# bytes on disk for each.
set -eu
seconds=${1:-60}
connections=${2:-64}
cd "$(dirname "$0")/../.."
quickstep=${3:-target/release/quickstep}
directory=$(mktemp -d)
"$quickstep" serve --addr 127.0.0.1:0 --data-dir "$directory/data" 2>"$directory/log" &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$directory"' EXIT
while ! grep -q 'http://' "$directory/log"; do
  kill -0 "$server" || { cat "$directory/log"; exit 1; }
  sleep 0.1
done
url=$(grep -o 'http://[0-9.:]*' "$directory/log" | head -1)

call() {
  curl -sS -H "X-Amz-Target: AWSStepFunctions.$1" -H 'Content-Type: application/x-amz-json-1.0' -d "$2" "$url/"
}

definition=$(jq -c . benches/data/order_notask.asl.json | jq -Rs .)
machine=$(call CreateStateMachine "{\"name\":\"order\",\"definition\":$definition,\"roleArn\":\"arn:aws:iam::123456789012:role/r\"}" |
  jq -r .stateMachineArn)
head -200 benches/data/order.ndjson >"$directory/events"
before=$(cut -d' ' -f14,15 "/proc/$server/stat" | tr ' ' '+')
output=$(wrk -t2 -c"$connections" -d"$seconds" -s benches/http/standard.lua "$url" -- "$machine" "$directory/events")
after=$(cut -d' ' -f14,15 "/proc/$server/stat" | tr ' ' '+')
echo "$output" | tail -1
acknowledged=$(echo "$output" | tail -1 | cut -d' ' -f1)
ticks=$(getconf CLK_TCK)
echo "processor: $(( (($after) - ($before)) * 1000000 / ticks / acknowledged )) us for each"
grep -E 'VmRSS|VmHWM' "/proc/$server/status"
echo "disk: $(( $(stat -c %s "$directory/data/executions.redb") / acknowledged )) bytes for each"
# What was acknowledged is listed; what was under way at the end may be, too.
listed=0
token=
while :; do
  page=$(call ListExecutions "{\"stateMachineArn\":\"$machine\",\"maxResults\":1000,\"statusFilter\":\"SUCCEEDED\"${token:+,\"nextToken\":\"$token\"}}")
  listed=$((listed + $(echo "$page" | jq '.executions | length')))
  token=$(echo "$page" | jq -r '.nextToken // empty')
  [ -n "$token" ] || break
done
echo "listed: $listed"
[ "$listed" -ge "$acknowledged" ] || { echo "some that were acknowledged are lost" >&2; exit 1; }
[ "$listed" -le $((acknowledged + connections)) ] || { echo "there are more than were started" >&2; exit 1; }
