#!/usr/bin/env bash
# The simulation: "sim.sh full" goes up to ten million clients and writes tests/sim/results/; "sim.sh short" runs it with
# 10 buckets.
#
# FEEDS names a folder of recorded exchange traffic, see scripts/test.sh; its bursts are played. Without it they are made
# up.
set -euo pipefail

form=$1
if [[ $(uname) != Linux ]]; then
	echo "The simulation needs Linux (/proc): not run." >&2
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
limit=10m
[[ $form == short ]] || limit=1h
exec go test -count=1 -v -timeout "$limit" -run '^TestSim$' ./tests/sim -args -sim="$form"
