"""The manifests of launch/cluster: what can be checked without a cluster.

The AWS file against Ray's own schema, the RayJob's fields against KubeRay's reference, scripts
with bash, shellcheck and a play of the spot notice, the Dockerfile line by line.
"""

import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config import load

ROOT = Path(__file__).resolve().parents[3]
CLUSTER = ROOT / "launch/cluster"

# Fields of KubeRay's API reference (ray.io/v1) with authOptions of 1.5.1; pods are Kubernetes' own.
SPEC = {"entrypoint", "runtimeEnvYAML", "submissionMode", "submitterConfig", "backoffLimit",
        "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec", "jobId", "suspend",
        "activeDeadlineSeconds", "metadata", "clusterSelector", "entrypointNumCpus",
        "entrypointNumGpus", "entrypointResources", "submitterPodTemplate", "managedBy",
        "deletionStrategy"}  # fmt: skip
RAY_CLUSTER = {"rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions",
               "headGroupSpec", "workerGroupSpecs", "suspend", "managedBy",
               "gcsFaultToleranceOptions", "headServiceAnnotations"}  # fmt: skip
HEAD = {"template", "headService", "enableIngress", "rayStartParams", "serviceType"}
WORKERS = {"groupName", "replicas", "minReplicas", "maxReplicas", "idleTimeoutSeconds",
           "rayStartParams", "template", "scaleStrategy", "numOfHosts", "suspend"}  # fmt: skip
POD = {"serviceAccountName", "terminationGracePeriodSeconds", "securityContext", "containers",
       "tolerations", "volumes", "nodeSelector"}  # fmt: skip


def read(name: str) -> Any:
    return yaml.safe_load((CLUSTER / name).read_text())


def overrides_in(text: str) -> list[str]:
    """The config keys that a command in a manifest gives."""
    return re.findall(r"(?<![\w.-])'?((?:cluster|engine|checkpoint)\.\w+=[^\s'\"]+)", text)


@pytest.mark.parametrize("name", ["rayjob.yaml", "aws.yaml"])
def test_commands_name_a_launch_script_and_keys_that_there_are(name: str):
    text = (CLUSTER / name).read_text()
    scripts = set(re.findall(r"python (launch/\w+\.py)", text))
    assert scripts
    assert all((ROOT / script).exists() for script in scripts)
    keys = overrides_in(text)
    assert keys
    load(ROOT / "configs/ffhq_1024.yaml", keys)


