"""Measuring a model: the same on 1 rank and 3, the same twice, and refused before it begins.

A small StyleALAE of random weights, and 48 rendered faces at 4x4 to 16x16.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor

from pipeline.cli.app import main
from pipeline.config.sections import DataConfig
from pipeline.data.format.types import Floats, Ints
from pipeline.data.loader.dataset import Dataset
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from pipeline.evaluation import factor_metrics
from pipeline.evaluation.attribute_metrics import attribute_masks
from pipeline.evaluation.codes import encoded
from pipeline.evaluation.context import Evaluation, EvaluationContext, SampleRange
from pipeline.evaluation.evaluate import ON_TRAIN, evaluate, images_drawn
from pipeline.evaluation.registry import METRICS, Metric
from pipeline.evaluation.requirements import require
from pipeline.faces.dlib_models import installed
from pipeline.world import World
from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.errors import ConfigError, DataError
from stylealae.metrics.features import KNOWN, extractors, random
from stylealae.networks import build
from stylealae.priors import normal, rng
from tests.pipeline.data.handmade import flip_bit, shard_path, write_dataset
from tests.ranks import run_ranks

CPU = torch.device("cpu")
ALONE = World(0, 1, CPU)
SMALL = ModelConfig(
    resolution=16, start_channels=8, max_channels=16, z_width=16, w_width=16, mapping_layers=2
)
SHARED = ("fid-random", "kid-random", "rfid-random", "lpips-random", "psnr", "reciprocity",
          "ppl-w-end-random", "separability-codes")  # fmt: skip


def small_model() -> StyleALAE:
    """A model of fixed random weights."""
    return StyleALAE(build(SMALL, 0), SMALL, torch.zeros(6, 16), stage=2)


FREE = [
    name
    for name, metric in METRICS.items()
    if metric.extractor in ("", "random")
    and isinstance(small_model(), metric.models)
    and (installed() or not metric.recognises)
]
"""Metrics that need no file."""
OF_FACES = [name for name in FREE if not name.startswith("knn-svm")]
"""Those that two labels do not keep from telling: classes are read from one."""


def context_of(faces: Path, world: World = ALONE, **given: Any) -> EvaluationContext[StyleALAE]:
    """The small model beside rendered faces."""
    found: EvaluationContext[StyleALAE] = EvaluationContext(
        model=small_model(),
        dataset=Dataset.open(DataConfig(path=str(faces)), 16),
        world=world,
        extractors={"random": random(CPU)},
        labels=("smile", "skin_tone"),
        samples=30,
        batch=4,
    )
    return replace(found, **given)


def values(names: Sequence[str], context: EvaluationContext[object]) -> dict[str, float]:
    """All numbers of some metrics by name."""
    return {
        key: value for r in evaluate(Evaluation(names, context)) for key, value in r.values.items()
    }


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 rendered faces, 8 of them held out."""
    out = tmp_path_factory.mktemp("faces") / "rendered"
    prepare(open_source("48", "rendered", test_fraction=1 / 6), out, (4, 8, 16), workers=1)
    return out


@pytest.fixture(scope="module")
def alone(faces: Path) -> dict[str, float]:
    """What one rank finds."""
    return values(OF_FACES, context_of(faces))


def everything(world: World) -> dict[str, float]:
    """What a rank finds; started in processes of its own."""
    return values(SHARED, context_of(Path(os.environ["FACES"]), world))


