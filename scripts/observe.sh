#!/usr/bin/env bash
# Checks what an operator looks at: Prometheus's configuration and the alert rules, each seen firing and not firing
# (tests/observe/rules_test.yml), and that dashboards and alerts ask for what the services tell. The first two by promtool, Debian's
# if there is none: to build it takes longer than all else here.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v promtool >/dev/null; then
	dir=$PWD/bin/tools/prometheus
	if [[ ! -x $dir/promtool ]]; then
		if ! command -v apt-get >/dev/null; then
			echo "no promtool in PATH, and no apt-get to get it with" >&2
			exit 1
		fi
		work=$(mktemp -d)
		trap 'rm -rf "$work"' EXIT
		(cd "$work" && { apt-get -qq download prometheus || { sudo=() && ((EUID == 0)) || sudo=(sudo) && "${sudo[@]}" apt-get -qq update && apt-get -qq download prometheus; }; })
		dpkg -x "$work"/prometheus_*.deb "$work/prometheus"
		mkdir -p "$dir"
		mv "$work/prometheus/usr/bin/promtool" "$dir" # alone: there are Go modules among the examples
	fi
	PATH=$PATH:$dir
fi
promtool --version | head -1

promtool check config --lint=all --lint-fatal deploy/prometheus/prometheus.yml
promtool test rules tests/observe/rules_test.yml
go test -count=1 ./tests/observe
