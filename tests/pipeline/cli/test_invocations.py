"""What people type, right and slightly wrong: the result, or a sentence that says what to type.

Every line stands in the same folder: a run of a small model, photos with labels, a prepared set.
"""

import json
import os
import re
import shlex
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from pipeline.cli.app import main
from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.networks import build

SMALL = ModelConfig(
    resolution=8, start_channels=4, max_channels=4, z_width=4, w_width=4, mapping_layers=1
)
COUNT = 20

TYPICAL = {
    "--help": "prepare",
    "-h": "prepare",
    "--version": "stylealae, version",
    "sample --help": "stylealae sample",
    "prepare photos --out datasets/a --resolutions 4..8 --workers 1": "20 train",
    "prepare photos.zip --out datasets/b --resolutions 4..8 --workers 1": "labels: dark, kind",
    "prepare rendered:6 --out datasets/c --resolutions 4 --workers 1": "6 train",
    "prepare 6 --source rendered --out datasets/d --resolutions 4 --workers 1": "6 train",
    "prepare plain --labels ages.csv --out datasets/e --resolutions 8 --workers 1": "labels: age",
    "prepare photos --channels 1 --fit pad --out datasets/f --resolutions 8 --workers 1": "20 tr",
    "verify datasets/mine": "datasets/mine is whole",
    "inspect datasets/mine": "20 images in 1 shards",
    "inspect datasets/mine --json": '"source": "folder"',
    "inspect datasets/mine --out drawn --count 2": "drawn/0008.png",
    "plan demo model.resolution=8 model.max_channels=8": "stages of runs/demo",
    "plan demo model.resolution=8 model.max_channels=8 --json": '"resolution": 8',
    "sample runs/demo --out out/a.png": "out/a.png",
    "sample runs/demo/0008/snapshot --out out/b.jpg --count 4 --seed 3": '"images": 4',
    "sample runs/demo --out out/c.png --seeds 0-2,7 --truncation 0.5,1": '"images": 8',
    "sample runs/demo --out out/d.webp --device cpu --noise --count 2": '"images": 2',
    "reconstruct runs/demo photos/00.png --out out/e.png": '"images": 1',
    "reconstruct runs/demo photos photos.zip --count 3 --out out/f.png": '"images": 3',
    "reconstruct runs/demo datasets/mine --count 2 --stages --out out/g.png": '"8x8"',
    "encode runs/demo photos --out out/w.npy": '"images": 20',
    "encode runs/demo seed:1 photos/00.png --out out/w.safetensors": '"images": 2',
    "refine runs/demo photos/00.png --steps 1 --out out/h.png": '"gain_db"',
    "mix runs/demo seed:1 photos/00.png --with seed:2 --out out/i.png": '"faces": 2',
    "interpolate runs/demo seed:1 seed:2 --steps 3 --out out/j.png": '"pictures": 3',
    "interpolate runs/demo seed:1 seed:2 --seconds 0.1 --fps 20 --out out/k.gif": '"kind": "GIF"',
    "fit-prior runs/demo photos --steps 2 --out out/fitted": '"mmd_after"',
    "directions runs/demo --sefa 2 --out out/sefa": '"directions": 2',
    "directions runs/demo --principal 2 --out out/pc": '"method": "principal"',
    "directions runs/demo photos --attributes dark --out out/dark": '"dark"',
    "edit runs/demo photos/00.png -a dark=+1 --directions dirs --out out/l.png": '"amounts"',
    "edit runs/demo seed:1 -a dark=-1.5 -a kind:b=1 --directions dirs --out out/m.png": '"kind:b"',
    "traverse runs/demo --along dark --directions dirs --steps 3 --out out/n.png": '"reach"',
    "evaluate runs/demo --data datasets/mine --metrics psnr,ssim --cache out": '"metric": "ssim"',
    "evaluate runs/demo --data datasets/mine --metrics psnr --out out/s.jsonl --cache out": "psnr",
    "reconstruct runs/demo photos/00.png photos/00.png --out out/t.png": '"photos/00.png (2)"',
    "evaluate --list": "fid-random",
    "export runs/demo --out out/export": '"files"',
    "report runs/trained": "runs/trained/report.html",
    "record a runs/seeded --data datasets/mine --metric psnr --file out/r.json": "'seeds': [7]",
    "record b runs/seeded --data datasets/mine --metric lpips-random --file out/r.json": "'sd'",
    "record c runs/seeded --data datasets/mine --metric mig --labels dark --file out/r.json": "mig",
    "compare runs/trained runs/trained": '"command": "compare"',
}
"""What is typed, and a part of what is printed."""

