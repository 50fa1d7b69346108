"""Metrics and figures of the MLP families, also through the commands, on untrained models.

A model of random weights has known figures where its parts are set by hand.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from pipeline.cli.app import main
from pipeline.config import parse
from pipeline.config.sections import DataConfig
from pipeline.data.loader.dataset import Dataset
from pipeline.evaluation.context import Evaluation, EvaluationContext, SampleRange
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.figures import figures_of
from pipeline.evaluation.image_metrics import reconstructed
from pipeline.evaluation.registry import METRICS
from pipeline.evaluation.requirements import require
from pipeline.world import World
from stylealae.capabilities import Model
from stylealae.errors import ConfigError
from stylealae.families import FAMILIES
from stylealae.metrics.features import extractors

CPU = torch.device("cpu")
WORLD = World(0, 1, CPU)


def model(name: str, **shape: object) -> Model:
    """Fresh networks of two-dimensional codes."""
    given = {"hidden": 16, "z_width": 2, **shape}
    label = "data: {label: class}\n" if "aae_" in name else ""
    cfg = parse(f"family: {name}\n{label}model: {json.dumps(given)}")
    nets = FAMILIES[name].build(cfg.model, 0)
    return FAMILIES[name].model(nets, {}, cfg.model, stage=3, seen=10)


def context_of(m: Model, digits: Path) -> EvaluationContext[Model]:
    dataset = Dataset.open(DataConfig(path=str(digits)), 32)
    return EvaluationContext(
        model=m, dataset=dataset, world=WORLD, labels=("class",), samples=50, batch=16,
        extractors=extractors([], CPU),
    )  # fmt: skip


LIKE_VAE = ("factor_vae", "intro_vae", "soft_intro_vae", "wae", "vae_gan", "ali")
"""Families whose trained models are of the VAE's class and posteriors."""
STYLED = ("stylealae", "stylealae_separate")
MEASURED = [name for name in FAMILIES if name not in (*STYLED, *LIKE_VAE)]


def test_families_that_are_not_measured_have_a_model_of_the_vaes_class() -> None:
    assert {type(model(name)) for name in LIKE_VAE} == {type(model("vae"))}


@pytest.mark.parametrize("name", MEASURED)
def test_every_metric_that_suits_a_family_gives_numbers(
    name: str, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.evaluation.code_metrics.PARZEN_SAMPLES", 50)
    m = model(name)
    suiting = [
        n for n, metric in METRICS.items()
        if isinstance(m, metric.models) and metric.extractor in ("", "random")
        and not metric.source and not metric.recognises
    ]  # fmt: skip
    assert "fid-random" in suiting
    assert ("psnr" in suiting) == (name != "gan")
    for result in evaluate(Evaluation(suiting, context_of(m, digits))):
        assert result.values
        assert all(np.isfinite(v) for v in result.values.values()), result.metric


def test_a_metric_says_which_capability_a_model_lacks(digits: Path) -> None:
    s = context_of(model("aae"), digits)
    says = "error measures a model that classifies, and this is a CodeModel: choose from fid, "
    with pytest.raises(ConfigError, match=says):
        require(Evaluation(["error"], s))
    require(Evaluation(["parzen", "knn-svm"], s))


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
def test_every_family_has_its_figures(name: str, wanted: set[str], digits: Path) -> None:
    found = dict(figures_of(context_of(model(name), digits)))
    assert found.keys() == wanted
    for picture in found.values():
        assert min(picture.size) > 100
        assert len(np.unique(np.asarray(picture))) > 5


def test_the_error_is_that_of_the_likeliest_class(digits: Path) -> None:
    m = model("aae_classes")
    with torch.no_grad():  # always the third class
        m.nets.E.classes.weight.zero_()
        m.nets.E.classes.bias.copy_(torch.eye(10)[3])
    context = context_of(m, digits)
    labels = context.dataset.labels("test", "class", np.arange(40))
    (result,) = evaluate(Evaluation(["error"], context))
    assert result.values["error"] == pytest.approx(float((labels != 3).mean()))
    assert (result.samples, result.real) == (0, {"test": len(labels)})  # whatever is asked for
    train = context.dataset.labels("train", "class", np.arange(200))
    assert result.values["error-validation"] == pytest.approx(float((train[-33:] != 3).mean()))


def test_codes_that_do_not_come_back_leave_their_own_variance(digits: Path) -> None:
    m = model("aae")
    with torch.no_grad():  # E gives the mean of the prior, whose variance is 1
        m.nets.E.posterior.mean.weight.zero_()
        m.nets.E.posterior.mean.bias.zero_()
    context = replace(context_of(m, digits), samples=4000)
    (result,) = evaluate(Evaluation(["reciprocity-z"], context))
    assert result.values["reciprocity"] == pytest.approx(1.0, abs=0.1)
    assert result.values["reciprocity-share"] == pytest.approx(1.0, abs=0.01)


def test_the_psnr_of_an_autoencoder_is_that_of_its_reconstructions(digits: Path) -> None:
    m = model("vae")
    context = context_of(m, digits)
    (result,) = evaluate(Evaluation(["psnr"], context))
    x = context.real("test", SampleRange(0, 40))
    stored = [(y + 1) * 127.5 for y in (x, m.reconstruct(x))]
    mse = (stored[0].round() - stored[1].clamp(0, 255).round()).square().mean((1, 2, 3))
    assert result.values["psnr"] == pytest.approx(
        float((10 * (255**2 / mse).log10()).mean()), rel=1e-4
    )


def test_a_generator_that_takes_classes_is_given_those_of_the_images(digits: Path) -> None:
    m = model("aae_supervised")
    context = context_of(m, digits)
    x = context.real("test", SampleRange(0, 40))
    classes = torch.from_numpy(context.dataset.labels("test", "class", np.arange(40))).long()
    x_again, again = reconstructed(replace(context, samples=40), SampleRange(0, 40))
    assert torch.equal(x_again, x)
    assert torch.equal(again, m.reconstruct(x, classes))
    assert not torch.equal(again, m.reconstruct(x, torch.full((40,), -1)))
    of_them = m.of_classes(classes)
    assert [caption for caption, _ in of_them.rows(x)][1] == "reconstructions G(E(x))"
    assert len(m.rows(x)) == 2  # of no classes there are no reconstructions
    with pytest.raises(ConfigError, match=r"40 images are .* classes of 0 are known"):
        m.reconstruct(x)
    with pytest.raises(ConfigError, match="of class 10, and G takes the classes 0 to 9"):
        m.of_classes(classes + 1)


def test_classes_of_no_known_label_are_asked_for_before_anything_is_computed(digits: Path) -> None:
    context = replace(context_of(model("aae_supervised"), digits), labels=("class", "other"))
    with pytest.raises(ConfigError, match=r"classes are read from one label .* --labels"):
        require(Evaluation(["psnr"], context))


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


def test_the_disentanglement_command_prints_all_four(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "snapshot").mkdir()
    model("vae").save(tmp_path / "snapshot")
    command = ["evaluate", str(tmp_path / "snapshot"), "--data", str(digits), "--metrics",
               "mig,dci,factorvae,sap", "--labels", "class"]  # fmt: skip
    shown = CliRunner().invoke(main, command, catch_exceptions=False)
    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [line["metric"] for line in lines] == ["mig", "dci", "factorvae", "sap"]
    assert all(line["labels"] == ["class"] for line in lines)
    assert "add --labels" in CliRunner().invoke(main, command[:-2]).output
