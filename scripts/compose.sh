#!/usr/bin/env bash
# Tests docker-compose.yml. Its arguments go to `go test`.
#
# Where a Docker Engine runs it is used, with the images that the file names. Where none does, Debian's is installed and
# started for the time of the test, with a folder of its own, and gets stand-ins for the images, see
# tests/compose/standins.sh: no image registry is needed. The folder COMPOSE_CACHE keeps what is made for the next run.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${COMPOSE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tickfan-compose}
mkdir -p "$cache/bin" "$cache/cli/cli-plugins"
cache=$(cd "$cache" && pwd)

engine=
stop() {
	[[ -n $engine ]] || return 0
	kill "$engine" && wait "$engine" || true
}
trap stop EXIT

args=()
if docker info >/dev/null 2>&1; then
	echo "A Docker Engine runs: it is used, with the images that docker-compose.yml names."
else
	if ((EUID != 0)); then
		echo "SKIP: no Docker Engine runs, and only root may start one"
		exit 0
	fi
	if ! command -v dockerd >/dev/null || ! command -v iptables >/dev/null || ! command -v wget >/dev/null; then
		command -v apt-get >/dev/null || { echo "no dockerd, and no apt-get to install it with" >&2 && exit 1; }
		apt-get update
		DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends docker.io iptables wget
	fi
	export DOCKER_HOST=unix://$cache/docker.sock
	dockerd --host "$DOCKER_HOST" --data-root "$cache/docker" --exec-root "$cache/run" --pidfile "$cache/docker.pid" \
		>"$cache/dockerd.log" 2>&1 &
	engine=$!
	until docker info >/dev/null 2>&1; do
		if ! kill -0 "$engine" 2>/dev/null; then
			engine=
			echo "SKIP: dockerd does not run here; the end of $cache/dockerd.log:"
			tail -5 "$cache/dockerd.log"
			exit 0
		fi
		sleep 0.2
	done
	tests/compose/standins.sh "$DOCKER_HOST" "$cache/standins"
	args=(-overrides "$(<"$cache/standins/overrides")")
fi

# The tools come from modules, in the versions that tests/compose/tools pins.
if ! docker compose version >/dev/null 2>&1; then
	export DOCKER_CONFIG=$cache/cli
	(cd tests/compose/tools/compose && GOWORK=off go build -trimpath -o "$cache/cli/cli-plugins/docker-compose" github.com/docker/compose/v2/cmd)
fi
(cd tests/compose/tools/nats && GOWORK=off go build -trimpath -o "$cache/bin/nats" github.com/nats-io/natscli/nats)

PATH=$cache/bin:$PATH go test -count=1 -v -timeout 30m ./tests/compose "$@" -args -compose "${args[@]}"
