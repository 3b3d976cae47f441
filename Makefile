# The doors of the house. `make demo` runs the main job, `make test` sets up what the tests need and runs them all,
# `make check` is what a change must pass. CARGO_FLAGS is handed to cargo, as in `make check CARGO_FLAGS=--offline`.

SHELL := /bin/bash
CARGO ?= cargo
TARGET := target
BINARY := $(TARGET)/runner
PREFIX ?= $(HOME)/.local

# What the targets for clusters call, and the cluster that they mean. OPTIONS go to `runner cloud launch`; YES=--yes lets
# it and the end go ahead without asking.
RUNNER ?= $(BINARY)
CLUSTER ?= runner
OPTIONS ?=
YES ?=

.PHONY: help demo build install test check format lint simulate chaos bench setup clean cluster workers.txt ssh teardown

help: ## these targets
	@grep -hE '^[a-z.]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

demo: ## build what the main job needs, and count the words of the dependencies' sources on this machine's cores
	scripts/demo

build: ## the static release binary, at target/runner
	$(CARGO) build --release $(CARGO_FLAGS)
	scripts/link-binary release $(BINARY)

install: build ## the binary in $(PREFIX)/bin
	install -Dm755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/runner

setup: ## what the tests need: through the system's package manager, and moto for the tests against EC2
	scripts/setup
	-@scripts/moto >/dev/null # without it, those tests say SKIPPED

test: setup ## all tests, those of the ec2 feature included
	$(CARGO) test $(CARGO_FLAGS)

check: format lint test ## format, clippy and rustdoc without warnings, then all tests; CI runs this

format:
	$(CARGO) fmt --check

lint:
	$(CARGO) clippy --all-targets $(CARGO_FLAGS) -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items $(CARGO_FLAGS)

simulate: ## many more simulated fleets: make simulate SEEDS=100000
	SEEDS=$(or $(SEEDS),100000) LARGE_SEEDS=10 LARGE_TASKS=1000000 $(CARGO) test --release --no-default-features --test simulation $(CARGO_FLAGS) -- --nocapture

chaos: ## real jobs on real hosts to which real things happen: make chaos SECONDS=600 SEED=7
	CHAOS_SECONDS=$(or $(SECONDS),600) CHAOS_SEED=$(or $(SEED),1) \
		$(CARGO) test --no-default-features --test chaos $(CARGO_FLAGS) -- --nocapture

bench: ## comparisons with the usual tools, side by side: make bench ONLY=sort
	scripts/bench $(ONLY)

$(BINARY):
	$(MAKE) build

cluster: $(RUNNER) ## machines from EC2: make cluster OPTIONS='--count 4 --type m7i.large'
	$(RUNNER) cloud launch $(CLUSTER) $(YES) $(OPTIONS)

workers.txt: $(RUNNER) ## their lines for workers.txt
	$(RUNNER) cloud hosts $(CLUSTER) >$@.new
	mv $@.new $@

ssh: $(RUNNER) ## a login to the first of them, or to HOST=
	$(RUNNER) cloud ssh $(CLUSTER) $(HOST)

teardown: $(RUNNER) ## their end
	$(RUNNER) cloud terminate $(CLUSTER) $(YES)

clean: ## everything that was built
	$(CARGO) clean
