# Kiln's commands. `make help` lists them.

SHELL := /bin/bash
GO ?= go
BIN := bin
TOOLS := $(BIN)/tools
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
GOLANGCI_VERSION := v2.15.0

export GOFLAGS := -buildvcs=false

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## Install the Debian packages that Kiln needs
	@scripts/deps run

.PHONY: build
build: kiln kiln-arm64 ## Build bin/kiln, one static binary, and bin/kiln-arm64

# The guest kernel's executable is embedded: it is a third of bin/kiln, and
# each start of a sandbox executes it three times.
GUEST := sandbox/gvisor/guest.bin
define build_kiln
	CGO_ENABLED=0 GOARCH=$(1) $(GO) build -trimpath -ldflags '-s -w' -o $(GUEST) ./sandbox/gvisor/guest
	CGO_ENABLED=0 GOARCH=$(1) $(GO) build -trimpath -tags embedguest -ldflags '$(LDFLAGS)' -o $(2) ./cmd/kiln
endef

.PHONY: kiln
kiln: ## Build bin/kiln for this machine only
	$(call build_kiln,$(shell $(GO) env GOARCH),$(BIN)/kiln)

.PHONY: kiln-arm64
kiln-arm64:
	$(call build_kiln,arm64,$(BIN)/kiln-arm64)

.PHONY: demo
demo: ## Install what is missing, start Kiln, deploy the examples, invoke them
	@scripts/deps run
	@$(MAKE) --no-print-directory kiln
	@scripts/demo

.PHONY: test
test: ## Install what the tests need and run all of them
	@scripts/deps test
	@$(MAKE) --no-print-directory kiln
	@scripts/test

.PHONY: test-fast
test-fast: ## Run the tests that need neither root nor the network
	$(GO) test -short ./...

.PHONY: lint
lint: $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION) ## Check formatting, vet and the linters
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$< run

$(TOOLS)/golangci-lint-$(GOLANGCI_VERSION):
	GOBIN=$(abspath $(TOOLS)) CGO_ENABLED=0 $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(TOOLS)/golangci-lint $@

.PHONY: bench
bench: ## Measure warm and cold starts beside a direct call and AWS's emulator
	@scripts/deps bench
	@$(MAKE) --no-print-directory kiln
	@scripts/bench

.PHONY: generate
generate: ## Write the generated code again (needs botocore)
	$(GO) generate ./...

.PHONY: clean
clean: ## Remove what was built
	rm -rf $(BIN)
