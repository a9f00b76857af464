#!/usr/bin/env bash
# The official Socket.IO client and what else of Node the tests use, exactly as tests/js/package-lock.json names it.
set -euo pipefail

cd "$(dirname "$0")/../js"
lock=$(cksum <package-lock.json)
stamp=node_modules/.lock-cksum
if [[ -f $stamp && $(<"$stamp") == "$lock" ]]; then
    exit 0
fi
printf 'setup: npm ci in tests/js\n'
if ! npm ci --ignore-scripts --no-audit --no-fund --loglevel=error; then
    printf 'The node packages of tests/js could not be installed; the npm registry must be reachable once.\n' >&2
    exit 1
fi
printf '%s' "$lock" >"$stamp"
