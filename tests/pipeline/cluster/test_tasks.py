"""Tasks and actors on one Ray: shards as processes make them, a sweep's runs, a run's gauges."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.cli.app import main
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from pipeline.training.progress import ProgressUpdate
from stylealae.errors import ConfigError, DataError

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.early]

ROOT = Path(__file__).resolve().parents[3]
SIDES = (4, 8, 16, 32)
SAYS_WITHIN_S = 90
UPDATE = ProgressUpdate(
    resolution=8, alpha=1.0, seen=4096, stage_first=0, stage_end=8000, total=8000, img_per_s=12.5,
    losses={"critic": 0.75},
)  # fmt: skip


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """48 pictures, two of which are none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (46, 40, 40, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{i:03d}.png")
    (folder / "010.broken.png").write_bytes(b"")
    (folder / "040.broken.png").write_bytes(b"no image")
    return folder


def test_a_ray_that_is_not_there_is_a_sentence(photos: Path, tmp_path: Path) -> None:
    command = ["prepare", str(photos), "--out", str(tmp_path / "d"), "--ray", "127.0.0.1:1"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "no Ray answers at 127.0.0.1:1" in result.output


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """An object store, if moto is here; Ray's processes find it where this one does."""
    try:
        from tests.pipeline.storage.bucket import bucket
    except ImportError:
        yield None
        return
    with bucket() as found:
        yield found


@pytest.fixture(scope="module")
def connected(store: Any) -> Iterator[None]:
    """A local Ray of two cores for this module."""
    from pipeline.cluster.connection import connected

    with connected(2):
        yield


def test_the_folder_of_our_own_ray_is_ours_alone(connected: None) -> None:
    folder = Path(ray._private.worker._global_node.get_temp_dir_path())
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert [*folder.glob("session_*/sockets/*")]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


@pytest.mark.parametrize("workers", [0, 1])
def test_tasks_write_the_same_bytes(
    connected: None, photos: Path, tmp_path: Path, workers: int
) -> None:
    from pipeline.cluster.shard_tasks import over_tasks

    source = open_source(str(photos))
    prepare(source, tmp_path / "alone", SIDES, workers=1, shard_img=10)
    prepare(source, tmp_path / "tasks", SIDES, workers=workers, shard_img=10, runner=over_tasks)
    assert contents(tmp_path / "tasks") == contents(tmp_path / "alone")


def test_shards_go_on_when_the_process_that_counts_for_the_bar_is_killed(
    connected: None, photos: Path, tmp_path: Path
) -> None:
    from pipeline.cluster.shard_tasks import over_tasks

    killed: set[int] = set()

    def report(done: int, of: int) -> None:
        actors = ray._private.state.actors().values()
        alive = [a for a in actors if a["ActorClassName"] == "Tally" and a["State"] == "ALIVE"]
        for actor in [] if killed else alive:
            os.kill(actor["Pid"], signal.SIGKILL)
            killed.add(actor["Pid"])

    source = open_source(str(photos))
    prepare(
        source, tmp_path / "tasks", SIDES,
        workers=1, shard_img=10, runner=over_tasks, report=report,
    )  # fmt: skip
    assert killed
    prepare(source, tmp_path / "alone", SIDES, workers=1, shard_img=10)
    assert contents(tmp_path / "tasks") == contents(tmp_path / "alone")


def test_the_command_joins_a_ray_that_runs_already(
    connected: None, photos: Path, tmp_path: Path
) -> None:
    command = [
        *(sys.executable, "-m", "pipeline.cli", "prepare", str(photos), "--resolutions", "4..32"),
        *("--out", str(tmp_path / "d"), "--shard-img", "10"),
        *("--ray", ray.get_runtime_context().gcs_address),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "2 refused" in done.stdout
    prepare(open_source(str(photos)), tmp_path / "alone", SIDES, workers=1, shard_img=10)
    assert contents(tmp_path / "d") == contents(tmp_path / "alone")


def test_tasks_write_straight_into_a_bucket(
    store: Any, connected: None, photos: Path, tmp_path: Path
) -> None:
    """Each task uploads its own shard; a second time there is nothing to do."""
    if store is None:
        pytest.skip("moto's server is not installed")
    from pipeline.cluster.shard_tasks import over_tasks

    source, url = open_source(str(photos)), "s3://tasks/set"
    prepare(source, tmp_path / "alone", SIDES, workers=1, shard_img=10)
    fs = fsspec.filesystem("s3", use_listings_cache=False)
    fs.mkdirs("tasks", exist_ok=True)
    for _ in range(2):
        store.served.clear()
        prepare(source, url, SIDES, shard_img=10, runner=over_tasks)
    assert not [path for method, path, _ in store.served if method == "PUT"]
    made = {name.removeprefix("tasks/set/"): fs.cat_file(name) for name in fs.find("tasks/set")}
    assert made == contents(tmp_path / "alone")


def test_what_a_task_finds_wrong_stops_the_work(
    connected: None, photos: Path, tmp_path: Path
) -> None:
    from pipeline.cluster.shard_tasks import over_tasks

    source = open_source(str(photos))
    with pytest.raises(DataError, match=r"one is 0[14]0\.broken\.png: ") as caught:
        prepare(source, tmp_path / "d", SIDES, max_broken=0, shard_img=10, runner=over_tasks)
    assert "Traceback" not in str(caught.value)
    until = time.monotonic() + 10  # Ray answers for a cancelled task before it has cleaned up
    while list((tmp_path / "d").rglob("*.partial")):
        assert time.monotonic() < until
        time.sleep(0.1)
    prepare(source, tmp_path / "d", SIDES, shard_img=10, runner=over_tasks)
    prepare(source, tmp_path / "alone", SIDES, workers=1, shard_img=10)
    assert contents(tmp_path / "d") == contents(tmp_path / "alone")


def whether_odd(number: int) -> str:
    """Stands for the work of a sweep's run: an error of even numbers, and a task that raises."""
    if number == 4:
        raise ValueError("lost")
    return "" if number % 2 else f"{number} is even"


def test_runs_of_a_sweep_share_cores_and_one_that_dies_ends_no_other(connected: None) -> None:
    from pipeline.cluster.sweep_tasks import Share, over_tasks

    found = dict(over_tasks(whether_odd, range(1, 6), at_most=4, share=Share(0.5, 0.0)))
    assert found.pop(4).startswith("its task died: RayTaskError")
    assert found == {1: "", 2: "2 is even", 3: "", 5: ""}


def test_what_no_host_can_give_is_an_error_or_said_each_minute(
    connected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.cluster import driver, sweep_tasks
    from pipeline.cluster.placement import lacking
    from pipeline.cluster.sweep_tasks import Share, over_tasks
    from pipeline.config import parse
    from pipeline.storage import open_storage

    assert not lacking({"CPU": 0.5, "GPU": 0.0}, 4)
    says = "asked for 1 CPU and 8 GPU on one host, 1 times, and this Ray has room for 0"
    with pytest.raises(ConfigError, match=says):
        next(over_tasks(whether_odd, [1], at_most=1, share=Share(1, 8), grows=False))
    monkeypatch.setattr(sweep_tasks, "SAY_S", 0.1)
    monkeypatch.setattr(sweep_tasks, "STOP_S", 1.0)

    class EnoughError(Exception):
        pass

    def stop(message: str, *given: object) -> None:
        raise EnoughError(message % given)

    monkeypatch.setattr(sweep_tasks.log, "warning", stop)
    with pytest.raises(EnoughError, match=says):
        next(over_tasks(whether_odd, [1], at_most=1, share=Share(1, 8)))
    cfg = parse("model: {resolution: 8}\ncluster: {gpus_per_worker: 1, cpus_per_worker: 1}")
    with pytest.raises(ConfigError, match=r"1 CPU and 1 GPU on one host.*gpus_per_worker \(0 "):
        driver.run(cfg, open_storage("nowhere"), lambda update: None)


def test_a_worker_knows_the_attempt_of_its_group_before_its_first_stage(connected: None) -> None:
    """By what is reserved for it, in the thread that Ray Train calls it in."""
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    from pipeline.cluster.coordinator import start_coordinator

    @ray.remote(num_cpus=1, max_concurrency=2)
    class Worker:
        def train(self, coordinator: Any, rank: int) -> None:
            from pipeline.cluster.worker import Attempts

            def run() -> None:
                attempts = Attempts(coordinator, rank)
                with suppress(ConfigError), attempts.failures_reported():
                    attempts.join()
                    raise ConfigError("finds no GPU")

            thread = threading.Thread(target=run)
            thread.start()
            thread.join()

    coordinator = start_coordinator()
    reservations = [placement_group([{"CPU": 1.0}]) for _ in range(2)]
    said = []
    for reservation in reservations:
        ray.get(coordinator.begin_group.remote(reservation))
    for reservation in reservations:
        here = PlacementGroupSchedulingStrategy(reservation)
        worker = Worker.options(scheduling_strategy=here).remote()
        ray.get(worker.train.remote(coordinator, 8))
        said.append(ray.get(coordinator.failure.remote()))
        remove_placement_group(reservation)
    assert said == ["", "finds no GPU"], "only of the group that began last"
    ray.kill(coordinator)


def test_gauges_are_on_the_endpoint_of_the_workers_node(connected: None) -> None:
    @ray.remote
    class Worker:
        def show(self) -> None:
            from pipeline.cluster.gauges import Gauges

            self.gauges = Gauges("faces")
            self.gauges.show(UPDATE)

    worker = Worker.remote()
    ray.get(worker.show.remote())
    port, text = ray.nodes()[0]["MetricsExportPort"], ""
    end = time.monotonic() + SAYS_WITHIN_S
    while "stylealae_loss{" not in text and time.monotonic() < end:
        time.sleep(0.5)
        with suppress(OSError):  # it is not up yet
            asked = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)
            text = asked.read().decode()
    found = {
        name: (re.findall(r'(run|phase)="(\w+)"', tags), float(value))
        for name, tags, value in re.findall(r"^ray_stylealae_(\w+){(.*)} (\S+)$", text, re.M)
    }
    run = ("run", "faces")
    assert found == {
        "images_seen": ([run], 4096), "images_total": ([run], 8000),
        "images_per_second": ([run], 12.5), "resolution_pixels": ([run], 8),
        "loss": ([("phase", "critic"), run], 0.75),
    }  # fmt: skip
