#!/usr/bin/env bash
# Checks what an operator looks at: Prometheus's configuration and the alert rules by promtool, each alert firing and not firing
# (tests/observe/rules_test.yml), and that dashboards and alerts ask for what the services tell. Builds promtool into bin/tools the
# first time; it comes from the Go module proxy.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -nE 's,^.*image: prom/prometheus:v3\.([0-9.]+)$,v0.3\1,p' docker-compose.yml) # the module of 3.13.1 is v0.313.1
dir=$PWD/bin/tools/promtool-$version
# Of the ways to find targets only the one that is used: the others are most of what there is to build.
[[ -d $dir ]] || GOBIN=$dir GOWORK=off go install -trimpath -tags remove_all_sd,enable_dns_sd "github.com/prometheus/prometheus/cmd/promtool@$version"
PATH=$dir:$PATH

promtool check config --lint=all --lint-fatal deploy/prometheus/prometheus.yml
promtool test rules tests/observe/rules_test.yml
go test -count=1 ./tests/observe
