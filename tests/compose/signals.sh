#!/usr/bin/env bash
# That nothing of a run of chaos in mode compose outlives the program, however that ends: no engine, no container, no
# control group. As root on Debian, where an engine can be started.
set -euo pipefail

cd "$(dirname "$0")/../.."
: "${SERVERV2_BIN:?must name the server binary}"
: "${CHAOS_BIN:?must name the chaos binary}"
bash tests/setup/debian.sh dockerd:docker.io docker-compose ip:iproute2
PATH=$PATH:/usr/sbin:/sbin

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# In the midst of it: a container has been killed.
has_killed() {
    if grep -q 'start a container engine' "$2"; then
        printf 'NOT RUN: no engine could be started here\n' >&2
        exit 0
    fi
    grep -q 'kill-any .*installed' "$2"
}

. tests/setup/nothing-left.sh
nothing_outlives has_killed --mode compose --for 120s --faults kill-any
