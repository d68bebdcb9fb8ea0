#!/usr/bin/env bash
# Checks the Go code of all modules: format, vet, staticcheck, and that what is not for this system compiles too.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "gofmt"
unformatted=$(gofmt -l .)
if [[ -n $unformatted ]]; then
	printf 'gofmt would change (run make fmt):\n%s\n' "$unformatted" >&2
	exit 1
fi

echo "go vet"
go vet work
go vet -tags browser,helm ./tests/browser/... ./tests/helm/...

echo "staticcheck"
go tool staticcheck work
go tool staticcheck -tags browser,helm ./tests/browser/... ./tests/helm/...

echo "build and vet for darwin/arm64"
export GOOS=darwin GOARCH=arm64
go build work
go vet work
