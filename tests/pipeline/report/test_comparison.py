"""Runs side by side and on a terminal, from their folders and from a bucket."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from rich.console import Console

from pipeline.cli.app import main
from pipeline.config import RunConfig, as_dict
from pipeline.report.comparison_page import names_of
from pipeline.report.dashboard import dashboard, sparkline
from pipeline.report.page import write_report
from pipeline.report.run import fetched_run, read_run
from pipeline.storage import open_storage
from pipeline.training.run_files import publish
from stylealae.config import ModelConfig, ScheduleConfig
from stylealae.image_grid import image_grid
from tests.pipeline.storage.bucket import bucket

SMALL = ModelConfig(
    resolution=8, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)


def left(folder: Path, *, lr: float, upto: int, speed: float = 50.0) -> Path:
    """What a run leaves after `upto` of 1000 images, 400 of them at 4x4."""
    folder.mkdir(parents=True)
    rows = [
        {"seen": seen, "loss/critic": 2.0 - seen / 1000, "metric/psnr": 10 + seen / 100,
         "time/img_per_s": speed, "time/alpha": 1.0}
        for seen in range(100, upto + 1, 100)
    ]  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    cfg = RunConfig(
        run_dir=str(folder),
        model=SMALL,
        schedule=ScheduleConfig(stage_img=(400, 600), total_img=0, batch=(8,), lr=(lr,)),
    )
    checkpoint = folder / "0008" / f"seen-{upto:010d}"
    checkpoint.mkdir(parents=True)
    state = {"seen": upto, "stage": 1, "config": as_dict(cfg), "versions": {}}
    (checkpoint / "state.json").write_text(json.dumps(state))
    (folder / "0004/snapshot").mkdir(parents=True)
    (folder / "0004/snapshot/config.json").write_text("{}")
    return folder


def scored(run: Path, **values: float) -> None:
    """Adds what `evaluate` found."""
    line = {"metric": "fid", "protocol": "Frechet distance", "seen": 1000, "values": values}
    with (run / "scores.jsonl").open("a") as stream:
        stream.write(json.dumps(line) + "\n")


def test_runs_differ_in_what_they_were_asked_and_what_they_came_to(tmp_path: Path):
    a = left(tmp_path / "a", lr=0.002, upto=1000)
    b = left(tmp_path / "b", lr=0.004, upto=500, speed=100.0)
    scored(b, fid=50.0)
    scored(b, fid=40.0)
    shown = CliRunner().invoke(main, ["compare", str(a), str(b)])
    assert shown.exit_code == 0, shown.output
    found: dict[str, Any] = json.loads(shown.stdout)
    assert found["runs"] == [str(a), str(b)]
    assert found["config"] == {"schedule.lr": [[0.002], [0.004]]}
    assert found["run"]["images seen"] == [1000, 500]
    assert found["run"]["images/s"] == [50.0, 100.0]
    assert found["loss"] == {"critic": [1.0, 1.5]}
    assert found["metric"] == {"psnr": [20.0, 15.0]}
    assert found["score"] == {"fid": [None, 40.0]}


def drawn(run: Path, originals: torch.Tensor, value: float, *, encodes: bool = True) -> Path:
    """Adds a grid of 8x8 images as training draws it: reconstructions and samples of one value."""
    made = torch.full_like(originals, value)
    rows = [("originals", originals), ("samples", made.repeat(2, 1, 1, 1))]
    if encodes:
        rows.insert(1, ("reconstructions", made / 2))
    (run / "images").mkdir()
    image_grid(rows, columns=len(originals)).save(run / "images/0008-seen-0000001000.png")
    return run


def test_images_of_runs_stand_in_one_picture(tmp_path: Path):
    x = torch.linspace(-1, 1, 16).repeat_interleave(3 * 64).view(16, 3, 8, 8)
    a = drawn(left(tmp_path / "runs/a/0", lr=0.002, upto=1000), x, 0.8)
    b = drawn(left(tmp_path / "runs/b/0", lr=0.004, upto=500), x, -0.4, encodes=False)
    none = left(tmp_path / "runs/c/0", lr=0.004, upto=500)
    out = tmp_path / "new/images.png"
    shown = CliRunner().invoke(main, ["compare", str(a), str(b), str(none), "--out", str(out)])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout == f"{out}\n"
    blank = torch.ones_like(x[:8])
    rows = [
        ("originals", x[8:]),
        ("a", torch.cat((torch.full_like(blank, 0.4), torch.full_like(blank, 0.8)))),
        ("b", torch.cat((blank, torch.full_like(blank, -0.4)))),
    ]
    title = "left: reconstructions of the originals above them, right: samples"
    wanted = np.asarray(image_grid(rows, columns=16, title=title), dtype=int)
    with Image.open(out) as picture:
        assert np.abs(np.asarray(picture, dtype=int) - wanted).max() <= 1


def test_a_page_has_curves_of_all_runs_and_what_differs(tmp_path: Path):
    x = torch.zeros(16, 3, 8, 8)
    a = drawn(left(tmp_path / "a", lr=0.002, upto=1000), x, 0.8)
    b = left(tmp_path / "b<i>", lr=0.004, upto=500)
    scored(b, fid=40.0)
    out = tmp_path / "compared.html"
    shown = CliRunner().invoke(main, ["compare", str(a), str(b), "--out", str(out)])
    assert shown.exit_code == 0, shown.output
    page = out.read_text()
    assert "b<i>" not in page
    assert "b&lt;i&gt;" in page
    for title in ("Loss: critic", "Metric: psnr", "Speed"):
        figure = page.partition(f"<figcaption>{title}")[2].partition("</figure>")[0]
        assert figure.count("<polyline") == 2, title
    assert "<td>schedule.lr</td><td>[0.002]</td><td>[0.004]</td>" in page
    assert "<td>fid</td><td>-</td><td>40</td>" in page
    assert page.count("<img") == 1


@pytest.mark.parametrize(
    ("places", "names"),
    [
        (["runs/faces/vae/seed=0", "runs/faces/wae/seed=0"], ["vae", "wae"]),
        (["runs/a", "runs/a/b"], ["runs/a", "b"]),
        (["s3://bucket/runs/a", "runs/b/"], ["s3://bucket/runs/a", "runs/b"]),
        (["runs/a"], ["runs/a"]),
        (["runs/a", "runs/a"], ["runs/a", "runs/a"]),
    ],
)
def test_runs_are_named_by_what_tells_them_apart(places: list[str], names: list[str]):
    assert names_of(places) == names


def test_a_picture_of_runs_without_images_is_refused(tmp_path: Path):
    run = left(tmp_path / "a", lr=0.002, upto=1000)
    for out, said in (("a.png", "has drawn images yet"), ("a.jpg", "not in .html or .png")):
        shown = CliRunner().invoke(main, ["compare", str(run), "--out", str(tmp_path / out)])
        assert shown.exit_code == 1
        assert said in shown.stderr
        assert not (tmp_path / out).exists()


def test_a_report_has_the_scores_of_evaluate(tmp_path: Path):
    run = left(tmp_path / "a", lr=0.002, upto=1000)
    assert "Frechet" not in write_report(run).read_text()
    scored(run, fid=41.25)
    page = write_report(run).read_text()
    row = "<td>fid</td><td>41.25</td><td>Frechet distance</td><td></td><td>1,000</td>"
    assert row in page


def test_scores_that_do_not_compare_say_what_they_are_of(tmp_path: Path):
    a = left(tmp_path / "a", lr=0.002, upto=1000)
    b = left(tmp_path / "b", lr=0.002, upto=1000)
    c = left(tmp_path / "c", lr=0.002, upto=1200)
    for run, data, samples in ((a, "x" * 64, 50), (b, "y" * 64, 50), (c, "x" * 64, 50)):
        line = {"metric": "fid", "protocol": "as ever", "seen": 1000, "values": {"fid": 1.0},
                "data": data, "dataset": data[0], "samples": samples, "real": {"train": 9},
                }  # fmt: skip
        (run / "scores.jsonl").write_text(json.dumps(line) + "\n")

    def score(*runs: Path) -> dict[str, Any]:
        shown = CliRunner().invoke(main, ["compare", *map(str, runs)])
        found: dict[str, Any] = json.loads(shown.stdout)["score"]
        return found

    assert list(score(a, a)) == ["fid"]
    on = "50 generated, 9 of train, {0} {0}{0}{0}{0}{0}{0}{0}{0}, after 1,000 images, as ever"
    assert score(a, b)["fid measured on"] == [on.format("x"), on.format("y")]
    assert score(a, c)["fid measured on"] == [on.format("x")] * 2  # c has gone on since


def test_the_dashboard_says_how_far_a_run_is(tmp_path: Path):
    run = read_run(left(tmp_path / "a", lr=0.002, upto=600))
    console = Console(width=100, file=io.StringIO())
    console.print(dashboard(run, silent_s=12))
    text = console.file.getvalue()
    assert "600 of 1,000 images, 50 images/s, 8 s left at this speed, last row 12 s ago" in text
    assert [line.split()[-3:] for line in text.splitlines() if line.startswith(("4x4", "8x8"))] == [
        ["400", "of", "400"],
        ["200", "of", "600"],
    ]
    assert "loss/critic" in text


@pytest.mark.parametrize(
    ("values", "line"),
    [([], ""), ([1.0], "▁"), ([0.0, 7.0, 3.0], "▁█▄"), ([2.0] * 50, "▁" * 40)],
)
def test_a_sparkline_goes_from_lowest_to_highest(values: list[float], line: str):
    assert sparkline(values) == line


def test_watch_looks_once_where_there_is_no_terminal(tmp_path: Path):
    run = left(tmp_path / "a", lr=0.002, upto=600)
    shown = CliRunner().invoke(main, ["watch", str(run)])
    assert shown.exit_code == 0, shown.output
    assert "600 of 1,000 images" in shown.stdout
    shown = CliRunner().invoke(main, ["watch", str(tmp_path / "none")])
    assert shown.exit_code == 1
    assert "none does not exist" in shown.stderr


def test_a_run_in_a_bucket_is_watched_as_one_in_a_folder(tmp_path: Path):
    run = left(tmp_path / "a", lr=0.002, upto=600)
    scored(run, fid=40.0)
    with bucket() as store:
        store.upload(tmp_path / "nothing", "s3://runs/none")  # makes the bucket
        storage = open_storage("s3://runs/a")
        for name in ("metrics.jsonl", "scores.jsonl"):
            storage.write(name, (run / name).read_bytes())
        for name in ("0004/snapshot", "0008/seen-0000000600"):
            publish(storage, name, lambda to, name=name: _copy(run / name, to), None)
        here, there = read_run(run), fetched_run("s3://runs/a")
    assert there.rows == here.rows
    assert there.config == here.config != {}
    assert there.done == here.done == [4]
    assert there.scores == here.scores
    assert [(score.name, score.value, score.seen) for score in here.scores] == [("fid", 40.0, 1000)]


def _copy(folder: Path, to: Path) -> None:
    shutil.copytree(folder, to, dirs_exist_ok=True)
