#!/usr/bin/env bash
# Builds the server of another commit, for a cluster of two versions, and prints where its binary is.
# Usage: previous.sh COMMIT FOLDER. The binary stays in FOLDER, by commit, so that it is built once.
set -euo pipefail

commit=$(git rev-parse --verify "$1^{commit}")
folder=$2
binary="$folder/$commit/serverv2"
if [[ ! -x $binary ]]; then
    mkdir -p "$folder/$commit"
    sources=$(mktemp -d)
    trap 'rm -rf "$sources"' EXIT
    git archive "$commit" | tar -x -C "$sources"
    (cd "$sources" && CARGO_TARGET_DIR="$folder/target" cargo build --locked --bin serverv2) >&2
    cp "$folder/target/debug/serverv2" "$binary"
fi
printf '%s\n' "$binary"
