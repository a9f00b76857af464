#!/usr/bin/env bash
# The contract, asked of a running server: of the one that BASE_URL names (several nodes with commas
# between), or of one node and three of the binary in SERVERV2_BIN. See tests/js/conformance/README.md.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
bash "$here/node.sh"
if [[ -z ${BASE_URL:-} ]]; then
    if [[ ! -x ${SERVERV2_BIN:-} ]]; then
        printf 'SERVERV2_BIN must name the server binary (or BASE_URL a running server).\n' >&2
        exit 1
    fi
    # The mail relay of tests/py.
    bash "$here/python.sh"
fi
exec node "$here/../js/conformance/run.mjs" "$@"
