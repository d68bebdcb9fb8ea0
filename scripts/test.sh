#!/usr/bin/env bash
# Runs the tests of all modules. Its arguments go to `go test`.
#
# FEEDS names a folder of recorded exchange traffic; the tests run in folders of their own, so they get its absolute
# path. Without it they play the small fixtures that the project has itself.
set -euo pipefail

feeds=${FEEDS:-}
unset FEEDS
if [[ -z $feeds ]]; then
	echo "FEEDS is not set: the tests run on the project's own fixtures."
elif [[ ! -d $feeds/frames ]]; then
	echo "FEEDS=$feeds: no such folder with frames/ in it (seen from $PWD)" >&2
	exit 1
else
	FEEDS=$(cd "$feeds" && pwd)
	export FEEDS
fi

cd "$(dirname "$0")/.."
# No cached results: a test that builds and starts our commands would not be run again when only these have changed.
exec go test -count=1 "$@" work
