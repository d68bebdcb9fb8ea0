#!/usr/bin/env bash
# Checks that each module stands by itself, which a green workspace does not show: outside of go.work its go.mod and
# go.sum are tidy, its packages build and its tests compile. Then that go.work and the modules agree on versions.
# Leaves every file as it was.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t mods < <(find . -name go.mod -not -path './.*/*' | sort)
files=(go.work go.work.sum "${mods[@]}" "${mods[@]/%go.mod/go.sum}")
before=$(mktemp -d)
restore() {
	for i in "${!files[@]}"; do
		cmp -s "$before/$i" "${files[i]}" || cp -p "$before/$i" "${files[i]}"
	done
	rm -rf "$before"
}
# Before the first go command: any may mend go.work.sum.
for i in "${!files[@]}"; do
	cp -p "${files[i]}" "$before/$i"
done
trap restore EXIT

for mod in "${mods[@]}"; do
	dir=${mod%/*}
	echo "module $dir"
	(
		cd "$dir"
		export GOWORK=off
		go mod tidy -diff || { echo "$dir: not tidy; run GOWORK=off go mod tidy there" >&2 && exit 1; }
		[[ $dir != ./tests/compose/tools/* ]] || exit 0 # it has no packages
		go build ./...
		go vet ./...
	)
done

echo "go work sync"
go work sync
go tool -n staticcheck >/dev/null # completes go.work.sum, which sync does not
differs=0
for i in "${!files[@]}"; do
	diff -u --label "${files[i]}" --label "${files[i]} after go work sync" "$before/$i" "${files[i]}" || differs=1
done
if ((differs)); then
	echo "out of step: run go work sync and GOWORK=off go mod tidy in each module, then make lint" >&2
	exit 1
fi
