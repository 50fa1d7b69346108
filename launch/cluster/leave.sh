#!/bin/sh
# Tells Ray that this host is about to go, so that a run saves a checkpoint and moves.
#
#   leave.sh 100            it is off in 100 seconds (KubeRay: preStop)
#   leave.sh --when-told    waits until AWS says that this spot instance is reclaimed
#
# Wants a Ray on this host, and its token in ~/.ray/auth_token or the environment.
set -eu

IMDS=${IMDS:-http://169.254.169.254}
POLL_S=${POLL_S:-5}
NOTICE_S=110 # AWS gives two minutes

reclaimed() {
    token=$(wget -q -O- --timeout=2 --tries=1 --method=PUT \
        --header='X-aws-ec2-metadata-token-ttl-seconds: 60' "$IMDS/latest/api/token") || return 1
    # 404 until the instance is reclaimed.
    wget -q -O- --timeout=2 --tries=1 --header="X-aws-ec2-metadata-token: $token" \
        "$IMDS/latest/meta-data/spot/instance-action" > /dev/null 2>&1
}

case ${1:-} in
    --when-told)
        until reclaimed; do sleep "$POLL_S"; done
        left=$NOTICE_S
        ;;
    '' | *[!0-9]*)
        echo "usage: leave.sh SECONDS | leave.sh --when-told" >&2
        exit 2
        ;;
    *) left=$1 ;;
esac

ask='import ray; ray.init("auto", log_to_driver=False, logging_level="ERROR")
print(ray.get_runtime_context().get_node_id(), ray.get_runtime_context().gcs_address)'
found=$(python -c "$ask" | tail -n 1)
ray drain-node --address="${found#* }" --node-id="${found% *}" \
    --reason=DRAIN_NODE_REASON_PREEMPTION --reason-message="host reclaimed" \
    --deadline-remaining-seconds="$left"

# Kubernetes kills the pod when preStop returns: give the run the time that is left.
[ "${1:-}" = --when-told ] || sleep "$left"
