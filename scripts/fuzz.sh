#!/usr/bin/env bash
# Runs every fuzz test of all modules one after the other, which is how go test can; the argument is its -fuzztime. Give
# a number of runs (50000x) rather than a time: at the end of a time go test may fail with "context deadline exceeded"
# although nothing was found (golang.org/issue/75804).
set -euo pipefail
cd "$(dirname "$0")/.."

found=0
while IFS=: read -r file func; do
	found=1
	func=${func#func }
	echo "$func in ${file%/*}"
	go test -run '^$' -fuzz "^$func\$" -fuzztime "$1" -fuzzminimizetime 100x "${file%/*}" </dev/null
done < <(grep -roE --include='*_test.go' '^func Fuzz[A-Z][A-Za-z0-9_]*' . | sort)
if ((!found)); then
	echo "no fuzz test found" >&2
	exit 1
fi
