# To be sourced: what a run of chaos leaves behind, however it ends. Wants CHAOS_BIN, SERVERV2_BIN and a folder `work`.

# Namespaces that some process or descriptor holds, interfaces of this one, control groups and files of runs.
traces() {
    lsns --type net --noheadings --output NS | sort
    lsns --type pid --noheadings --output NS | sort
    ip -oneline link | cut -d: -f2 | sort
    find /sys/fs/cgroup -type d -name 'serverv2-chaos-*' 2>/dev/null || true
    # Where locks of ports are is for all runs of this machine, and stays.
    find "$work/tmp" -mindepth 1 -maxdepth 1 ! -name serverv2-test-ports
}

# Processes of the server, of an engine, and whatever else was told a folder of the run.
of_the_run() { pgrep -f "$work/(out|tmp)" || true; }

# nothing_outlives READY ARGUMENT…: starts `chaos run ARGUMENT…`, and ends it by signals in its midst, which is when READY
# says so: a command that is given the run's process and its log.
nothing_outlives() {
    local ready=$1 signal chaos tries left
    shift
    mkdir -p "$work/tmp"
    traces >"$work/before"
    for signal in INT KILL; do
        TMPDIR="$work/tmp" "$CHAOS_BIN" run "$@" --seed 1 --server "$SERVERV2_BIN" --out "$work/out" \
            >"$work/$signal.log" 2>&1 &
        chaos=$!
        for ((tries = 0; ; tries++)); do
            if "$ready" "$chaos" "$work/$signal.log"; then break; fi
            if ((tries > 1200)) || ! kill -0 "$chaos" 2>/dev/null; then
                printf 'the run did not come so far:\n' >&2
                cat "$work/$signal.log" >&2
                return 1
            fi
            sleep 0.1
        done
        [[ $(of_the_run) ]] || { printf 'processes of the run are not to be seen\n' >&2; return 1; }
        kill -s "$signal" "$chaos"
        wait "$chaos" || true
        for ((tries = 0; ; tries++)); do
            left=$(of_the_run)
            if [[ ! $left ]] && traces | diff "$work/before" - >"$work/left"; then
                break
            fi
            if ((tries > 150)); then
                printf 'after SIG%s there are still: %s\n' "$signal" "$left" >&2
                cat "$work/left" >&2
                return 1
            fi
            sleep 0.1
        done
        printf 'ok - nothing outlives SIG%s: no process, namespace, interface, control group or file\n' "$signal"
        rm -rf "$work/out"
    done
}
