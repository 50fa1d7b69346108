"""What the studio's user waits for: a picture at 256x256, of the widths that FFHQ is trained at."""

from typing import Any

import torch
from starlette.testclient import TestClient

from bench.timing import compare
from pipeline.studio.server import app_of
from pipeline.studio.studio import Studio
from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.networks import build

__all__ = ["bench_studio"]

FFHQ_256 = ModelConfig(resolution=256, start_channels=64)


def bench_studio(rounds: int) -> list[dict[str, Any]]:
    """The request while a slider moves against the one after: the whole way through the server."""
    w_mean = torch.zeros(2 * FFHQ_256.blocks, FFHQ_256.w_width)
    m = StyleALAE(build(FFHQ_256), FFHQ_256, w_mean, stage=FFHQ_256.blocks - 1)
    client = TestClient(app_of(Studio(m)), base_url="http://localhost")

    def picture(i: int, draft: bool) -> None:
        recipe = {"face": {"seed": 1}, "amounts": {"pc1": 0.1 * i}, "draft": draft}
        assert client.post("/api/picture", json=recipe).status_code == 200

    name = "studio: picture while a slider moves / at rest, 256"
    return [
        compare(name, lambda i: picture(i, True), lambda i: picture(i, False),
                rounds=rounds, images=1)
    ]  # fmt: skip
