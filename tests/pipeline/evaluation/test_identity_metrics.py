"""Identity: of copies it is that of the originals, of another person's face that of others."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pipeline.config.sections import DataConfig
from pipeline.data.loader.dataset import Dataset
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from pipeline.evaluation.context import Evaluation, EvaluationContext
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.forecast import seconds_of
from pipeline.evaluation.identity_metrics import PARAMETERS
from pipeline.evaluation.requirements import require
from pipeline.faces import dlib_models
from pipeline.world import World
from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.errors import ConfigError
from stylealae.networks import build
from tests.shared_data import LONDON, needs

SMALL = ModelConfig(
    resolution=64, start_channels=2, max_channels=4, z_width=4, w_width=4, mapping_layers=1
)
ALONE = World(0, 1, torch.device("cpu"))


class Copies(StyleALAE):
    """Gives back the images, or what a function makes of them."""

    made: Any = staticmethod(lambda x: x)

    def reconstruct(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        """What the function makes of them."""
        found: Tensor = self.made(x)
        return found


def context_of(data: Path, made: Any, resolution: int) -> EvaluationContext[StyleALAE]:
    model = Copies(build(SMALL), SMALL, torch.zeros(10, 4), stage=4)
    model.made = made
    dataset = Dataset.open(DataConfig(path=str(data)), resolution)
    return EvaluationContext(model=model, dataset=dataset, world=ALONE, samples=200, batch=8)


def values(name: str, context: EvaluationContext[StyleALAE]) -> dict[str, float]:
    return {
        k: v for result in evaluate(Evaluation([name], context)) for k, v in result.values.items()
    }


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("faces") / "rendered"
    prepare(open_source("160", "rendered", test_fraction=1 / 4), out, (4, 8, 16), workers=1)
    return out


def test_how_long_it_takes_is_told_by_the_first_of_many_batches(faces: Path) -> None:
    context = replace(context_of(faces, lambda x: x, 16), batch=2)  # 20 batches held out
    assert seconds_of(Evaluation(["identity-rendered"], context)) > 0


def test_rendered_faces_are_read_and_what_a_reconstruction_loses_is_not(faces: Path) -> None:
    found = values("identity-rendered", context_of(faces, lambda x: x, 16))
    assert found["identity-rendered-share"] == pytest.approx(1)
    for easy in ("yaw", "skin_tone", "backdrop_lightness"):
        assert found[f"identity-rendered-originals/{easy}"] > 0.7
    assert {f"identity-rendered/{name}" for name in PARAMETERS} <= found.keys()
    assert found == values("identity-rendered", context_of(faces, lambda x: x, 16))
    mirrored = values("identity-rendered", context_of(faces, lambda x: x.flip(3), 16))
    assert mirrored["identity-rendered/yaw"] < -0.7  # the head looks the other way
    assert mirrored["identity-rendered/skin_tone"] > 0.7
    grey = values("identity-rendered", context_of(faces, torch.zeros_like, 16))
    assert abs(grey["identity-rendered"]) < 1e-6


def test_what_cannot_be_read_is_refused(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = context_of(faces, lambda x: x, 16)
    monkeypatch.setattr("pipeline.evaluation.requirements.installed", lambda: False)
    with pytest.raises(ConfigError, match=r"identity recognises faces with an extra: pip install"):
        require(Evaluation(["identity"], context))
    manifest = replace(context.dataset.manifest, source="files")
    monkeypatch.setattr(context.dataset, "manifest", manifest)
    with pytest.raises(ConfigError, match="measures rendered faces, whose parameters are known"):
        require(Evaluation(["identity-rendered"], context))


@needs(LONDON)
@pytest.mark.skipif(not dlib_models.installed(), reason="needs the extra faces")
def test_a_face_is_its_own_and_not_the_next_persons(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with tarfile.open(LONDON) as tar:
        names = sorted(n for n in tar.getnames() if n.endswith("_neutral.jpg"))[:6]
        for name in names:
            image = Image.open(io.BytesIO(tar.extractfile(name).read()))  # type: ignore[union-attr]
            image.resize((64, 64)).save(tmp_path / "in" / f"{Path(name).stem}.png")
    out = tmp_path / "out"
    prepare(open_source(str(tmp_path / "in"), test_fraction=0), out, (64,), workers=1)
    own = values("identity", context_of(out, lambda x: x, 64))
    assert own["identity-faces"] == 1
    assert own["identity"] == pytest.approx(1)
    assert own["identity-first"] == own["identity-same"] == 1
    assert own["identity-others-p10"] <= own["identity-others-p50"] < own["identity-p10"]
    next_ = values("identity", context_of(out, lambda x: x.roll(1, 0), 64))
    assert next_["identity-first"] == next_["identity-same"] == 0
    assert next_["identity"] < own["identity-others-p90"] + 0.05
    nobody = values("identity", context_of(out, torch.zeros_like, 64))
    assert np.isfinite(nobody["identity"])
