# jobcast's commands. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# SQLite is C code.
export CGO_ENABLED := 1

# How long each fuzz target runs, and how long each benchmark.
FUZZTIME ?= 10s
BENCHTIME ?= 1s

# After so long a package's tests are taken for hanging. Tests wait as well as compute, so
# one package more than there are processors is tested at a time. `go vet` is a part of
# `make lint`, and is not done again. `make chaos` does
# CHAOS times as much as `make test` where chance has a part, from SEED on.
TESTTIME ?= 14m
CHAOS ?= 5
SEED := $(or $(SEED),$(shell date +%s))

# The linter is built from source once and kept outside the tree.
LINT_VERSION := v2.15.0
LINT_DIR := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/jobcast/golangci-lint-$(LINT_VERSION)
LINT := $(LINT_DIR)/golangci-lint

.PHONY: help build run test race chaos traps tools lint fuzz bench bench-dashboard bench-peers-build bench-peers pictures ci clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build ./bin/jobcast
	go build -trimpath -o bin/jobcast .

run: build ## build, serve on :3000 and run a sample job (Ctrl-C stops it)
	./bin/jobcast serve --demo

test: tools ## run every test: Go with the race detector, documents, npm clients, Chromium
	go test -race -vet=off -p $$(($$(nproc) + 1)) -timeout $(TESTTIME) ./...

race: ## run the Go tests twice with the race detector, without documents, browsers and networks
	go test -race -count=2 -timeout 10m $$(go list ./... | grep -v -e /e2e -e '/docs$$')

chaos: tools ## the tests in which chance has a part, in their long form; prints the seed (SEED=, CHAOS=)
	@echo "SEED=$(SEED) CHAOS=$(CHAOS)"
	JOBCAST_CHAOS=$(CHAOS) go test -race -count 1 -timeout 60m \
	  -run 'Conformance' ./server/conformance
	JOBCAST_CHAOS=$(CHAOS) go test -race -count 1 -timeout 60m \
	  -run 'Readers|Recovery|Rooms|Churn' ./server -rapid.seed=$(SEED) -churned-connections=5000
	JOBCAST_CHAOS=$(CHAOS) JOBCAST_SEED=$(SEED) go test -count 1 -run 'TestClients/client-model' ./e2e
	JOBCAST_CRASH_ROUNDS=30 go test -race -count 1 -timeout 60m -run Kill ./cmd

traps: tools ## every target that no page may reach, by every way out, in each Chromium that is there; 200 browser jobs that leave nothing
	JOBCAST_TRAPS=all go test -race -count 1 -timeout 20m -run Traps ./jobs/action/browser
	JOBCAST_TRAPS=all go test -race -count 1 -timeout 20m -run ManyJobs ./e2e/browser

tools: ## install what the tests need (as root), or say what is missing
	@scripts/test-tools

$(LINT):
	@echo "building golangci-lint $(LINT_VERSION) into $(LINT_DIR), once; this takes some minutes"
	GOBIN=$(LINT_DIR) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

lint: $(LINT) ## run golangci-lint, pinned, with the arrows between packages
	$(LINT) run ./...

fuzz: ## run each fuzz target for FUZZTIME (10s)
	@for pkg in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' "$$pkg" | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$target"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime "$(FUZZTIME)" "$$pkg"; \
	  done; \
	done

bench: ## run the Go benchmarks, then measure a real server; about 20 minutes, results in bench/results
	go test -run '^$$' -bench . -benchmem -benchtime "$(BENCHTIME)" ./...
	go run ./bench -out bench/results

bench-dashboard: build tools ## measure the dashboard in Chromium: first paint, frames, long tasks and memory at 1,000 events a second; 3 minutes
	cd e2e && JOBCAST_BINARY=../bin/jobcast node measure-dashboard.mjs

bench-peers-build: ## install and build the peers; redis-server and postgresql are packages of the system
	cd bench/peers && npm ci --no-audit --no-fund
	cd bench/peers/fanout && go build -o bin/ ./centrifuge ./socketio
	cd bench/peers/queues && go build -o bin/ ./river ./goqite
	cd bench/peers/queues && install -m 644 "$$(go list -m -f '{{.Dir}}' maragu.dev/goqite)/schema_sqlite.sql" bin/

bench-peers: bench-peers-build ## measure jobcast beside its peers, in turn, three times; about 60 minutes, results in bench/results
	go run ./bench -scenario peers -targets all -span 5s -out bench/results

pictures: build ## take the two pictures of the README anew, from real runs (port 3000 must be free)
	node e2e/pictures.mjs

ci: ## what the continuous integration runs
	./.ci/run

clean: ## remove what was built
	rm -rf bin e2e/node_modules
