"""Whatever is given to a command in the place of a file or folder, the answer is a sentence."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

from pipeline.cli.app import main
from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.networks import build

SMALL = ModelConfig(
    resolution=8, start_channels=4, max_channels=4, z_width=4, w_width=4, mapping_layers=1
)
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PAGE = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>404</body></html>"

COMMANDS = {
    "align": ["align", "PHOTO", "--landmarks", "TABLE", "--out", "OUT"],
    "prepare": ["prepare", "PHOTOS", "--labels", "TABLE", "--out", "OUT", "--workers", "1"],
    "verify": ["verify", "SET"],
    "inspect": ["inspect", "SET"],
    "plan": ["plan", "CONFIG"],
    "plan with rates": ["plan", "demo", "--rates", "TABLE"],
    "train": ["train", "CONFIG"],
    "train on": ["train", "demo", "data.path=SET", "run_dir=OUT"],
    "import": ["import", "RELEASED", "OUT"],
    "sample": ["sample", "MODEL", "--out", "OUT.png"],
    "reconstruct": ["reconstruct", "MODEL", "PHOTO", "--out", "OUT.png"],
    "encode": ["encode", "MODEL", "PHOTO", "--out", "OUT.npy"],
    "refine": ["refine", "MODEL", "PHOTO", "--features", "WEIGHTS", "--out", "OUT.png"],
    "mix": ["mix", "MODEL", "PHOTO", "--with", "PHOTO", "--out", "OUT.png"],
    "interpolate": ["interpolate", "MODEL", "PHOTO", "PHOTO", "--out", "OUT.png"],
    "directions": ["directions", "MODEL", "PHOTOS", "--labels", "TABLE", "--out", "OUT"],
    "fit-prior": ["fit-prior", "MODEL", "PHOTOS", "--steps", "1", "--out", "OUT"],
    "traverse": ["traverse", "MODEL", "PHOTO", "--directions", "DIRECTIONS", "--out", "OUT.png"],
    "edit": ["edit", "MODEL", "PHOTO", "-a", "a=1", "--directions", "DIRECTIONS", "--out", "OUT"],
    "evaluate": ["evaluate", "MODEL", "--data", "SET", "--features", "WEIGHTS"],
    "record": ["record", "x", "MODEL", "--data", "SET", "--metric", "psnr", "--file", "TABLE"],
    "studio": ["studio", "MODEL", "--directions", "DIRECTIONS", "--detector", "yunet:RELEASED"],
    "report": ["report", "RUN"],
    "export": ["export", "MODEL", "--data", "SET", "--metrics", "TABLE", "--out", "OUT"],
}  # fmt: skip
PLACES = ("PHOTOS", "PHOTO", "TABLE", "SET", "CONFIG", "RELEASED", "MODEL", "WEIGHTS", "DIRECTIONS",
          "RUN")  # fmt: skip


def write(name: str, content: str | bytes) -> Callable[[Path], Path]:
    """What makes a file of this name."""

    def make(folder: Path) -> Path:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    return make


def folder_of(*files: tuple[str, str | bytes]) -> Callable[[Path], Path]:
    """What makes a folder that holds these."""

    def make(folder: Path) -> Path:
        place = folder / "broken"
        place.mkdir()
        for name, content in files:
            write(name, content)(place)
        return place

    return make


def loop(folder: Path) -> Path:
    (folder / "loop").symlink_to("loop")
    return folder / "loop"


BROKEN: dict[str, Callable[[Path], Path]] = {
    "nothing": lambda folder: folder / "missing",
    "an empty file": write("empty.png", b""),
    "an LFS pointer": write("pointer.pth", POINTER),
    "a web page": write("page.pth", PAGE),
    "noise": write("noise.zip", np.random.default_rng(0).bytes(999)),
    "half a zip": write("half.zip", b"PK\x03\x04" + bytes(40)),
    "a list": write("list.json", "[1, [2], null]"),
    "deep brackets": write("deep.json", "[" * 5000),
    "no text": write("binary.yaml", b"\xff\xfe\x00\xd8"),
    "an empty folder": folder_of(),
    "a snapshot of pointers": folder_of(("config.json", POINTER), ("model.safetensors", POINTER)),
    "a snapshot without weights": folder_of(("config.json", '{"format": 1}')),
    "a config alone": folder_of(("config.json", "[]"), ("model.safetensors", PAGE)),
    "a manifest of nothing": folder_of(("manifest.json", "{}")),
    "a manifest that is a page": folder_of(("manifest.json", PAGE), ("directions.json", PAGE)),
    "directions of numbers": folder_of(
        ("directions.json", '{"format": 1, "names": 3}'), ("metrics.jsonl", "1\n")
    ),
    "a circle of links": loop,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What is right, for every place that is not broken."""
    root = tmp_path_factory.mktemp("whole")
    model, photos = root / "run/0008/snapshot", root / "photos"
    model.mkdir(parents=True)
    photos.mkdir()
    m = StyleALAE(build(SMALL), SMALL, torch.zeros(4, 4), stage=1)
    m.save(model)
    m.sefa(1).save(root / "directions")
    Image.new("RGB", (9, 9), "red").save(photos / "a.png")
    table = write("labels.csv", "file,age\na.png,3\n")(root)
    made = CliRunner().invoke(
        main, ["prepare", str(photos), "--out", str(root / "set"), "--resolutions", "4..8"]
    )
    assert made.exit_code == 0, made.output
    config = write("config.yaml", "seed: 1\n")(root)
    save_file({"a": torch.zeros(1)}, root / "weights.pt")
    return {
        "MODEL": model, "PHOTOS": photos, "PHOTO": photos / "a.png", "TABLE": table,
        "SET": root / "set", "CONFIG": config, "RELEASED": root / "weights.pt",
        "WEIGHTS": root / "weights.pt", "DIRECTIONS": root / "directions", "RUN": root / "run",
    }  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_no_input_ends_in_a_traceback(command: str, whole: dict[str, Path], tmp_path: Path) -> None:
    template = COMMANDS[command]
    for number, (what, make) in enumerate(BROKEN.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        bad = make(folder)
        for place in PLACES:
            words = filled(template, {**whole, place: bad, "OUT": folder / "out"})
            if str(bad) not in " ".join(words) or (place, what) == ("CONFIG", "an empty file"):
                continue
            result = CliRunner().invoke(main, words)
            assert isinstance(result.exception, SystemExit), (words, result.exc_info)
            assert result.exit_code == 1, (words, result.output)
            assert "error: " in result.output


def filled(template: Sequence[str], places: Mapping[str, Path]) -> list[str]:
    """The words of a command, each place as the path that it is."""
    word = re.compile("|".join(sorted(places, key=len, reverse=True)))
    return [word.sub(lambda found: str(places[found[0]]), part) for part in template]
