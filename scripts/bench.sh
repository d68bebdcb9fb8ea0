#!/usr/bin/env bash
# Runs every benchmark of all modules; the argument is go test's -benchtime. Packages without benchmarks are left out,
# which saves linking their tests.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t packages < <(grep -rlE --include='*_test.go' '^func Benchmark[A-Z]' . | xargs -r -n 1 dirname | sort -u)
if ((${#packages[@]} == 0)); then
	echo "no benchmark found" >&2
	exit 1
fi
exec go test -run '^$' -bench . -benchmem -benchtime "$1" "${packages[@]}"
