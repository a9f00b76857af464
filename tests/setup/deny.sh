#!/usr/bin/env bash
# Licences and sources of all dependencies, where cargo-deny is installed. Where it isn't, says so:
# a check that did not run must not look like one that passed.
set -euo pipefail

if ! command -v cargo-deny >/dev/null; then
    printf 'NOT RUN: cargo deny (not installed; `cargo install cargo-deny` brings it)\n'
    exit 0
fi
cargo deny --all-features check bans licenses sources
