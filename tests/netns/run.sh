#!/usr/bin/env bash
# Ways that are wires: what the kernel does to packets, and that nothing of a run outlives the program, however that ends.
# As root on Linux. A short run is judged, too: both kinds of clients must reach the nodes there.
set -euo pipefail

cd "$(dirname "$0")/../.."
: "${SERVERV2_BIN:?must name the server binary}"
: "${CHAOS_BIN:?must name the chaos binary}"
: "${CHAOS_TESTS:?must name the binary of its unit tests}"
if [[ $(id -u) != 0 ]]; then
    printf 'NOT RUN: network namespaces can be made by root alone\n' >&2
    exit 1
fi
bash tests/setup/debian.sh ip:iproute2 nft:nftables iptables
PATH=$PATH:/usr/sbin:/sbin

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One after the other, since they use the same names; each in a namespace of its own.
"$CHAOS_TESTS" --list --ignored wires:: | sed -n 's/: test$//p' >"$work/tests"
[[ -s $work/tests ]] || { printf 'there are no tests of wires\n' >&2; exit 1; }
while read -r name; do
    unshare --net -- sh -c 'ip link set lo up && exec "$0" "$@"' "$CHAOS_TESTS" --ignored --exact "$name" </dev/null
done <"$work/tests"

# In the midst of it: packets are being held.
holds_packets() { pgrep -P "$1" -f hold-packets >/dev/null; }

# It fails where the official client served nobody; a machine that is too busy may leave it undecided.
"$CHAOS_BIN" run --mode netns --seed 1 --for 15s --faults kill-any --server "$SERVERV2_BIN" --out "$work/judged" ||
    { status=$?; [[ $status == 2 ]] || exit "$status"; }

. tests/setup/nothing-left.sh
nothing_outlives holds_packets --mode netns --for 60s --faults slow-link

# And of one on proxies, which needs no such rights.
has_killed() { grep -q 'kill-any .*installed' "$2"; }
nothing_outlives has_killed --mode proxy --for 60s --faults kill-any
