# Hubfleet: everyday commands. `make help` lists them.
#
# Tools of the development are run at a pinned version through `go run`, so that they neither need installing nor
# stand in the product's go.mod.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

ARGS ?=
FUZZTIME ?= 20s
SEED ?= 0
DURATION ?= 5m
BENCH ?= .
HISTORIES ?= 5000

.PHONY: help
help: ## List the commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: ## Start one node on :8080 with the demo page (ARGS="--listen :8000" for flags)
	@scripts/fetch-demo-client
	@mkdir -p bin
	@go build -o bin/ ./cmd/node
	@exec bin/node $(ARGS)

.PHONY: cluster
cluster: ## Start Redis and three nodes behind a round-robin proxy on :8080, until Ctrl-C
	@scripts/fetch-demo-client
	@mkdir -p bin
	@go build -o bin/ ./cmd/node ./internal/devcluster
	@exec bin/devcluster --node bin/node $(ARGS)

.PHONY: build
build: ## Build the node into bin/, static, the same bytes wherever it is built
	@scripts/build

.PHONY: setup
setup: ## Install what the tests need: redis-server, nginx, Prometheus, Chromium, npm packages
	@scripts/setup

.PHONY: test
test: ## Run everything: checks, Go tests with -race, the official client in Node.js and Chromium
	@scripts/setup
	@scripts/test

.PHONY: generate
generate: ## Write what is made from other files: docs/configuration.md, the PrometheusRule, TypeScript for tests
	HUBFLEET_UPDATE=1 go test -count=1 -run 'TestConfigurationDocument' ./cmd/node
	HUBFLEET_UPDATE=1 go test -C internal/deploytest -count=1 -run 'TestPrometheusRule' .
	go generate ./...

.PHONY: lint
lint: ## Run only the checks: format, vet, staticcheck, go.mod, import arrows
	@scripts/lint

.PHONY: e2e
e2e: ## Run only the tests with the official client
	@scripts/setup
	@scripts/e2e

.PHONY: cluster-test
cluster-test: ## Hold 2,000 clients of three nodes, which are killed and stopped, to the truth (SEED=0 DURATION=5m)
	@scripts/setup
	go test -count=1 -timeout 0 -v -run '^TestCluster$$' ./internal/clustertest -args \
		-seed=$(SEED) -duration=$(DURATION) -connections=2000 -users=500 -rounds

.PHONY: measure-redis
measure-redis: ## Print what Redis does for each thing that happens, and the time to offline after kill -9, in about seven minutes
	@scripts/setup
	go test -run '^$$' -bench '^BenchmarkRedis$$' -benchtime 200x ./internal/clustertest
	go test -run '^$$' -bench '^BenchmarkOffline$$' -benchtime 20x -timeout 20m ./internal/clustertest

.PHONY: rolling
rolling: ## Drain and restart three nodes in turn under 1,000 clients (CLIENTS=100 for fewer)
	@scripts/setup
	@scripts/rolling

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (20s)
	@scripts/fuzz $(FUZZTIME)

.PHONY: model
model: ## Lead the scripts of presence through HISTORIES (5000) random histories on a real Redis
	go test ./pkg/presence -run 'TestModel$$' -histories $(HISTORIES) -seed $(SEED) -timeout 1h -v

.PHONY: bench
bench: ## Print what nodes cost beside the bare server, in about ten minutes (ARGS="--rows calls" for flags)
	@scripts/setup
	@mkdir -p bin
	@go build -o bin/ ./cmd/node ./loadtest
	@bin/loadtest bench --node bin/node $(ARGS)

.PHONY: gobench
gobench: ## Run the benchmarks of the packages (BENCH=regexp)
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...
