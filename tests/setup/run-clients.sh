#!/usr/bin/env bash
# Runs the client tests of tests/js and tests/py. Each suite starts a private server on a free port
# with a temporary folder, from the binary named in SERVERV2_BIN; with SERVERV2_URL it uses that one.
set -euo pipefail

cd "$(dirname "$0")/.."
if [[ -z ${SERVERV2_URL:-} && ! -x ${SERVERV2_BIN:-} ]]; then
    printf 'SERVERV2_BIN must name the server binary (or SERVERV2_URL a running server).\n' >&2
    exit 1
fi
printf '=== socket.io-client %s on node %s\n' \
    "$(node -p "require('./js/node_modules/socket.io-client/package.json').version")" "$(node --version)"
# They wait more than they work; by default as many files at once as there are cores but one.
node --test --test-concurrency=3 --test-reporter=spec js/*.test.mjs
printf '=== python-socketio on %s\n' "$(py/.venv/bin/python --version)"
cd py
PYTHONDONTWRITEBYTECODE=1 .venv/bin/python -m unittest -v
