#!/usr/bin/env bash
# The load test: "load.sh bench <rounds>" runs scenarios A to J beside their baselines and writes tests/load/results/;
# "load.sh short" runs them all small and fails where a client is told something wrong, never for a time.
#
# FEEDS names a folder of recorded exchange traffic, see scripts/test.sh; scenario G plays it.
set -euo pipefail

form=$1
rounds=${2:-1}
if [[ $(uname) != Linux ]]; then
	echo "The load test needs Linux (epoll, /proc): not run." >&2
	exit 0
fi
feeds=${FEEDS:-}
unset FEEDS
if [[ -n $feeds ]]; then
	if [[ ! -d $feeds/frames ]]; then
		echo "FEEDS=$feeds: no such folder with frames/ in it (seen from $PWD)" >&2
		exit 1
	fi
	FEEDS=$(cd "$feeds" && pwd)
	export FEEDS
fi

cd "$(dirname "$0")/.."
# Nothing may hang for ever: a round takes less than 20 minutes, the short form less than 2.
limit=5m
[[ $form == short ]] || limit=$((10 + 25 * rounds))m
exec go test -count=1 -v -timeout "$limit" -run '^TestLoad$' ./tests/load -args -load="$form" -rounds="$rounds"
