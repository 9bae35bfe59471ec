#!/usr/bin/env bash
# A Ray head and workers on this machine:  local.sh up [CPUS] | add [CPUS] | status | down
# Everything stays in one folder, $RAYKD_LOCAL (~/.raykd-local), and `down` ends only what `up` and `add` have started.
set -euo pipefail

folder=${RAYKD_LOCAL:-$HOME/.raykd-local}
port=${RAYKD_LOCAL_PORT:-6390}
dashboard=${RAYKD_LOCAL_DASHBOARD:-8265}
bin=$(cd "$(dirname "$0")/.." && pwd)/.venv/bin
[ -x "$bin/ray" ] && PATH=$bin:$PATH

export RAY_AUTH_MODE=token RAY_TMPDIR=$folder RAY_USAGE_STATS_ENABLED=0
export RAY_JOB_STOP_WAIT_TIME_S=${RAY_JOB_STOP_WAIT_TIME_S:-60}

launch() { # a node that blocks, in a session of its own, its pid noted
    setsid ray start --block --node-ip-address=127.0.0.1 "$@" >>"$folder/ray.log" 2>&1 </dev/null &
    echo $! >>"$folder/pids"
}

alive() { [ -s "$folder/pids" ] && xargs -r ps -o pid= -p <"$folder/pids" | grep -q .; }

up() {
    if alive; then
        echo "a cluster runs already: $0 status, $0 down" >&2
        exit 1
    fi
    mkdir -p "$folder"
    chmod 700 "$folder"
    : >"$folder/pids"
    ray get-auth-token --generate >/dev/null 2>&1
    chmod 600 "${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}"
    launch --head --port="$port" --dashboard-host=127.0.0.1 --dashboard-port="$dashboard" --num-cpus="${1:-$(nproc)}" \
        --temp-dir="$folder/ray"
    for _ in $(seq 120); do
        if ray job list --address "http://127.0.0.1:$dashboard" >/dev/null 2>&1; then
            echo "export RAY_API_SERVER_ADDRESS=http://127.0.0.1:$dashboard  # for raykd submit and ray job"
            return
        fi
        alive || break
        sleep 0.5
    done
    echo "the head did not start:" >&2
    tail -5 "$folder/ray.log" >&2
    exit 1
}

down() {
    [ -s "$folder/pids" ] || return 0
    while read -r pid; do kill -TERM -- "-$pid" 2>/dev/null || true; done <"$folder/pids"
    for _ in $(seq 40); do
        alive || break
        sleep 0.5
    done
    while read -r pid; do kill -KILL -- "-$pid" 2>/dev/null || true; done <"$folder/pids"
    rm -rf "$folder/pids" "$folder/ray"
}

case ${1:-} in
up) up "${2:-}" ;;
add) launch --address="127.0.0.1:$port" --num-cpus="${2:-1}" ;;
status) RAY_ADDRESS=127.0.0.1:$port ray status ;;
down) down ;;
*)
    echo "usage: $0 up [CPUS] | add [CPUS] | status | down" >&2
    exit 2
    ;;
esac
