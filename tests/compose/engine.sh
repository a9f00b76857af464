#!/usr/bin/env bash
# A private container engine: `engine.sh start FOLDER`, `engine.sh stop FOLDER`. It lives in namespaces of its own,
# keeps everything under FOLDER and listens at FOLDER/docker.sock. `engine.sh images FOLDER` only makes the images, for
# who has started an engine there.
set -euo pipefail

START_SECONDS=30
command=$1
folder=$2
export DOCKER_HOST="unix://$folder/docker.sock"

# The given programs of this machine with the libraries that they load, as an image.
image() {
    local name=$1 root
    shift
    root=$(mktemp -d "$folder/image.XXXX")
    mkdir -p "$root/tmp" "$root/etc"
    chmod 1777 "$root/tmp"
    printf 'root:x:0:0:root:/:/bin/sh\n' >"$root/etc/passwd"
    printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
    local -a changes=()
    while (($# > 0)); do
        case $1 in
            --*) changes+=("--change" "${1#--}") ;;
            *) add "$root" "$1" ;;
        esac
        shift
    done
    tar -C "$root" -c . | docker import "${changes[@]}" - "$name" >/dev/null
    rm -rf "$root"
}

add() {
    local root=$1 program
    program=$(command -v "$2")
    install -D "$program" "$root/usr/bin/${program##*/}"
    { ldd "$program" || true; } | grep -o '/[^ ]*' | while read -r library; do
        [[ -e $root$library ]] || install -D "$(readlink -f "$library")" "$root$library"
    done
    # Names are looked up by libraries that are loaded later.
    for library in /lib/*-linux-gnu/libnss_{files,dns}.so.2 /lib/*-linux-gnu/libresolv.so.2; do
        [[ ! -e $library ]] || install -D "$(readlink -f "$library")" "$root$library"
    done
}

start() {
    PATH=$PATH:/usr/sbin:/sbin
    if ! command -v dockerd >/dev/null; then
        bash tests/setup/debian.sh dockerd:docker.io || return 1
    fi
    mkdir -p "$folder"
    unshare --net --mount --propagation private bash -c 'ip link set lo up && exec dockerd "$@"' dockerd \
        --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/docker.pid" \
        --host "$DOCKER_HOST" >"$folder/engine.log" 2>&1 &
    for ((tries = 0; ; tries++)); do
        if docker info >/dev/null 2>&1; then break; fi
        if ((tries > START_SECONDS * 5)) || ! kill -0 $! 2>/dev/null; then
            tail -5 "$folder/engine.log" >&2
            return 1
        fi
        sleep 0.2
    done
    images
}

images() {
    local program
    PATH=$PATH:/usr/sbin:/sbin
    # The runtime stage of the Dockerfile itself, with the program that was built already.
    image serverv2-base:test "$SERVERV2_BIN" bash
    program=$(mktemp -d "$folder/program.XXXX")
    install -D "$SERVERV2_BIN" "$program/out/bin/serverv2"
    mkdir -p "$program/out/data"
    tar -C "$program" -c . | docker import - serverv2-program:test >/dev/null
    # A client without this builder would run the stage that is not needed; Debian's has it.
    local client=docker
    docker buildx version >/dev/null 2>&1 || client=/usr/bin/docker
    DOCKER_BUILDKIT=1 "$client" build --quiet --tag serverv2:test --build-arg PROGRAM=serverv2-program:test \
        --build-arg RUNTIME_BASE=serverv2-base:test . >/dev/null
    image haproxy:test '--CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]' haproxy bash
    image redis:test redis-server redis-cli
}

stop() {
    if [[ -e $folder/docker.pid ]]; then
        local pid
        pid=$(<"$folder/docker.pid")
        docker ps --quiet | xargs --no-run-if-empty docker kill >/dev/null 2>&1 || true
        kill "$pid" 2>/dev/null || true
        for ((tries = 0; tries < 100; tries++)); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
    fi
    # What it mounted is gone with its namespace, or is not ours to see.
    awk -v at="$folder/" 'index($2, at) == 1 { print $2 }' /proc/mounts | sort -r | xargs --no-run-if-empty umount || true
}

"$command"
