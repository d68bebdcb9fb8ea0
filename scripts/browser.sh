#!/usr/bin/env bash
# Tests the page in a real Chromium, Debian's if there is none yet; CHROMIUM names another. Its arguments go to `go test`.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ -z ${CHROMIUM:-} ]] && ! command -v chromium chromium-browser google-chrome >/dev/null; then
	if ! command -v apt-get >/dev/null; then
		echo "no chromium in PATH, and no apt-get to install it with" >&2
		exit 1
	fi
	sudo=()
	((EUID == 0)) || sudo=(sudo)
	export DEBIAN_FRONTEND=noninteractive
	"${sudo[@]}" apt-get update
	"${sudo[@]}" apt-get install -y --no-install-recommends chromium
fi

cd tests
exec go test -count=1 -tags browser "$@" ./browser/...
