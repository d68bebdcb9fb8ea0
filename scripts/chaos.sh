#!/usr/bin/env bash
# The chaos suite: "chaos.sh <time> <seed>" deals blows for that long, which the seed draws; 0 draws others each time.
set -euo pipefail
cd "$(dirname "$0")/.."
for=$1
seed=$2
# What deals blows for a time takes some more to start, and for the last one.
run=(go test -count=1 -v -timeout 2h -run '^TestChaos$' ./tests/chaos -args -for="$for" -seed="$seed")

# A full disk takes a small one of its own, and to mount that, rights which one has among one's own mounts, where the system
# allows it.
if unshare --map-root-user --mount true 2>/dev/null; then
	exec unshare --map-root-user --mount "${run[@]}"
fi
exec "${run[@]}"
