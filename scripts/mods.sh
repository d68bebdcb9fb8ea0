#!/usr/bin/env bash
# Checks that each module stands by itself, which a green workspace does not show: outside of go.work its go.mod and
# go.sum are tidy, its packages build and its tests compile. Then that go.work and the modules agree on versions.
# Leaves every file as it was.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

mapfile -t dirs < <(go list -m -f '{{.Dir}}')
files=(go.work go.work.sum)
for dir in "${dirs[@]}"; do
	name=.${dir#"$root"}
	files+=("$name/go.mod" "$name/go.sum")
	echo "module $name"
	(
		cd "$dir"
		export GOWORK=off
		go mod tidy -diff || { echo "$name: not tidy; run GOWORK=off go mod tidy there" >&2 && exit 1; }
		go build ./...
		go vet ./...
	)
done

echo "go work sync"
before=$(mktemp -d)
restore() {
	for i in "${!files[@]}"; do
		cmp -s "$before/$i" "${files[i]}" || cp -p "$before/$i" "${files[i]}"
	done
	rm -rf "$before"
}
for i in "${!files[@]}"; do
	cp -p "${files[i]}" "$before/$i"
done
trap restore EXIT
go work sync
differs=0
for i in "${!files[@]}"; do
	diff -u --label "${files[i]}" --label "${files[i]} after go work sync" "$before/$i" "${files[i]}" || differs=1
done
if ((differs)); then
	echo "out of step: run go work sync, then GOWORK=off go mod tidy in each module" >&2
	exit 1
fi
