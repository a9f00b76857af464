#!/usr/bin/env bash
# Makes sure that the programs which the tests call are there. Installs Debian packages only for
# those that are missing, only as root; anywhere else it says what to install and fails.
#
# Further programs may be given as arguments, with their package where that has another name: `ip:iproute2`.
set -euo pipefail

# Where Debian keeps programs that ordinary users seldom start.
PATH=$PATH:/usr/sbin
missing=()

# Debian's package for a program that is not there.
need() {
    local program=$1 package=$2
    if ! command -v "$program" >/dev/null; then
        missing+=("$package")
    fi
}

need cc build-essential
need faketime faketime
need haproxy haproxy
need node nodejs
need npm npm
need openssl openssl
need psql postgresql-client
need python3 python3
need redis-server redis-server
for program in "$@"; do
    need "${program%%:*}" "${program#*:}"
done
# Debian ships Python without what a virtual environment needs.
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    missing+=(python3-venv)
fi

# Debian keeps PostgreSQL's own programs out of the path.
if ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then
    missing+=(postgresql)
fi

if ((${#missing[@]} > 0)); then
    if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
        printf 'These packages are needed by the tests and missing: %s\n' "${missing[*]}" >&2
        printf 'They can be installed automatically only as root on Debian; please install them and try again.\n' >&2
        exit 1
    fi
    printf 'setup: installing %s\n' "${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    if [[ " ${missing[*]} " == *' postgresql '* ]]; then
        # The tests start servers of their own: the package must make and start none.
        apt-get install -y -qq --no-install-recommends postgresql-common >/dev/null
        sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
    fi
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

node_major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
if ((node_major < 18)); then
    printf 'The client tests need Node 18 or newer (its built-in test runner); this one is %s.\n' "$(node --version)" >&2
    exit 1
fi
