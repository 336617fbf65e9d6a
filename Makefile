.DEFAULT_GOAL := help
.PHONY: help run test lint build fuzz benchmark bench profile chaos clean

VERSION = $(shell git describe --always --dirty 2>/dev/null || echo unknown)
LINTER_VERSION := v2.15.0
LINTER := $(shell go env GOPATH)/bin/golangci-lint-$(LINTER_VERSION)
FUZZTIME ?= 10s

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' Makefile

run: ## Start the shop, its board and its own database
	@.ci/setup $(if $(DATABASE_URL),,postgres)
	@CGO_ENABLED=0 go run ./app

test: build bin/frenchpress-failpoints ## Run all tests, those in the browser and two minutes of chaos included
	@.ci/setup postgres chromium cc
	go test -race -pgo=off -shuffle=on -timeout=20m ./...
	cd bench && go test -race -shuffle=on -timeout=5m ./...
	cd bench && go run . chaos --short

lint: $(LINTER) ## Look for faults without running anything (slow the first time)
	go vet ./...
	$(LINTER) run ./...
	cd bench && go vet ./... && $(LINTER) run --config ../.golangci.yml ./...

# Outside the checkout, for it takes a minute to build.
$(LINTER):
	dir=$$(mktemp -d) && \
	GOBIN=$$dir go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINTER_VERSION) && \
	mkdir -p $(@D) && mv $$dir/golangci-lint $@ && rmdir $$dir

build: ## Make bin/frenchpress
	CGO_ENABLED=0 go build -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/frenchpress ./app

# The program that can be told to die at a boundary of the payment path; rebuilt each time, as go build is quick to see.
.PHONY: bin/frenchpress-failpoints
bin/frenchpress-failpoints:
	CGO_ENABLED=0 go build -trimpath -tags failpoints -o $@ ./app

fuzz: ## Fuzz each target for FUZZTIME (10s)
	@.ci/setup postgres
	@set -e; for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			go test -pgo=off -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$package; \
		done; \
	done

benchmark: ## Run the Go benchmarks
	@.ci/setup postgres
	go test -run '^$$' -bench . -benchmem ./...

bench: build ## Measure a chain's record day for half an hour, and write the README's table
	@.ci/setup postgres
	cd bench && go run . suite

profile: build ## Record where the program spends its time in a rush: go build reads app/default.pgo
	@.ci/setup postgres
	cd bench && go run . profile

chaos: bin/frenchpress-failpoints ## Break everything several hundred times, for an hour, and write the README's table of it
	@.ci/setup postgres
	cd bench && go run . chaos --json ../docs/bench/chaos.json --readme ../README.md

clean: ## Remove what build made
	rm -rf bin
