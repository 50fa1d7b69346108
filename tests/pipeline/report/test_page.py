"""A run on one page: read as training leaves it, whole or torn, and opened in a browser."""

import base64
import hashlib
import json
import math
import mmap
import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from pipeline.cli.app import main
from pipeline.config import RunConfig, as_dict
from pipeline.config.sections import LogConfig
from pipeline.report.charts import Curve, Mark, chart, thinned, ticks
from pipeline.report.faces_by_stage import faces_by_stage
from pipeline.report.page import write_report
from pipeline.report.run import read_run
from pipeline.training.environment import environment, memory_scalars
from stylealae.config import ModelConfig, ScheduleConfig
from stylealae.image_grid import image_grid, to_uint8

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CONFIG = RunConfig(
    run_dir="runs/<b>small</b>",
    model=ModelConfig(
        resolution=8, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
    ),
    schedule=ScheduleConfig(stage_img=(400, 600), total_img=0, batch=(8,), lr=(0.002,)),
    log=LogConfig(scalars_img=100),
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What a run leaves after 700 of 1000 images, its last row torn by a kill."""
    folder = tmp_path / "small & new"
    (folder / "images").mkdir(parents=True)
    rows: list[dict[str, Any]] = [
        {
            "seen": seen, "loss/critic": 1.5 - seen / 1000, "loss/generator": 0.5 + seen / 2000,
            "loss/reciprocity": 0.1, "time/alpha": 1.0, "time/lr": 0.002,
            "time/img_per_s": 50.0, "time/data_wait": 0.02, "system/replaced": 1.0,
            "system/memory_gib": 0.5, "metric/fid-random": 90.0 - seen / 10,
        }
        for seen in range(100, 800, 100)
    ]  # fmt: skip
    text = "".join(json.dumps(row) + "\n" for row in rows) + '{"seen": 800, "loss/cri'
    (folder / "metrics.jsonl").write_text(text)
    checkpoint = folder / "0008" / "seen-0000000700"
    checkpoint.mkdir(parents=True)
    state = {"seen": 700, "config": as_dict(CONFIG), "versions": {"torch": "2.13.0"}}
    (checkpoint / "state.json").write_text(json.dumps(state))
    (folder / "0004" / "snapshot").mkdir(parents=True)
    for name, size in (("0004-seen-0000000400", 300), ("0008-seen-0000000600", 200),
                       ("0008-seen-0000000700", 2400)):  # fmt: skip
        Image.new("RGB", (size, size // 3), "teal").save(folder / "images" / f"{name}.png")
    where = {"seen": 0, "ranks": 2, **environment(torch.device("cpu"))}
    (folder / "environment.jsonl").write_text(json.dumps(where) + "\n")
    return folder


def test_a_run_is_read_as_far_as_it_has_come(run: Path) -> None:
    found = read_run(run)
    assert (found.seen, found.done) == (700, [4])
    assert found.hours == pytest.approx(700 / 50 / 3600)
    assert found.parsed() == CONFIG
    assert found.series("loss/critic")[0] == (100.0, 1.4)
    assert found.tags("metric") == ["metric/fid-random"]
    assert [(g.resolution, g.seen) for g in found.grids] == [(4, 400), (8, 600), (8, 700)]


def test_the_page_holds_everything_and_escapes_it(run: Path) -> None:
    text = write_report(run).read_text()
    for told in ("small &amp; new", "at 700 of 1,000 images (70%)", "fid-random", "images/s",
                 "schedule.stage_img", "model.resolution", "&lt;b&gt;small", "2.13.0"):  # fmt: skip
        assert told in text, told
    assert "<b>small" not in text
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)
    assert 'href="images/0008-seen-0000000700.png"' in text
    assert not list(run.glob(".*"))


SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def test_nothing_that_a_file_says_is_markup(run: Path) -> None:
    config = {"family": SCRIPT, "model": {"resolution": SCRIPT}, SCRIPT: SCRIPT}
    state = {"seen": 700, "config": config, "versions": {SCRIPT: SCRIPT}}
    (run / "0008/seen-0000000700/state.json").write_text(json.dumps(state))
    row = {"seen": 900, **{f"{group}/{SCRIPT}": 1.0 for group in ("loss", "metric", "system")}}
    (run / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    where = {"seen": 0, "host": SCRIPT, "time": SCRIPT, "versions": {SCRIPT: SCRIPT}}
    (run / "environment.jsonl").write_text(json.dumps(where) + "\n")
    text = write_report(run).read_text()
    assert text.count("&lt;script&gt;") > 8
    assert "<script" not in text
    assert "<img src=x" not in text


def test_the_page_may_load_its_own_style_and_pictures_alone(run: Path) -> None:
    text = write_report(run).read_text()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"style-src 'sha256-{digest}';" in policy
    assert "unsafe" not in policy
    assert not re.findall(r"<[^>]* (?:style|on[a-z]+)=", text)


def test_a_link_is_never_an_address_of_its_own(tmp_path: Path, run: Path) -> None:
    run.rename(folder := tmp_path / "javascript:alert(1)#")
    text = write_report(folder, tmp_path / "r.html").read_text()
    assert 'href="javascript%3Aalert%281%29%23/images/0008' in text


@pytest.mark.parametrize("state", ['{"config": [1], "versions": 3}', "[" * 100_000])
def test_a_state_of_another_kind_still_has_a_report(run: Path, state: str) -> None:
    (run / "0008/seen-0000000700/state.json").write_text(state)
    assert "<h1>" in write_report(run).read_text()


def test_large_pictures_are_embedded_smaller(run: Path) -> None:
    Image.effect_noise((3000, 1000), 90).save(run / "images" / "0008-seen-0000000700.png")
    assert write_report(run).stat().st_size < 700_000
    (run / "images" / "0008-seen-0000000700.png").write_bytes(b"torn")
    assert "cannot be shown here" in write_report(run).read_text()


def test_a_run_of_another_version_still_has_a_report(run: Path) -> None:
    state = run / "0008/seen-0000000700/state.json"
    state.write_text(json.dumps({"seen": 700, "config": {"model": {"resolution": 8, "depth": 3}}}))
    text = write_report(run).read_text()
    assert "model.depth: 3" in text
    assert 'id="plan"' not in text


@pytest.mark.parametrize("missing", ["metrics.jsonl", "images", "0008", "environment.jsonl"])
def test_what_a_run_does_not_have_yet_is_left_out(run: Path, missing: str) -> None:
    (run / missing).rename(run.parent / "away")
    assert "<h1>" in write_report(run).read_text()


def test_what_is_no_run_is_a_sentence(tmp_path: Path, run: Path) -> None:
    for arguments, said in (
        ([str(tmp_path)], "is no run"),
        ([str(run), "--out", str(run / "metrics.jsonl" / "x.html")], "cannot write"),
    ):
        shown = CliRunner().invoke(main, ["report", *arguments])
        assert shown.exit_code == 1
        assert said in shown.output
    shown = CliRunner().invoke(main, ["report", str(run), "--out", str(tmp_path / "r" / "r.html")])
    assert shown.output.strip() == str(tmp_path / "r" / "r.html")
    assert 'href="../small%20%26%20new/images/' in (tmp_path / "r" / "r.html").read_text()


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (-3.0, 17.0), (0.002, 0.002), (0.0, 0.0), (1e-9, 3e-9), (-5, -5)]
)
def test_ticks_are_few_and_enclose(low: float, high: float) -> None:
    found = ticks(low, high, 5)
    assert 2 <= len(found) <= 8
    assert found[0] <= low + 1e-12
    assert found[-1] >= high - 1e-12


def test_the_same_faces_are_cut_out_of_the_grids_of_every_stage(run: Path) -> None:
    for old in (run / "images").iterdir():
        old.unlink()
    faces = torch.rand(6, 4, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for k, resolution in enumerate((4, 8, 128)):
        x = faces[2 * k : 2 * k + 2].repeat_interleave(resolution // 4, -1)
        x = x.repeat_interleave(resolution // 4, -2)  # of another colour in every row and column
        samples = torch.cat([x[0].flip(0), x[1].flip(0)])
        rows = [("originals", x[0]), ("some words", x[1]), ("samples in several lines", samples)]
        image_grid(rows, columns=4).save(run / "images" / f"{resolution:04d}-seen-0000000{k}00.png")
    found = faces_by_stage(read_run(run).grids)
    assert found is not None
    assert found.resolutions == [4, 8, 128]

    def seen(picture: Image.Image) -> np.ndarray:
        return np.asarray(picture.resize((4, 4), Image.Resampling.BOX)).astype(int)

    for k in range(3):  # from the right; of the samples the second row, which is in reverse
        column = 3 - k
        for stage in range(3):
            originals, others = to_uint8(faces[2 * stage]), to_uint8(faces[2 * stage + 1])
            assert np.abs(seen(found.reconstructions[k][stage]) - others[column]).max() <= 1
            assert np.abs(seen(found.samples[k][stage]) - others[3 - column]).max() <= 1
        assert np.abs(seen(found.originals[k]) - originals[column]).max() <= 1
    text = write_report(run).read_text()
    assert text.count('alt="Sample ') == 9
    assert text.count('alt="Held-out ') == 12
    (run / "images/0008-seen-0000000100.png").write_bytes(b"torn")
    assert "<th>8×8</th><th>128" not in write_report(run).read_text()  # noqa: RUF001


def test_long_and_broken_curves_are_drawn() -> None:
    points = [(float(x), math.nan if x % 50 == 0 else 1.0) for x in range(10_000)]
    assert len(thinned(points)) <= 400
    assert {y for _, y in thinned(points)} == {1.0}
    assert "polyline" in chart("a", "b", [Curve("c", points)], [Mark(0, "4")])
    assert "circle" in chart("a", "b", [Curve("c", [(1.0, 2.0)])])
    assert chart("a", "b", [Curve("c", [(1.0, math.inf)])]) == ""


def test_memory_is_that_of_this_process() -> None:
    before = memory_scalars(torch.device("cpu"))["system/memory_gib"]
    with mmap.mmap(-1, 1 << 28) as held:  # 256 MiB of the system's own, not of freed memory
        for page in range(0, len(held), mmap.PAGESIZE):
            held[page] = 1
        after = memory_scalars(torch.device("cpu"))["system/memory_gib"]
    assert after - before == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("width", [1280, 390], ids=["desk", "phone"])
def test_the_page_opens_from_the_disk(browser: "Browser", run: Path, width: int) -> None:
    address = write_report(run).as_uri()
    context = browser.new_context(viewport={"width": width, "height": 844}, offline=True)
    page, asked, complaints = context.new_page(), [], []
    page.on("request", lambda r: asked.append(r.url))
    page.on("pageerror", lambda e: complaints.append(str(e)))
    page.on("console", lambda m: complaints.append(m.text))
    page.goto(address)
    assert [url for url in asked if not url.startswith("data:")] == [address]
    for image in page.locator(".sheet img").all():
        image.scroll_into_view_if_needed()
        assert image.evaluate("async e => (await e.decode(), e.naturalWidth)") > 100
    assert page.locator("#curves figure").count() == 7
    lines = page.locator("#curves figure").first.locator("polyline")
    looks = {line.evaluate("e => getComputedStyle(e).stroke") for line in lines.all()}
    assert len(looks) == lines.count() == 3
    page.get_by_text("The whole config").click()
    assert page.get_by_text("engine.zero_stage: 1").is_visible()
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-core here")
    found = axe.Axe().run(page).response["violations"]
    assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == []
    context.close()
    assert not complaints


def test_a_complete_run_says_so(run: Path) -> None:
    (run / "0008" / "snapshot").mkdir()
    Image.new("RGB", (40, 40)).save(run / "samples.png")
    text = write_report(run).read_text()
    assert "complete after 1,000 images" in text
    assert "Samples of the finished model" in text


def test_values_are_read_where_the_pointer_rests() -> None:
    a = Curve("critic <1>", [(100, 1.5), (200, 1.25), (300, 1.0)])
    b = Curve("generator", [(100, 0.5), (300, 0.75)])
    drawn = chart("Losses", "", [a, b])
    assert re.findall(r"<title>(.*?)</title>", drawn) == [
        "100 images: critic &lt;1&gt; 1.5, generator 0.5",
        "200 images: critic &lt;1&gt; 1.25",
        "300 images: critic &lt;1&gt; 1, generator 0.75",
    ]
    bands = [
        (float(x), float(w)) for x, w in re.findall(r'x="([\d.]+)" y="18" width="([\d.]+)"', drawn)
    ]
    assert all(x + w == pytest.approx(after, abs=0.2) for (x, w), (after, _) in pairwise(bands))
    assert chart("Losses", "", [Curve("c", [(x, x) for x in range(5000)])]).count("<title>") <= 100
