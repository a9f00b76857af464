#!/usr/bin/env bash
# The compose file, tried: the whole cluster as docker-compose.yml says it, with a node killed, one cut off, Redis
# stopped in its tracks and one node stopped in order, while players fight through the balancer.
#
# In containers where that can be: as root on Debian, with an engine of its own in a network namespace of its own, so
# that nothing of this machine changes, and with images made here from the built program and Debian's packages, so
# that no registry is asked. Elsewhere the same commands run as processes, each in a network namespace of its own,
# with exactly the environment that the compose tool reads from the file; then it says so. `COMPOSE_TEST=processes`
# asks for that.
set -euo pipefail

cd "$(dirname "$0")/../.."
: "${SERVERV2_BIN:?must name the server binary}"
if [[ $(id -u) != 0 ]]; then
    printf 'NOT RUN: the compose test needs root, for an engine or for network namespaces\n' >&2
    exit 1
fi
bash tests/setup/debian.sh docker-compose ip:iproute2

work=$(mktemp -d)
export COMPOSE_PROJECT_NAME="serverv2-test-$$" SERVERV2_IMAGE=serverv2:test HAPROXY_IMAGE=haproxy:test REDIS_IMAGE=redis:test
export JWT_SECRET=0123456789abcdef0123456789abcdef CLUSTER_SECRET=0123456789abcdef REDIS_PASSWORD=letters4AND5digits
# Containers of a test have a machine of two cores to share.
export NODE_CPUS=1 NODE_FILES=4096 BALANCER_FILES=4096 PORT=8102

docker-compose config >"$work/compose.yml"
python3 -c 'import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)' <"$work/compose.yml" >"$work/compose.json"
export COMPOSE_JSON="$work/compose.json"
printf 'docker-compose.yml is valid for %s\n' "$(docker-compose version --short)"

finish() {
    local status=$?
    trap - EXIT INT TERM
    [[ -n ${engine:-} ]] && bash tests/compose/engine.sh stop "$work/engine"
    ip netns list | grep -o "^$COMPOSE_PROJECT_NAME-[a-z0-9]*" | while read -r space; do
        ip netns del "$space"
        rm -rf "/etc/netns/$space"
    done
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' HUP INT PIPE TERM

engine=
if [[ ${COMPOSE_TEST:-containers} == containers ]]; then
    engine=yes
    if bash tests/compose/engine.sh start "$work/engine"; then
        export DOCKER_HOST="unix://$work/engine/docker.sock"
        # What is published is to be reached in the engine's namespace only.
        COMPOSE_STAGE=containers nsenter -t "$(<"$work/engine/docker.pid")" -n \
            node --test --test-reporter=spec tests/compose/compose.test.mjs
        exit
    fi
    printf 'CONTAINERS NOT RUN: no engine could be started here; the same commands run as processes instead\n' >&2
fi
COMPOSE_STAGE=processes unshare --net --mount --propagation private \
    node --test --test-reporter=spec tests/compose/compose.test.mjs
