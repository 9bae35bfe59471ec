#!/usr/bin/env bash
# A recipe on SLURM nodes:  sbatch --nodes=4 cluster/slurm.sh recipes/digits/kd.py [--field VALUE …]
# Submit from the project's root, on a file system that all nodes share. Near the time limit the run saves a checkpoint;
# the same command continues from there.
#SBATCH --job-name=raykd
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-task=1
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@180
#SBATCH --output=raykd-%j.log
set -euo pipefail

[ -d .venv/bin ] && PATH=$PWD/.venv/bin:$PATH
port=${RAYKD_PORT:-$((20000 + SLURM_JOB_ID % 20000))}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
gpus=${SLURM_GPUS_PER_TASK:-${SLURM_GPUS_ON_NODE:-0}}
options=(--block "--num-cpus=${SLURM_CPUS_PER_TASK:-1}" "--num-gpus=$gpus")

# Other users' jobs share the network, so the token is what keeps them out. It is in the shared home.
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
ray get-auth-token --generate >/dev/null 2>&1
chmod 600 "${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}"

# Ray's files on each node: with an unpredictable name, closed to others, in $RAYKD_TMP or /tmp.
RAY_TMPDIR=$(mktemp -d "${RAYKD_TMP:-/tmp}/raykd-XXXXXXXX")
export RAY_TMPDIR
others=$((SLURM_JOB_NUM_NODES - 1))
on_the_others=(srun --overlap --nodes="$others" --ntasks="$others" --exclude="$head")
trap 'rm -rf "$RAY_TMPDIR"; [ "$others" -eq 0 ] || "${on_the_others[@]}" rm -rf "$RAY_TMPDIR" || true' EXIT
[ "$others" -eq 0 ] || "${on_the_others[@]}" mkdir -m 700 "$RAY_TMPDIR"

srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --node-ip-address="$head" --port="$port" --dashboard-host=127.0.0.1 "${options[@]}" &
if [ "$others" -gt 0 ]; then
    sleep 10
    "${on_the_others[@]}" ray start --address="$head:$port" "${options[@]}" &
fi

export RAY_ADDRESS=$head:$port
for _ in $(seq 120); do
    ray status >/dev/null 2>&1 && break
    sleep 1
done

# Not exec: bash has to stay, to hand SLURM's signal on and to end the nodes afterwards.
python -m raykd train "$@" &
driver=$!
trap 'kill -TERM "$driver"' TERM INT
status=0
wait "$driver" || status=$?
while kill -0 "$driver" 2>/dev/null; do # the first wait ends with the signal, not with the driver
    status=0
    wait "$driver" || status=$?
done
trap - TERM INT
# shellcheck disable=SC2046  # one word a pid
kill $(jobs -p) 2>/dev/null || true
wait || true
exit "$status"
