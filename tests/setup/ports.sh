#!/usr/bin/env bash
# Hands out ports that must be known before anybody listens on them: for each line of its input the next one of 20000 to 29999
# whose lock file nobody holds. tests/it and chaos lock the same files. They are kept until the input ends.
set -euo pipefail

folder=${TMPDIR:-/tmp}/serverv2-test-ports
mkdir -p "$folder"
at=$(($$ % 10000))
tries=0
while read -r; do
    while :; do
        if ((tries++ == 10000)); then
            echo 'no port is free' >&2
            exit 1
        fi
        at=$(((at + 1) % 10000))
        port=$((20000 + at))
        exec {lock}>"$folder/$port"
        if flock --nonblock "$lock"; then break; fi
        exec {lock}>&-
    done
    echo "$port"
done
