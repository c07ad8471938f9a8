# Everything a person does with this repository. `make help` lists it.

GO     ?= go
BIN    := bin
ASSAY  := $(BIN)/assay
FUZZ   ?= 30s

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build bin/assay
	@mkdir -p $(BIN)
	$(GO) build -ldflags '-s -w' -o $(ASSAY) ./cmd/assay

.PHONY: release
release: ## Build the files of a release, VERSION=v1.2.0, into bin/release: what the Action downloads
	@mkdir -p $(BIN)/release
	for arch in amd64 arm64; do CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN)/release/assay-linux-$$arch ./cmd/assay || exit 1; done
	cd $(BIN)/release && sha256sum assay-linux-* >checksums.txt

.PHONY: demo
demo: build ## Show the whole way on this machine (DEMO=--keep leaves the registries up)
	@$(ASSAY) demo $(DEMO)

.PHONY: test
test: ## Run all tests
	@./test/run

TOOLS := .cache/tools

.PHONY: test-scanners
test-scanners: $(TOOLS)/trivy $(TOOLS)/grype $(TOOLS)/mkgrypedb $(TOOLS)/osv-scanner ## Test with the real trivy, grype and osv-scanner; builds them first (half an hour, once)
	$(GO) test -tags scanners -count 1 -timeout 30m ./test/scanners

# Each has a module of its own, so that it is built with what its makers tested it with, and ours stays small.
$(TOOLS)/trivy: test/scanners/tools/trivy/go.mod
	cd $(<D) && GOEXPERIMENT=jsonv2 $(GO) build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/aquasecurity/trivy/cmd/trivy

$(TOOLS)/grype: test/scanners/tools/grype/go.mod
	cd $(<D) && $(GO) build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/anchore/grype/cmd/grype

$(TOOLS)/mkgrypedb: test/scanners/tools/grype/go.mod test/scanners/tools/grype/mkdb/main.go
	cd $(<D) && $(GO) build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ ./mkdb

$(TOOLS)/osv-scanner: test/scanners/tools/osv-scanner/go.mod
	cd $(<D) && $(GO) build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/google/osv-scanner/v2/cmd/osv-scanner

SIGNING := fulcio timestamp-server rekor-server cosign2 cosign3

.PHONY: test-signing
test-signing: build $(SIGNING:%=$(TOOLS)/%) ## Test signing without a key with the real Fulcio, timestamp authority, Rekor and cosign; builds them first (half an hour, once), then takes ten minutes (SHORT=-short: seconds)
	$(GO) test -tags signing -count 1 -timeout 30m $(SHORT) ./test/signing

.PHONY: test-policy-controller
test-policy-controller: build $(TOOLS)/policytester ## Test that sigstore policy-controller admits what is signed and nothing else; builds its tester first (some minutes, once)
	$(GO) test -tags policycontroller -count 1 ./test/signing

$(TOOLS)/policytester: test/signing/tools/policytester/go.mod
	cd $(<D) && CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/sigstore/policy-controller/cmd/tester

$(TOOLS)/fulcio: test/signing/tools/fulcio/go.mod
	cd $(<D) && CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/sigstore/fulcio

$(TOOLS)/timestamp-server: test/signing/tools/timestamp/go.mod
	cd $(<D) && CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server

$(TOOLS)/rekor-server: test/signing/tools/rekor/go.mod
	cd $(<D) && CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix

$(TOOLS)/cosign2: test/signing/tools/cosign2/go.mod
	cd $(<D) && CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/sigstore/cosign/v2/cmd/cosign

$(TOOLS)/cosign3: test/signing/tools/cosign3/go.mod
	cd $(<D) && CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/sigstore/cosign/v3/cmd/cosign

.PHONY: test-actions
test-actions: $(TOOLS)/act ## Run the workflows and the Action for real, with act, on loopback; builds act first (a minute, once), then takes some minutes
	ASSAY_TEST_TOOLS=$(CURDIR)/$(TOOLS) $(GO) test -tags actions -count 1 -timeout 30m ./test/actions

$(TOOLS)/act: test/actions/tools/act/go.mod
	cd $(<D) && $(GO) build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/nektos/act

.PHONY: race
race: ## Run all tests with the race detector
	$(GO) test -race ./...

.PHONY: generate
generate: ## Write the generated documents anew
	$(GO) generate ./...

.PHONY: update-golden
update-golden: ## Write the golden files of the tests anew; read the difference before you commit it
	$(GO) test ./cmd/assay ./reconcile/report ./examples/... -update

.PHONY: look
look: ## Show the comments on pull requests as GitHub would, in bin/look.html
	@mkdir -p $(BIN)
	@$(GO) test ./reconcile/report -count 1 -run '^TestLook$$' -look $(CURDIR)/$(BIN)/look.html >/dev/null
	@echo '$(BIN)/look.html'

.PHONY: fmt
fmt: ## Format the code and the example catalogs
	gofmt -w cmd reconcile catalog-schema examples action test
	$(GO) run ./cmd/assay fmt examples

.PHONY: lint
lint: ## Run the linters, layers included
	@mkdir -p $(BIN)
	@test -x $(BIN)/golangci-lint || GOBIN=$(CURDIR)/$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(shell cat .golangci-version)
	$(BIN)/golangci-lint run

.PHONY: check
check: ## Format, vet, lint, test, and generated documents up to date
	@test -z "$$(gofmt -l cmd reconcile catalog-schema examples action test)" || { gofmt -l cmd reconcile catalog-schema examples action test; exit 1; }
	$(GO) vet ./...
	$(GO) generate ./...
	@git diff --exit-code -- '*.md' || { echo 'generated documents were out of date: commit the change'; exit 1; }
	$(MAKE) lint
	$(MAKE) test

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZ (default 30s)
	@set -e; for f in $$(grep -rlE '^func Fuzz' --include='*_test.go' .); do \
	  for t in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*).*/\1/p' $$f); do \
	    echo "$$(dirname $$f) $$t"; $(GO) test ./$$(dirname $$f) -run '^$$' -fuzz "^$$t\$$" -fuzztime $(FUZZ) -fuzzminimizetime 1s; done; done

.PHONY: bench
bench: ## Measure against crane, regsync and skopeo (BENCH='-cases "M cold" -runs 1' for a part)
	$(GO) run ./test/bench $(BENCH)

.PHONY: clean
clean: ## Remove what was built
	rm -rf $(BIN)
