"""What is measured and drawn of the MLP families, through the commands, on untrained models.

A model of random weights has known figures where its parts are set by hand.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from pipeline.cli.app import main
from pipeline.config import parse
from pipeline.evaluation.context import Pictures, Subject
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.figures import pictures_of
from pipeline.evaluation.registry import METRICS, require
from pipeline.report import results
from pipeline.world import World
from stylealae.capabilities import Model
from stylealae.errors import ConfigError
from stylealae.families import FAMILIES

WORLD = World(0, 1, torch.device("cpu"))


def model(name: str, **shape: object) -> Model:
    """Fresh networks of two-dimensional codes."""
    given = {"hidden": 16, "z_width": 2, **shape}
    label = "data: {label: class}\n" if "aae_" in name else ""
    cfg = parse(f"family: {name}\n{label}model: {json.dumps(given)}")
    nets = FAMILIES[name].build(cfg.model, 0)
    return FAMILIES[name].model(nets, {}, cfg.model, stage=3, seen=10)


def subject(m: Model, digits: Path) -> Subject[Model]:
    return Subject(model=m, pictures=Pictures(digits, 32), world=WORLD, samples=50, batch=16)


@pytest.mark.parametrize("name", [n for n in FAMILIES if n != "stylealae"])
def test_every_metric_that_suits_a_family_gives_numbers(
    name: str, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.evaluation.code_metrics.PARZEN_SAMPLES", 50)
    m = model(name)
    suiting = [n for n, metric in METRICS.items() if isinstance(m, metric.models)]
    assert suiting
    for result in evaluate(suiting, subject(m, digits)):
        assert result.values
        assert all(np.isfinite(v) for v in result.values.values()), result.metric


def test_a_metric_says_which_capability_a_model_lacks(digits: Path) -> None:
    s = subject(model("aae"), digits)
    says = "error measures a model that classifies and this is a CodeModel, which takes parzen, "
    with pytest.raises(ConfigError, match=says):
        require(["error"], s)
    require(["parzen", "knn-svm"], s)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("aae", {"sheet", "codes", "manifold"}),
        ("vae", {"sheet", "codes", "manifold"}),
        ("aae_informed", {"sheet", "codes", "manifold"}),
        ("aae_supervised", {"sheet", "codes", "styles"}),
        ("aae_classes", {"sheet", "codes", "styles", "clusters"}),
        ("aae_heads", {"sheet", "styles", "clusters", "reduction"}),
        ("alae", {"sheet"}),
        ("gan", {"sheet"}),
    ],
)
def test_every_family_has_its_pictures(name: str, wanted: set[str], digits: Path) -> None:
    found = dict(pictures_of(subject(model(name), digits)))
    assert found.keys() == wanted
    for picture in found.values():
        assert min(picture.size) > 100
        assert len(np.unique(np.asarray(picture))) > 5


def test_the_error_is_that_of_the_likeliest_class(digits: Path) -> None:
    m = model("aae_classes")
    with torch.no_grad():  # always the third class
        m.nets.E.classes.weight.zero_()
        m.nets.E.classes.bias.copy_(torch.eye(10)[3])
    s = subject(m, digits)
    labels = s.pictures.labels("test", "class", np.arange(40))
    (result,) = evaluate(["error"], s)
    assert result.values["error"] == pytest.approx(float((labels != 3).mean()))
    train = s.pictures.labels("train", "class", np.arange(200))
    assert result.values["error-validation"] == pytest.approx(float((train[-33:] != 3).mean()))


def test_the_command_draws_into_a_folder(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "snapshot").mkdir()
    model("aae").save(tmp_path / "snapshot")
    command = ["evaluate", str(tmp_path / "snapshot"), "--data", str(digits), "--metrics",
               "prior-fit", "--pictures", str(tmp_path / "pictures")]  # fmt: skip
    shown = CliRunner().invoke(main, command, catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names == {"sheet.png", "codes.png", "manifold.png"}
    assert Image.open(tmp_path / "pictures/codes.png").size[0] > 300


def test_an_entry_has_mean_deviation_and_all_seeds() -> None:
    found = [{"error": 0.02}, {"error": 0.03}, {"error": 0.04}]
    entry = results.entry_of(found, seeds=[0, 1, 2], seconds=[10, 20, 30], command="stylealae x")
    assert entry["error"] == pytest.approx(0.03)
    assert entry["sd"] == pytest.approx(0.01)
    assert (entry["seeds"], entry["seconds"], entry["command"]) == ([0, 1, 2], 20.0, "stylealae x")
    one = results.entry_of([{"knn": 0.9, "svm": 0.8}], seeds=[4], seconds=[1], command="c")
    assert (one["knn"], one["knn-sd"], one["svm"], one["seeds"]) == (0.9, None, 0.8, [4])


def test_recording_keeps_other_lines_and_the_text_around_the_table(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    for name, error in (("b/2", 0.5), ("a/1", 0.25), ("b/2", 0.125)):
        entry = results.entry_of([{"error": error}], seeds=[0], seconds=[60], command="stylealae x")
        results.record(file, name, entry)
        page = file.with_suffix(".md")
        page.write_text(page.read_text().replace("# Results", "# Results, with a remark"))
    known = json.loads(file.read_text())
    assert list(known) == ["a/1", "b/2"]
    assert known["b/2"]["error"] == 0.125
    text = page.read_text()
    assert "with a remark" in text
    assert text.count("| b/2 |") == 1
    assert "| a/1 | error 0.25 | 0 | 60 |" in text


def test_the_time_of_a_run_is_that_of_its_loop(tmp_path: Path) -> None:
    rows = [{"seen": 100, "time/img_per_s": 50.0}, {"seen": 300, "time/img_per_s": 100.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert results.seconds_of(tmp_path) == pytest.approx(4.0)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "results.json").mkdir()
    with pytest.raises(ConfigError, match=r"results\.json"):
        results.record(tmp_path / "results.json", "a", {})
