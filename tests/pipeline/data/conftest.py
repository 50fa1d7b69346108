"""A folder of small pictures and the shard set made from it, shared by the tests."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.format.manifest import Manifest
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source

PHOTOS = 100


def picture(number: int, side: int = 32) -> Image.Image:
    """Noise over a gradient: every pixel counts, every picture differs."""
    rng = np.random.default_rng(number)
    ramp = np.linspace(0, 120, side)[:, None, None]
    return Image.fromarray((ramp + rng.integers(0, 130, (side, side, 3))).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 100 PNG files, 32x32, with a labels.csv."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(PHOTOS):
        (folder / f"{i:03d}.v1.png").write_bytes(encoded(picture(i)))
    rows = [f"{i:03d}.v1.png,{i / 4},{'odd' if i % 2 else 'even'}" for i in range(PHOTOS)]
    (folder / "labels.csv").write_text("\n".join(["file,age,parity", *rows]))
    return folder


@pytest.fixture(scope="session")
def dataset(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder prepared at 4, 8, 16 and 32 in six shards: 84 images to train on, 16 to test."""
    out = tmp_path_factory.mktemp("datasets") / "photos"
    prepare(open_source(str(photos)), out, (4, 8, 16, 32), workers=1, shard_img=20)
    return out


@pytest.fixture
def manifest(dataset: Path) -> Manifest:
    """The manifest of the shared shard set."""
    return Manifest.read(dataset)
