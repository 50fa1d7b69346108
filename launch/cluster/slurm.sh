#!/bin/bash
#SBATCH --job-name=stylealae
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=stylealae-%j.log
# FFHQ at 1024x1024 on Slurm, 4 hosts of 8 GPUs; goes on by itself after the time limit.
#
#   sbatch launch/cluster/slurm.sh data.path=/data/ffhq run_dir=/runs/ffhq
#   LAUNCH=launch/celebahq_256.py sbatch --nodes=1 launch/cluster/slurm.sh run_dir=/runs/celebahq
#
# Wants the repository with its .venv, the data and the run folder on a file system that all hosts
# share. Three minutes before the limit Slurm sends USR1: the run saves a checkpoint, and the job
# queues itself again. A job that fails by itself, or is cancelled, does not.
#
#   scancel --batch --signal=TERM JOB      saves a checkpoint, then ends
#   scancel JOB                            ends all at once: the newest checkpoint stays
#
# `python -m trials.slurm` plays it on a Slurm of one host; docs/faults.md says how far it got.
set -euo pipefail

cd "${SLURM_SUBMIT_DIR:?give this script to sbatch}"
export PATH="$PWD/.venv/bin:$PATH"
PORT=$((20000 + SLURM_JOB_ID % 20000))
LAUNCH=${LAUNCH:-launch/ffhq_1024.py}
STARTED_S=${STARTED_S:-300}

# A token of this job alone: whoever else is on these hosts cannot submit to its Ray.
umask 077
KEYS=$PWD/.ray-$SLURM_JOB_ID
mkdir -p "$KEYS"
trap 'rm -rf "$KEYS"' EXIT
# From here on, since a signal may come before there is a run to end.
DRIVER='' ENDING=''
# shellcheck disable=SC2317  # the traps reach it
end() {
    ENDING=$1
    [ -z "$DRIVER" ] || kill -TERM "$DRIVER" 2> /dev/null || true
}
leave() { # leave CODE: as the run did, or back into the queue
    if [ "$ENDING" = "time limit" ] && [ "$1" -ne 0 ]; then
        echo "the time limit is near: queueing again"
        scontrol requeue "$SLURM_JOB_ID"
        exit 0
    fi
    exit "$1"
}
trap 'end "time limit"' USR1
trap 'end cancelled' TERM
python -c 'import secrets; print(secrets.token_hex(32), end="")' > "$KEYS/token"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$KEYS/token" RAY_USAGE_STATS_ENABLED=0

HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
ADDRESS=$(srun --nodes=1 --ntasks=1 --nodelist="$HEAD" hostname --ip-address | cut -d' ' -f1)
# Since 22.05 a step no longer takes over the cores that each task of the job has.
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
RAY=(ray start --block "--num-cpus=$SLURM_CPUS_PER_TASK" "--num-gpus=$SLURM_GPUS_ON_NODE")

srun --overlap --nodes=1 --ntasks=1 --nodelist="$HEAD" \
    "${RAY[@]}" --head "--node-ip-address=$ADDRESS" "--port=$PORT" --dashboard-host=127.0.0.1 &
until ray status "--address=$ADDRESS:$PORT" 2> /dev/null | grep -q node_; do
    [ -z "$ENDING" ] || leave 130
    [ "$SECONDS" -lt "$STARTED_S" ] || { echo "Ray's head did not start" >&2; exit 1; }
    sleep 2
done
if [ "$SLURM_NNODES" -gt 1 ]; then
    srun --overlap "--nodes=$((SLURM_NNODES - 1))" "--ntasks=$((SLURM_NNODES - 1))" \
        --exclude="$HEAD" "${RAY[@]}" "--address=$ADDRESS:$PORT" &
fi

GPUS=$((SLURM_NNODES * SLURM_GPUS_ON_NODE))
RAY_ADDRESS="$ADDRESS:$PORT" python "$LAUNCH" "cluster.workers=[$GPUS]" "$@" &
DRIVER=$!
[ -z "$ENDING" ] || kill -TERM "$DRIVER"

CODE=0
wait "$DRIVER" || CODE=$?
while kill -0 "$DRIVER" 2> /dev/null; do # a signal ended the wait: the run is still saving
    CODE=0
    wait "$DRIVER" || CODE=$?
done
leave "$CODE"
