#!/usr/bin/env bash
# The chaos suite: "chaos.sh blows <time> <seed>" deals blows for that long, which the seed draws; 0 draws others each time.
# "chaos.sh again" deals those that have found something once, "chaos.sh mutants <pattern>" deals some to wrong builds, which
# must show.
set -euo pipefail
cd "$(dirname "$0")/.."
form=$1
# What deals blows for a time takes some more to start, and for the last one.
run=(go test -count=1 -v -timeout 2h ./tests/chaos)
case $form in
blows) run+=(-run '^TestChaos$' -args -for="$2" -seed="$3") ;;
again) run+=(-run '^TestRegressions$' -args -regressions) ;;
mutants) run+=(-run '^TestMutants$' -args -mutants="$2") ;;
esac

# A full disk takes a small one of its own, and to mount that, rights which one has among one's own mounts, where the system
# allows it.
if unshare --map-root-user --mount true 2>/dev/null; then
	exec unshare --map-root-user --mount "${run[@]}"
fi
exec "${run[@]}"
