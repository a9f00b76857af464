# The commands of this project, and what each one means. `make help` prints them.
#
# CARGO_TARGET_DIR is respected: set it, and everything is built and found there.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TARGET_DIR := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
SERVER := $(abspath $(TARGET_DIR))/debug/serverv2
# Most tests of tests/it wait for a server, not for the processor: more of them than there are cores.
TEST_THREADS ?= 6

# Of `make sim`.
SEEDS ?= 100
FROM ?= 1

# Idle sockets, battles and seconds.
LOAD ?= 10000 500 60

.PHONY: help demo test check fix load setup test-rust test-clients conformance mixed compose-test sim

help: ## Print what can be made.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Build, then show a battle on three nodes that survives kill -9 of their leader.
	cargo build --locked --bin serverv2
	"$(SERVER)" demo

test: setup test-rust test-clients conformance ## Install what the tests need, then run all of them.

check: ## Format, lints, licences: reads only.
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@bash tests/setup/deny.sh

fix: ## Format the code in place.
	cargo fmt --all

load: ## Fill a node with 10,000 idle sockets and 500 battles; fails if anybody suffers. Set LOAD for others.
	cargo bench --locked --bench load -- $(LOAD)

setup: ## Install the programs and packages that the tests need; quick when they are there.
	@bash tests/setup/debian.sh
	@bash tests/setup/node.sh
	@bash tests/setup/python.sh

test-rust: ## Unit tests, property tests, and tests/it against real processes.
	cargo test --locked --workspace -- --test-threads=$(TEST_THREADS)

test-clients: ## Clients that others wrote: socket.io-client and python-socketio.
	@# As the tests build it: dependencies with other features would all be built once more.
	cargo test --locked --workspace --no-run
	SERVERV2_BIN="$(SERVER)" bash tests/setup/run-clients.sh

sim: ## SEEDS clusters (100) in simulated time, with chaos, from seed FROM (1); each is the same again.
	@# As the tests build it: dependencies with other features would all be built once more.
	cargo test --locked --workspace --no-run
	"$(abspath $(TARGET_DIR))/debug/serverv2-sim" --seeds $(SEEDS) --from $(FROM)

mixed: ## A battle while nodes of the commit PREVIOUS become this version, one by one.
	SERVERV2_PREVIOUS="$$(bash tests/setup/previous.sh "$(PREVIOUS)" "$(abspath $(TARGET_DIR))/previous")" \
		cargo test --locked --test it -- --ignored a_real_older_build

compose-test: ## The containers of docker-compose.yml, killed and cut off while players fight; as root on Debian.
	@bash tests/setup/debian.sh
	@bash tests/setup/node.sh
	cargo test --locked --workspace --no-run
	SERVERV2_BIN="$(SERVER)" bash tests/compose/run.sh

conformance: ## The contract, asked of BASE_URL=http://…[,…], or else of one and of three nodes built here.
ifndef BASE_URL
	cargo test --locked --workspace --no-run
endif
	SERVERV2_BIN="$(SERVER)" BASE_URL="$(BASE_URL)" bash tests/setup/run-conformance.sh $(CONFORMANCE)
