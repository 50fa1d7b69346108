"""What the studio's user waits for: a picture at 256x256, of the widths that FFHQ is trained at."""

from typing import Any

import torch
from starlette.testclient import TestClient

from bench.timing import compare
from pipeline.studio.answers import Answers
from pipeline.studio.recipe import Face, Recipe
from pipeline.studio.server import app_of
from pipeline.studio.studio import Studio
from pipeline.studio.tunings import Tunings
from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.networks import build

__all__ = ["bench_studio"]

FFHQ_256 = ModelConfig(resolution=256, start_channels=64)
AT_ONCE, SMALL = 16, ModelConfig(resolution=32)


def bench_studio(rounds: int) -> list[dict[str, Any]]:
    """The request while a slider moves against the one after; pictures together and one by one."""
    client = TestClient(app_of(_studio_of(FFHQ_256)), base_url="http://localhost")

    def picture(i: int, draft: bool) -> None:
        recipe = {"face": {"seed": 1}, "amounts": {"pc1": 0.1 * i}, "draft": draft}
        assert client.post("/api/picture", json=recipe).status_code == 200

    small = _studio_of(SMALL)
    answers = Answers(small, Tunings(small))
    recipes = [Recipe(face=Face(w=w)) for w in torch.randn(AT_ONCE, SMALL.w_width)]

    def one_by_one(_: int) -> None:
        for recipe in recipes:
            answers.pictures([recipe])

    return [
        compare("studio: picture while a slider moves / at rest, 256",
                lambda i: picture(i, True), lambda i: picture(i, False), rounds=rounds, images=1),
        compare("studio: 16 pictures that wait, together / one by one, 32",
                lambda _: answers.pictures(recipes), one_by_one, rounds=rounds, images=AT_ONCE),
    ]  # fmt: skip


def _studio_of(model: ModelConfig) -> Studio:
    """A studio of an untrained model."""
    w_mean = torch.zeros(2 * model.blocks, model.w_width)
    return Studio(StyleALAE(build(model), model, w_mean, stage=model.blocks - 1))
