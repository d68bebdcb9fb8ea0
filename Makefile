SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-builtin-variables --warn-undefined-variables
.DEFAULT_GOAL := help

COMMANDS := ingest router registry edge dev tickctl
ARGS ?=
ROUNDS ?= 1

SEED ?= 0
FOR ?= 10m
MUTANTS ?= .

.PHONY: help build dev test test-race test-browser test-compose lint mods config helm observe bench bench-short chaos chaos-short chaos-again mutants sim sim-short fuzz-short fmt clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

build: ## Put the commands into bin/: ingest router registry edge dev tickctl
	go build -trimpath -o bin/ $(foreach c,$(COMMANDS),./services/$c/cmd/$c)

dev: ## Run everything in one process: page on http://localhost:8080; flags in ARGS="--listen 127.0.0.1:8081"
	@echo "Building. The first build takes about a minute."
	@go build -trimpath -o bin/ ./services/dev/cmd/dev ./services/tickctl/cmd/tickctl
	@exec bin/dev $(ARGS)

test: ## Run all tests but the browser's; FEEDS=<folder> plays recorded exchange traffic
	@scripts/test.sh

test-race: ## The same with the race detector
	@scripts/test.sh -race

test-browser: ## Test the page in a real Chromium; installs Debian's when there is none
	@scripts/browser.sh

test-compose: ## Test docker-compose.yml; installs and starts Debian's Docker Engine when none runs, with stand-ins for images
	@scripts/compose.sh

lint: ## gofmt, vet and staticcheck over all modules; what is not for this system compiles too
	@scripts/lint.sh

mods: ## Each module builds by itself; go.mod, go.sum and go.work are tidy and in step
	@scripts/mods.sh

config: ## Write the table of docs/CONFIG.md anew, from the commands' flags
	@go test -count=1 -run '^TestConfigTable$$' ./tests/arch -args -update

helm: ## Check the charts of deploy/helm; builds helm and kubeconform the first time, some minutes
	@scripts/helm.sh

observe: ## Check alerts and dashboards; brings promtool, of Debian's, when there is none
	@scripts/observe.sh

bench: ## Measure an edge beside its baselines, into tests/load/results/; ROUNDS=7 FEEDS=<folder>; ten minutes a round
	@scripts/load.sh bench $(ROUNDS)

bench-short: ## Run each benchmark for a moment and the load test small, so that none rots
	@scripts/bench.sh 20x
	@scripts/load.sh short

chaos: ## Break two regions, 17 processes, again and again under 200 clients; FOR=10m SEED=<number>
	@scripts/chaos.sh blows $(FOR) $(SEED)

chaos-again: ## The blows that have found something once
	@scripts/chaos.sh again

mutants: ## Take out what keeps prices right, one thing at a time: chaos must show each; MUTANTS=<pattern>
	@scripts/chaos.sh mutants '$(MUTANTS)'

sim: ## Real registries and routers under up to ten million simulated clients, into tests/sim/results/; FEEDS=<folder>; 20 minutes
	@scripts/sim.sh full

sim-short: ## The same with 10 buckets, for a moment
	@scripts/sim.sh short

chaos-short: ## A minute of it, always the same
	@scripts/chaos.sh blows 1m 1

fuzz-short: ## Fuzz each decoder for some seconds
	@scripts/fuzz.sh 20000x

fmt: ## Format the Go code
	gofmt -w .

clean: ## Remove bin/
	rm -rf bin
