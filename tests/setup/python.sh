#!/usr/bin/env bash
# python-socketio, exactly as tests/py/requirements.txt names it, in a virtual environment of its own.
set -euo pipefail

cd "$(dirname "$0")/../py"
wanted=$(cksum <requirements.txt)
stamp=.venv/.requirements-cksum
if [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && .venv/bin/python -c '' 2>/dev/null; then
    exit 0
fi
printf 'setup: python packages into tests/py/.venv\n'
rm -rf .venv
python3 -m venv .venv
if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.txt; then
    printf 'The packages of tests/py could not be installed; the Python registry must be reachable once.\n' >&2
    exit 1
fi
printf '%s' "$wanted" >"$stamp"