WRONG = {
    "sampel runs/demo": "Did you mean 'sample'?",
    "help": "type `stylealae --help`",
    "version": "type `stylealae --version`",
    "--verbose": "Did you mean '--version'?",
    "sample": "Missing argument 'MODEL'",
    "sample runs/demo": "Missing option '--out'",
    "sample runs/dem --out s.png": "runs/dem does not exist: did you mean runs/demo?",
    "sample runs/demo/8/snapshot --out s.png": "did you mean runs/demo/0008/snapshot?",
    "sample datasets/mine --out s.png": "give a folder such as runs/demo",
    "sample runs/demo --out s": "end it in .png, .jpg",
    "sample runs/demo --out photos": "end it in .png, .jpg",
    "sample runs/demo --count 0 --out s.png": "'--count': 0 is not in the range",
    "sample runs/demo --seeds 5-2 --out s.png": "write 2-5",
    "sample runs/demo --seeds '' --out s.png": "--seeds is '': write numbers and ranges",
    "sample runs/demo --truncation high --out s.png": "--truncation is 'high': write numbers",
    "sample runs/demo --truncation 0,7 --out s.png": "as in 0.7",
    "sample runs/demo --device gpu --out s.png": "there is no such device): give cpu, cuda",
    "sample runs/demo --out s.png --cuont 3": "Did you mean one of: '--count'",
    "sample photos/00.png --out s.png": "is a picture, and a model is wanted first",
    "reconstruct runs/demo photo --out r.png": "photo does not exist: did you mean photos?",
    "reconstruct runs/demo ages.csv --out r.png": "it is no image of a known format, but a text",
    "encode runs/demo photos --out w.txt": "ends in .safetensors or .npy",
    "edit runs/demo seed:1 -a dark --directions dirs --out e.png": "smile=+2",
    "edit runs/demo seed:1 -a drak=1 --directions dirs --out e.png": "Did you mean 'dark'?",
    "edit runs/demo seed:1 -a dark=1 --out e.png": "find some with `stylealae directions`",
    "edit runs/demo seed:1 -a dark=1 --directions dirz --out e.png": "did you mean dirs?",
    "traverse runs/demo --along smile --directions dirs --out t.png": "choose from dark, kind:b",
    "fit-prior runs/demo photos --count 9 --out f": "at least 16 images, and there are 9",
    "fit-prior runs/demo photos --out photos": "photos",
    "directions runs/demo": "give one of these: labelled DATA",
    "directions runs/demo plain": "give a CSV of them with --labels",
    "directions runs/demo photos --attributes Dark": "the labels are dark, kind",
    "directions runs/demo photos --out dirs": "replace the 2 directions there with --overwrite",
    "directions runs/demo --principal 2 --layers 0-3": "--layers 0-3 is of --sefa alone",
    "directions runs/demo photos --layers 0-3 --out d": "leave it out, or ask for --sefa K",
    "directions runs/demo --sefa 1 --layers 9-12": "this model's are 0 to 3",
    "interpolate runs/demo seed:1 --out w.png": "name two or more to go between",
    "interpolate runs/demo seed:1 seed:two --out w.png": "write for example seed:3",
    "interpolate runs/demo seed:1 seed:2 --out w.avi": ".bmp, .gif, .mp4",
    "interpolate runs/demo seed:1 seed:2 --steps 3 --out w.webp": "a video has --seconds and --fps",
    "interpolate runs/demo seed:1 seed:2 --fps 9 --out w.png": "--fps would change nothing",
    "interpolate runs/demo seed:1 seed:2 --seconds nan --out w.gif": "nan is no finite number",
    "interpolate runs/demo seed:1 seed:2 --seconds inf --out w.gif": "inf is no finite number",
    "interpolate runs/demo seed:1 seed:2 --fps nan --out w.gif": "nan is no finite number",
    "mix runs/demo seed:1 --with seed:2 --count 0 --out w.png": "'--count': 0 is not in the range",
    "mix runs/demo seed:1 --with seed:2 --count -1 --out w.png": "-1 is not in the range",
    "prepare photos": "Missing option '--out'",
    "prepare phots --out x": "phots does not exist: did you mean photos?",
    "prepare 600 --out x": "for 600 drawn faces write rendered:600",
    "prepare photos --out x --resolutions 4-16": "write powers of two such as 4..64",
    "prepare photos --out x --fit stretch": "is not one of 'crop', 'pad'",
    "prepare photos --out x --channels 2": "images are grey (1) or RGB (3)",
    "prepare photos --out x --labels age.csv": "age.csv is no file: did you mean",
    "prepare photos --out plain": "choose an empty folder",
    "prepare photos/00.png --out x": "give a folder, zip or tar of them",
    "prepare datasets/mine --out x": "is a prepared data set already",
    "prepare photos --out datasets/mine --workers 1": "choose another place, or remove this one",
    "prepare photos --out x --max_broken 3": "Did you mean '--max-broken'?",
    "prepare photos --out x --test-fraction 5": "it is a share, from 0 to below 1",
    "verify photos": "make one with `stylealae prepare photos --out FOLDER`",
    "verify datasets/min": "datasets/min does not exist: did you mean datasets/mine?",
    "inspect datasets": "did you mean datasets/",
    "plan dmeo": "did you mean demo?",
    "plan configs/demo.yml": "it does not exist: did you mean configs/demo.yaml?",
    "plan demo modle.resolution=8": "there is no key modle. Did you mean model?",
    "plan demo model.resolution=33": "make it a power of two",
    "plan demo model.resolution=big": "model.resolution is 'big', and a whole number is wanted",
    "plan demo model.resolution = 8": "write key=value without spaces",
    "plan demo --gpu h1000": "use titan-rtx",
    "evaluate runs/demo": "Missing option '--data'",
    "evaluate runs/demo --data photos.zip": "make one with `stylealae prepare photos.zip",
    "evaluate runs/demo --data datasets/mine --metrics fdi": "did you mean fid",
    "evaluate runs/demo --data datasets/mine --metrics mig": "add --labels, of dark, kind",
    "evaluate runs/demo --data datasets/mine --metrics fid": "add --features FILE",
    "evaluate runs/demo --data datasets/mine --pictures p": "no figure is of a StyleALAE",
    "export runs/demo --out photos": "name another folder, or replace it with --overwrite",
    "import runs/demo out/imported": "runs/demo is a folder, and a file is wanted",
    "report runs/trainde": "runs/trainde does not exist: did you mean runs/trained?",
    "audit runs/trained": "holds no checkpoints",
    "record x runs/demo --data datasets/mine --metric psn": "did you mean psnr",
    "record x runs/demo --data datasets/mine --metric psnr": "give the folder of a finished run",
    "record x runs/seeded runs/demo --data datasets/mine --metric psnr": "runs/demo has no check",
    "record x runs/seeded --data datasets/mine --metric mig": "add --labels, of dark, kind",
    "record x runs/seeded --data datasets/mine --metric fid": "add --features FILE",
    "record x runs/seeded --data datasets/mine --metric kid --figures kid,kid-sd": "spread=kid-sd",
    "record x runs/demo": "a sweep's file, sweep.json, needs neither",
    "sweep seed=[0,1]": "a sweep needs a config",
    "align plain --landmarks ages.csv --out aligned": "cannot be read as landmarks",
}
"""What is typed, and a part of the sentence that it ends in."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what all lines speak of, which is the current one."""
    before, root = Path.cwd(), tmp_path_factory.mktemp("here")
    os.chdir(root)
    for run in ("runs/demo", "runs/trained", "runs/seeded"):
        snapshot = Path(run, "0008/snapshot")
        snapshot.mkdir(parents=True)
        StyleALAE(build(SMALL, 1), SMALL, torch.zeros(4, 4), stage=1, seen=96).save(snapshot)
    Path("runs/trained/metrics.jsonl").write_text(json.dumps({"seen": 96, "loss/critic": 0.7}))
    Path("runs/seeded/metrics.jsonl").write_text('{"seen": 96, "time/img_per_s": 48}')
    Path("runs/seeded/0008/seen-96").mkdir()
    Path("runs/seeded/0008/seen-96/state.json").write_text('{"config": {"seed": 7}}')
    for name in ("photos", "plain", "configs", "out"):
        Path(name).mkdir()
    Path("configs/demo.yaml").write_text("seed: 1\n")
    pixels = np.random.default_rng(0).integers(0, 255, (COUNT, 9, 9, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image // (1 + i % 2)).save(f"photos/{i:02d}.png")
    Image.fromarray(pixels[0]).save("plain/00.png")
    rows = "".join(f"{i:02d}.png,{i % 2},{'ab'[i % 2]}\n" for i in range(COUNT))
    Path("photos/labels.csv").write_text(f"file,dark,kind\n{rows}")
    Path("ages.csv").write_text("file,age\n00.png,20\n")
    with zipfile.ZipFile("photos.zip", "w") as archive:
        for file in Path("photos").iterdir():
            archive.write(file, file.name)
    for line in (
        "prepare photos --out datasets/mine --resolutions 4..8 --workers 1",
        "directions runs/demo photos --out dirs",
    ):
        assert typed(line).exit_code == 0
    yield root
    os.chdir(before)


def typed(line: str) -> Result:
    return CliRunner().invoke(main, shlex.split(line), prog_name="stylealae")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("line", TYPICAL)
def test_what_is_typed_right_works(line: str) -> None:
    found = typed(line)
    assert found.exit_code == 0, found.output
    assert TYPICAL[line] in found.output


@pytest.mark.parametrize("line", WRONG)
def test_what_is_typed_wrong_ends_in_a_sentence_that_helps(line: str, here: Path) -> None:
    there = sorted(here.rglob("*"))
    found = typed(line)
    assert isinstance(found.exception, SystemExit), found.exc_info
    assert found.exit_code == (2 if "--help`" in found.output else 1)
    assert found.output.startswith("error: ")
    assert WRONG[line] in found.output
    assert not re.search(r"Errno|Traceback|Error\(|full_key|\d\.\d{6}", found.output)
    assert sorted(here.rglob("*")) == there  # nothing was written