def test_the_aws_cluster_meets_rays_own_schema():
    jsonschema = pytest.importorskip("jsonschema")
    ray = find_spec("ray")  # looked up, not imported: that takes seconds
    if ray is None or ray.origin is None:
        pytest.skip("no Ray here")
    schema = Path(ray.origin).parent / "autoscaler/ray-schema.json"
    cluster = read("aws.yaml")
    jsonschema.validate(cluster, json.loads(schema.read_text()))
    types = cluster["available_node_types"]
    assert cluster["head_node_type"] in types
    assert types["gpu-spot"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in types["head"]["node_config"]


def test_on_aws_everything_wants_the_token_and_the_dashboard_is_on_loopback():
    cluster = read("aws.yaml")
    starts = [
        line
        for part in ("head_start_ray_commands", "worker_start_ray_commands")
        for line in cluster[part]
        if "ray start" in line
    ]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in line for line in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert any(path.endswith(".ray/auth_token") for path in cluster["file_mounts"])


def test_the_rayjob_has_only_fields_that_kuberay_knows():
    job = read("rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(job["spec"]) <= SPEC
    cluster = job["spec"]["rayClusterSpec"]
    assert set(cluster) <= RAY_CLUSTER
    assert cluster["authOptions"] == {"mode": "token"}
    assert tuple(map(int, cluster["rayVersion"].split("."))) >= (2, 52, 0)
    assert set(cluster["headGroupSpec"]) <= HEAD
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(isinstance(v, str) for v in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        assert set(pod) <= POD
        assert pod["securityContext"]["runAsNonRoot"]
        mounted = {m["name"] for c in pod["containers"] for m in c.get("volumeMounts", ())}
        assert mounted == {v["name"] for v in pod.get("volumes", ())}
    for group in cluster["workerGroupSpecs"]:
        assert set(group) <= WORKERS
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_the_rayjobs_entrypoint_is_for_no_shell_to_expand():
    """KubeRay pastes it into a bash line of the submitter, where $(X) would be run."""
    entrypoint = read("rayjob.yaml")["spec"]["entrypoint"]
    assert not set(entrypoint) & set("$`;&|<>'\"\\\n")
    assert "data.path=s3://BUCKET/ffhq" in entrypoint


def test_a_pod_that_is_asked_to_go_has_the_time_to_leave():
    job = read("rayjob.yaml")
    for group in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        stop = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        assert (ROOT / stop[1]).exists()
        assert int(stop[2]) < pod["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("name", ["slurm.sh", "leave.sh"])
def test_scripts_parse_and_shellcheck_finds_nothing(name: str):
    subprocess.run(["bash", "-n", CLUSTER / name], check=True)
    if shutil.which("shellcheck") is None:
        pytest.skip("no shellcheck here: apt-get install shellcheck")
    shown = subprocess.run(["shellcheck", CLUSTER / name], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stdout


def test_slurm_starts_ray_with_a_token_of_its_own_and_a_dashboard_on_loopback():
    text = (CLUSTER / "slurm.sh").read_text()
    assert "RAY_AUTH_MODE=token" in text
    assert "umask 077" in text
    assert "--dashboard-host=127.0.0.1" in text
    assert text.index("export RAY_AUTH_MODE") < text.index('"${RAY[@]}"')


def test_slurm_queues_again_after_a_time_limit_and_not_when_cancelled():
    """What the script does at its end, without a Slurm: `trials.slurm` plays it on one."""
    text = (CLUSTER / "slurm.sh").read_text()
    assert "--signal=B:USR1@" in text
    handlers = text[text.index("DRIVER=''") : text.index("python -c")]
    for signal_, queued in (("USR1", True), ("TERM", False)):
        script = (
            f"scontrol() {{ echo QUEUED; }}; SLURM_JOB_ID=7; {handlers}"
            f"sleep 60 & DRIVER=$!; kill -{signal_} $$; CODE=0; wait $DRIVER || CODE=$?; leave 130"
        )
        shown = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=50)
        assert ("QUEUED" in shown.stdout) == queued, shown.stderr
        assert shown.returncode == (0 if queued else 130)


def test_slurms_steps_have_the_cores_of_their_job():
    text = (CLUSTER / "slurm.sh").read_text()
    assert text.index("export SRUN_CPUS_PER_TASK") < text.index("srun --overlap")


def test_the_dockerfile_copies_what_there_is_and_drops_root():
    text = (CLUSTER / "Dockerfile").read_text().replace("\\\n", " ")
    steps = [line for line in text.splitlines() if line and not line.startswith("#")]
    known = {"FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "ENTRYPOINT", "CMD"}
    assert {line.split()[0] for line in steps} <= known
    sources = [s for line in steps if line.startswith("COPY") for s in line.split()[1:-1]]
    assert all((ROOT / source).exists() for source in sources)
    users = [line.split()[1] for line in steps if line.startswith("USER")]
    assert users[-1] == "ray"
    ignore = (CLUSTER / "Dockerfile.dockerignore").read_text().splitlines()
    assert {f"!{Path(source).parts[0]}" for source in sources} <= set(ignore)
    for line in steps:
        if line.startswith(("ENTRYPOINT", "CMD")):
            json.loads(line.split(maxsplit=1)[1])


@pytest.fixture
def notice() -> Iterator[tuple[str, list[int]]]:
    """A metadata service as AWS's, which reclaims the instance at the third question."""
    asked = [0]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self._answer(200, b"a-token")

        def do_GET(self) -> None:
            asked[0] += 1
            known = self.headers["X-aws-ec2-metadata-token"] == "a-token"
            due = known and self.path.endswith("spot/instance-action") and asked[0] >= 3
            self._answer(200 if due else 404, b'{"action": "terminate"}' if due else b"")

        def _answer(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@pytest.mark.skipif(shutil.which("wget") is None, reason="no wget here")
def test_a_spot_notice_drains_this_host(notice: tuple[str, list[int]], tmp_path: Path):
    url, asked = notice
    for name, says in (("python", "echo 0123abcd 10.0.0.1:6379"), ("ray", 'echo "$@"')):
        tool = tmp_path / name
        tool.write_text(f"#!/bin/sh\n{says}\n")
        tool.chmod(0o755)
    shown = subprocess.run(
        ["sh", CLUSTER / "leave.sh", "--when-told"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "IMDS": url, "POLL_S": "0.1"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert asked[0] == 3
    assert "drain-node --address=10.0.0.1:6379 --node-id=0123abcd" in shown.stdout
    assert "--deadline-remaining-seconds=110" in shown.stdout
