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

# Of `make sim`: seeds A..B, or how many from 1 on.
SEEDS ?= 100

# Idle sockets, battles and seconds.
LOAD ?= 10000 500 60

# Of a run of chaos: its mode, its seed (drawn if empty), how long, the binary (else one that is built here). Of `make sim`: one
# seed alone, and how long where that is said.
MODE ?= proxy
SEED ?=
FOR ?= 90s
SERVERV2_BIN ?=
# `fine` where a machine may be too busy to be broken as planned: such a run says nothing, and is no failure.
UNKNOWN ?=
# Which bugs are planted: all if empty.
BUGS ?=

.PHONY: help demo test check fix load setup test-rust test-clients conformance mixed compose-test chaos netns-test bugs sim

help: ## Print what can be made.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Build, then show a battle on three nodes that survives kill -9 of their leader.
	@# With the features of all programs: dependencies with others would all be built once more after `make test`.
	cargo build --locked --workspace --bin serverv2
	"$(SERVER)" demo

test: setup test-rust test-clients conformance ## Install what the tests need, then run all of them.

check: ## Format, lints, licences: reads only.
	cargo fmt --all --check
	@# All targets, but not the tests inside the library that the simulation compiles: those are of `raft`.
	cargo clippy --locked --workspace --lib --bins --tests --benches -- -D warnings
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

mixed: ## A battle while nodes of the commit PREVIOUS, of behaviour level 1, become this version, one by one.
	SERVERV2_PREVIOUS="$$(bash tests/setup/previous.sh "$(PREVIOUS)" "$(abspath $(TARGET_DIR))/previous")" \
		cargo test --locked --test it -- --ignored a_real_older_build

compose-test: ## The containers of docker-compose.yml, killed and cut off while players fight; as root on Debian.
	@bash tests/setup/debian.sh
	@bash tests/setup/node.sh
	cargo test --locked --workspace --no-run
	SERVERV2_BIN="$(SERVER)" bash tests/compose/run.sh
	cargo build --locked --workspace --bin serverv2 --bin chaos
	SERVERV2_BIN="$(SERVER)" CHAOS_BIN="$(abspath $(TARGET_DIR))/debug/chaos" bash tests/compose/signals.sh

conformance: ## The contract, asked of BASE_URL=http://…[,…], or else of one and of three nodes built here.
ifndef BASE_URL
	cargo test --locked --workspace --no-run
endif
	SERVERV2_BIN="$(SERVER)" BASE_URL="$(BASE_URL)" bash tests/setup/run-conformance.sh $(CONFORMANCE)

chaos: ## Break a cluster of three for FOR=90s by the plan of SEED, judge it, and write target/chaos/…/report.html. MODE=netns as root.
	@# All programs in one go: dependencies with other features would all be built once more.
	cargo build --locked --workspace --bin serverv2 --bin chaos
	"$(abspath $(TARGET_DIR))/debug/chaos" run --mode $(MODE) $(if $(SEED),--seed $(SEED)) --for $(FOR) \
		--server "$(if $(SERVERV2_BIN),$(SERVERV2_BIN),$(SERVER))" --out "$(abspath $(TARGET_DIR))/chaos" \
		|| { status=$$?; [[ $$status == 2 && "$(UNKNOWN)" == fine ]]; }

netns-test: ## What the kernel does to packets in chaos's mode netns, and that nothing outlives it; as root on Linux.
	@bash tests/setup/debian.sh
	@bash tests/setup/node.sh
	cargo build --locked --workspace --bin serverv2 --bin chaos
	SERVERV2_BIN="$(SERVER)" CHAOS_BIN="$(abspath $(TARGET_DIR))/debug/chaos" \
		CHAOS_TESTS="$$(cargo test --locked --workspace --bin chaos --no-run --message-format=json 2>/dev/null | \
			sed -n 's/.*"executable":"\([^"]*chaos-[^"]*\)".*/\1/p')" bash tests/netns/run.sh

bugs: ## Plant one bug after the other in a server and see that chaos notices. BUGS=--only a,b or "--rotate 5" for some.
	@# All programs in one go: dependencies with other features would all be built once more.
	cargo build --locked --workspace --bin serverv2 --bin chaos --features planted
	@# A name of its own, so that nothing else takes this binary for the server.
	mkdir -p "$(abspath $(TARGET_DIR))/planted" && cp "$(SERVER)" "$(abspath $(TARGET_DIR))/planted/serverv2"
	"$(abspath $(TARGET_DIR))/debug/chaos" bugs $(if $(SEED),--seed $(SEED)) $(BUGS) --out "$(abspath $(TARGET_DIR))/chaos/bugs" \
		--server "$(if $(SERVERV2_BIN),$(SERVERV2_BIN),$(abspath $(TARGET_DIR))/planted/serverv2)"

sim: ## Clusters in simulated time, one for each of SEEDS=A..B (100: 1 to 100), or of SEED=N alone, or FOR=1h.
	@# With the features of all programs: dependencies with others would all be built once more.
	cargo build --locked --workspace --bin sim
	"$(abspath $(TARGET_DIR))/debug/sim" --seeds $(SEEDS) $(if $(SEED),--seed $(SEED)) \
		$(if $(filter command% environment%,$(origin FOR)),--for $(FOR)) $(if $(SHOW),--show) $(if $(PLANTED),--planted $(PLANTED))