def test_a_damaged_image_ends_no_evaluation_that_is_allowed_some(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As in training: others stand in, which is said; their statistics are not kept."""
    data, cache = tmp_path / "data", tmp_path / "cache"
    write_dataset(data, [[5, 5], [5]], side=16)
    flip_bit(shard_path(data, 0, 16), 5 * 3 * 16 * 16)  # in the first block's pixels

    def fid(max_broken: int) -> float:
        dataset = Dataset.open(DataConfig(path=str(data), max_broken=max_broken), 16)
        context = context_of(data, dataset=dataset, cache=cache, labels=())
        (value,) = values(["fid-random"], context).values()
        return value

    for too_few in (0, 4):
        with pytest.raises(DataError, match=r"000000\.tar is damaged: the block of images 0 to 4"):
            fid(too_few)
    assert np.isfinite(fid(5))
    assert "Other images stand in" in caplog.text
    assert not list(cache.glob("*"))


@pytest.mark.slow
def test_three_ranks_find_what_one_finds(
    faces: Path, alone: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACES", str(faces))
    for found in run_ranks(3, everything, tmp_path):
        assert found == pytest.approx({key: alone[key] for key in found}, rel=1e-5, abs=1e-9)


def test_every_metric_has_numbers_of_its_own(alone: dict[str, float]) -> None:
    finite = {name for name, value in alone.items() if np.isfinite(value)}
    unmeasured = {name for name in alone if name.startswith(("separability", "identity"))}
    assert alone.keys() - finite <= unmeasured  # a random G may show one class, and 16x16 no face
    for name in ("fid-random", "kid-sd-random", "rfid-random", "lpips-random", "reciprocity",
                 "ppl-z-full-random", "ppl-w-end-random", "separability-codes"):  # fmt: skip
        assert alone[name] > 0
    for name in ("precision-random", "recall-random", "coverage-random"):
        assert 0 <= alone[name] <= 1


def test_the_batch_moves_nothing_but_the_noise(faces: Path, alone: dict[str, float]) -> None:
    noiseless = ["psnr", "ssim", "reciprocity", "lpips-random", "rfid-random", "separability-codes"]
    found = values(noiseless, context_of(faces, batch=7))
    assert found == pytest.approx({key: alone[key] for key in found}, rel=1e-4)


def test_draws_are_addressed(faces: Path) -> None:
    context = context_of(faces)

    def z(first: int, count: int) -> Tensor:
        return context.draws("z", SampleRange(first, count), lambda n, source: normal(n, 3, source))

    whole = z(0, 200)
    assert torch.equal(torch.cat([z(0, 63), z(63, 2), z(65, 135)]), whole)
    assert len(whole.unique()) == 600


def test_a_generator_of_the_real_images_is_at_distance_nothing(faces: Path) -> None:
    """G is replaced by the images themselves, so that every distance has its ideal value."""

    class Copies(StyleALAE):
        """Gives back the images that it is to be compared with."""

        def generate(self, w: Tensor, *_: Any, **__: Any) -> Tensor:
            part, self.given = SampleRange(self.given, len(w)), self.given + len(w)
            return context.real("train", part)

        def reconstruct(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
            return x

    model = small_model()
    copies = Copies(model.nets, SMALL, model.w_mean, stage=2)
    copies.given = 0
    context = context_of(faces, model=copies, samples=40, labels=())
    names = ["fid-random", "precision-recall-random", "density-coverage-random", "rfid-random",
             "lpips-random", "psnr", "ssim"]  # fmt: skip
    found = values(names, context)
    assert found.pop("density-random") >= 1
    ideal = {
        "precision-random": 1,
        "recall-random": 1,
        "coverage-random": 1,
        "psnr": 100,
        "ssim": 1,
    }
    expected = dict.fromkeys(("fid-random", "rfid-random", "lpips-random"), 0.0) | ideal
    assert found == pytest.approx(expected, abs=1e-6)


def test_an_attribute_that_w_holds_is_separable_in_w(faces: Path) -> None:
    """G is replaced by a choice of real images: smiling ones where w begins with a high number."""
    context = context_of(faces)
    known, smiles = attribute_masks(context, "smile")
    every = SampleRange(0, context.real_count("train"))
    images = context.real("train", every)[torch.from_numpy(known)]
    glad, sad = (images[torch.from_numpy(which)] for which in (smiles[known], ~smiles[known]))

    class Chooses(StyleALAE):
        """Two kinds of images."""

        def map(self, z: Tensor) -> Tensor:
            return super().map(z) * torch.tensor([1.0] + [0.1] * 15)

        def generate(self, w: Tensor, *_: Any, **__: Any) -> Tensor:
            middle = super().map(normal(500, 16, rng(0, "middle", 0)))[:, 0].median()
            number = torch.arange(len(w)) % 10
            return torch.where((w[:, 0] > middle)[:, None, None, None], glad[number], sad[number])

    model = small_model()
    chooses = Chooses(model.nets, SMALL, model.w_mean, stage=2)
    context = replace(context, model=chooses, samples=400, labels=("smile",))
    found = values(["separability-w-random"], context)
    assert found["separability-w-random"] < 1.3  # 2 to the 0.4 bits that are unknown; 2 is all
    assert found["separability-w-random-accuracy/smile"] > 0.9


def test_statistics_of_real_images_are_kept_and_used(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["fid-random", "kid-random"]
    first = values(names, context_of(faces, cache=tmp_path / "cache"))
    monkeypatch.setattr(Dataset, "take", None)  # whoever looks at an image fails
    context = context_of(faces, cache=tmp_path / "cache")
    assert values(names, context) == first
    with pytest.raises(TypeError):
        values(names, replace(context, samples=20))  # another question
    (kept,) = (tmp_path / "cache").glob("*.safetensors")
    kept.write_bytes(b"torn")
    with pytest.raises(TypeError):
        values(names, context)


def test_the_time_is_told_first_and_moves_nothing(faces: Path, tmp_path: Path) -> None:
    """A rehearsal of three batches a pass leaves no trace in the numbers or in the cache."""
    names = ("kid-random", "fid-random", "psnr")
    told: list[float] = []
    found = []
    for announce in (told.append, None):
        folder = tmp_path / str(announce is None)
        context = context_of(faces, batch=4, cache=folder)
        numbers = [result.values for result in evaluate(Evaluation(names, context), announce)]
        kept = {file.name: file.read_bytes() for file in folder.iterdir()}
        found.append((numbers, kept))
    assert found[0] == found[1]
    assert len(told) == 1
    assert told[0] > 0


def test_sums_alone_are_not_taken_for_features(faces: Path, tmp_path: Path) -> None:
    context = context_of(faces, cache=tmp_path)
    fid = values(["fid-random"], context)
    both = values(["fid-random", "kid-random"], context)
    assert fid["fid-random"] == pytest.approx(both["fid-random"], rel=1e-12)


def test_a_missing_extractor_is_named_with_its_file_and_hash(faces: Path) -> None:
    with pytest.raises(ConfigError) as told:
        require(Evaluation(["fid", "psnr", "ppl-w-end", "kid-custom"], context_of(faces)))
    text = str(told.value)
    for known in KNOWN.values():
        assert known.file in text
        assert known.sha256 in text
        assert known.url in text
    assert "kid-custom: a TorchScript file of your own" in text
    runs = text.split("Without it run: ")[1].split(", ")
    assert runs == FREE


class Other:
    """A model of another kind."""


def test_a_model_that_a_metric_does_not_take_is_refused(
    faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parzen = Metric(measure=lambda _: {"parzen": 1.0}, protocol="a test", models=(Other,))
    monkeypatch.setitem(METRICS, "parzen", parzen)
    other = context_of(faces, model=Other(), labels=())
    assert values(["parzen"], other) == {"parzen": 1.0}
    with pytest.raises(
        ConfigError, match=r"psnr measures a model that reconstructs, and this is a Other: .*parzen"
    ):
        require(Evaluation(["psnr"], other))
    with pytest.raises(ConfigError, match="parzen measures a Other, and this is a StyleALAE"):
        require(Evaluation(["parzen"], context_of(faces)))


@pytest.mark.parametrize(
    ("names", "given", "told"),
    [
        (["fidd"], {}, "there is no metric 'fidd': did you mean fid"),
        (["separability-codes"], {"labels": ()}, "needs labels, and none are named: add --labels"),
        (["psnr"], {"labels": ("smiles",)}, "the data set has no label smiles"),
        (["psnr"], {"samples": 1}, "take at least 2"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    faces: Path, names: list[str], given: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        require(Evaluation(names, context_of(faces, **given)))


def test_a_data_set_without_the_resolution_is_refused(faces: Path) -> None:
    with pytest.raises(DataError, match="no images of 32x32, only of 4, 8, 16"):
        Dataset.open(DataConfig(path=str(faces)), 32)


def test_a_data_set_of_other_channels_is_refused(faces: Path, tmp_path: Path) -> None:
    grey = replace(SMALL, channels=1)
    StyleALAE(build(grey, 0), grey, torch.zeros(6, 16), stage=2).save(tmp_path)
    told = CliRunner().invoke(main, ["evaluate", str(tmp_path), "--data", str(faces)])
    assert told.exit_code
    said = " ".join(told.output.split())
    assert (
        "have 3 channels, and the model takes 1: prepare them with --channels 1, or train" in said
    )


def run(*arguments: object) -> Result:
    """The command line."""
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A run folder with two snapshots, of which one is newer."""
    for stage in ("0008", "0016"):
        folder = tmp_path / "run" / stage / "snapshot"
        folder.mkdir(parents=True)
        small_model().save(folder)
    return tmp_path / "run/0016/snapshot"


def test_the_command_writes_a_line_a_metric(snapshot: Path, faces: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.jsonl"
    shown = run(
        snapshot.parents[1], "--data", faces, "--samples", 20, "--out", out,
        "--cache", tmp_path / "cache", "--metrics", "fid-random,psnr",
    )  # fmt: skip
    assert shown.exit_code == 0, shown.output
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["metric"] for line in lines] == ["fid-random", "psnr"]
    fid = lines[0]
    assert fid["values"]["fid-random"] > 0
    assert fid["snapshot"] == str(snapshot)
    assert fid["samples"] == 20
    assert fid["real"] == {"train": 20}
    assert fid["extractor"] == {"random": random(CPU).sha256}
    assert fid["data"] == Dataset.open(DataConfig(path=str(faces)), 16).manifest.digest
    assert lines[1]["extractor"] == {}
    assert (lines[1]["samples"], lines[1]["real"]) == (0, {"test": 8})


def test_the_command_lists_metrics_and_refuses_with_a_sentence(
    snapshot: Path, faces: Path, tmp_path: Path
) -> None:
    shown = run("--list")
    named = [line.split()[0] for line in shown.output.splitlines() if not line.startswith(" ")]
    assert named == list(METRICS)
    shown = run(snapshot, "--data", faces, "--metrics", "fid")
    assert shown.exit_code == 1
    assert KNOWN["inception"].sha256 in shown.output
    shown = run(tmp_path, "--data", faces)
    assert shown.exit_code == 1
    assert "is neither a snapshot nor a run that has finished a stage" in shown.output


def test_a_file_of_ones_own_is_used(faces: Path, tmp_path: Path) -> None:
    class Colours(torch.nn.Module):
        """Mean colours."""

        def forward(self, x: Tensor) -> Tensor:
            return x.float().mean((2, 3)) / 255

    torch.jit.script(Colours()).save(str(tmp_path / "own.pt"))
    from stylealae.file_hash import sha256_of

    digest = sha256_of(tmp_path / "own.pt")
    found = extractors([tmp_path / "own.pt"], CPU, digest)
    (result,) = evaluate(Evaluation(["fid-custom"], context_of(faces, extractors=found)))
    assert result.values["fid-custom"] > 0
    assert result.extractor == {"custom": digest}


@pytest.fixture
def untested(tmp_path: Path) -> Path:
    """Rendered faces of which none is held out."""
    out = tmp_path / "untested"
    prepare(open_source("8", "rendered", test_fraction=0), out, (16,), workers=1)
    return out


def test_a_data_set_without_a_test_split_is_told(
    untested: Path, snapshot: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shown = run(snapshot, "--data", untested, "--metrics", "psnr,psnr", "--samples", 4)
    assert shown.exit_code == 0, shown.output
    assert "has no test split" in caplog.text
    (line,) = shown.stdout.splitlines()  # named twice, measured once
    assert json.loads(line)["real"] == {"train": 4}
    assert json.loads(line)["protocol"].endswith("(" + ON_TRAIN.strip(" ()") + ")")


def test_what_train_teaches_is_not_measured_on_train(untested: Path) -> None:
    with pytest.raises(ConfigError, match=r"knn-svm learns from training images .*test-fraction"):
        require(Evaluation(["knn-svm"], context_of(untested)))


def test_metrics_that_name_none_are_refused_and_labels_may_have_spaces(
    snapshot: Path, faces: Path
) -> None:
    for names in ("", " , "):
        shown = run(snapshot, "--data", faces, "--metrics", names)
        assert (shown.exit_code, shown.output[:24]) == (1, "error: --metrics names n")
    given = ("--data", faces, "--metrics", "psnr", "--samples", 4, "--labels", "smile, skin_tone")
    assert run(snapshot, *given).exit_code == 0


def test_codes_are_measured_at_the_alpha_of_the_context(
    faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, seen = context_of(faces, alpha=0.25), []
    encode = StyleALAE.encode

    def noted(self: StyleALAE, x: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        seen.append(alpha)
        return encode(self, x, stage, alpha)

    monkeypatch.setattr(StyleALAE, "encode", noted)
    factor_metrics.sap(context)
    encoded(context, context.real("train", SampleRange(0, 2)))
    assert {*seen} == {0.25}


def test_images_whose_z_is_found_are_spread_over_the_split_and_recorded(
    faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factor_metrics, "INVERTED_IMG", 7)
    monkeypatch.setitem(METRICS, "sap-z", replace(METRICS["sap-z"], at_most=7))
    monkeypatch.setattr(StyleALAE, "unmap", lambda self, w: w)
    context, numbers = context_of(faces), []
    labels = Dataset.labels

    def noted(self: Dataset, split: str, name: str, ids: Ints) -> Floats:
        numbers.append(ids)
        return labels(self, split, name, ids)

    monkeypatch.setattr(Dataset, "labels", noted)
    (result,) = evaluate(Evaluation(["sap-z"], context))
    assert result.real == {"train": 7}
    there = context.dataset.count("train")
    assert numbers[-1].tolist() == [i * there // 7 for i in range(7)]


def test_the_record_of_reciprocity_says_how_many_images_were_drawn() -> None:
    names = ("reciprocity-w", "reciprocity-z", "parzen", "fid", "psnr")
    drawn = {name: images_drawn(METRICS[name], 50_000) for name in names}
    assert drawn == dict.fromkeys(names[:3], 10_000) | {"fid": 50_000, "psnr": 0}
    assert images_drawn(METRICS["reciprocity-w"], 500) == 500
    assert (METRICS["mig-z"].at_most, METRICS["mig"].at_most) == (5_000, 0)
