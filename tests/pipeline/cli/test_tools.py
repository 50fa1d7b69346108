"""The tools as a person types them: what they write, and what they say to bad input."""

import json
import os
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image, ImageSequence
from safetensors import safe_open

from pipeline.cli.app import main
from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.editing.directions import Directions
from stylealae.file_hash import sha256_of
from stylealae.image_grid import to_uint8
from stylealae.networks import build
from tests.released import checkpoint
from tests.shared_data import FAIRFACE, needs

SMALL = ModelConfig(
    resolution=16, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)
HELPFUL = ("align", "encode", "reconstruct", "refine", "sample", "mix", "interpolate",
           "directions", "traverse", "edit", "fit-prior", "export")  # fmt: skip


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def numbers(*arguments: str | Path) -> dict[str, Any]:
    """Runs a command that must succeed; its line of JSON."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    folder = tmp_path / "runs/0016/snapshot"
    folder.mkdir(parents=True)
    StyleALAE(build(SMALL, 1), SMALL, torch.zeros(6, 8), stage=2).save(folder)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (24, 20, 20, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image // (1 + i % 2)).save(folder / f"{i:02d}.png")
    dark = "".join(f"{i:02d}.png,{i % 2},{'ab'[i % 2]}\n" for i in range(24))
    (folder / "labels.csv").write_text(f"file,dark,kind\n{dark}")
    return folder


def packed(photos: Path, kind: str) -> Path:
    """The photos as a zip, a tar, a prepared set, or one of them."""
    if kind == "file":
        return photos / "00.png"
    out = photos.with_suffix(f".{kind}")
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as archive:
            for file in photos.iterdir():
                archive.write(file, file.name)
    elif kind == "tar":
        with tarfile.open(out, "w") as tar:
            tar.add(photos, "photos")
    else:
        done = run("prepare", photos, "--out", out, "--resolutions", "4..16", "--workers", "1")
        assert done.exit_code == 0
    return out


@pytest.mark.parametrize("kind", ["file", "zip", "tar", "set"])
def test_whatever_holds_images_is_encoded_alike(
    kind: str, snapshot: Path, photos: Path, tmp_path: Path
):
    found = []
    for k, images in enumerate((photos, packed(photos, kind))):
        out = tmp_path / f"{k}.safetensors"
        numbers("encode", snapshot, images, "--out", out, "--count", "24")
        with safe_open(out, "pt") as file:
            names = json.loads(file.metadata()["names"])
            styles = dict(zip(names, file.get_tensor("w"), strict=True))
        found.append({Path(name).name: w for name, w in styles.items()})
    assert len(found[1]) == (1 if kind == "file" else 24)
    for name, w in found[1].items():
        assert torch.allclose(w, found[0][name], atol=1e-4)


def test_f_is_fitted_to_images_for_training_alone(snapshot: Path, photos: Path, tmp_path: Path):
    out, fitted = tmp_path / "set", tmp_path / "fitted"
    words = ("--resolutions", "16", "--workers", "1", "--test-fraction", "0.25")
    assert run("prepare", photos, "--out", out, *words).exit_code == 0
    said = numbers("fit-prior", snapshot, out, "--steps", "2", "--recover", "32", "--out", fitted)
    assert said["images"] == 18
    assert 0 < said["lost"] != said["lost_before"]
    assert "E and G by 32 to its styles" in (fitted / "README.md").read_text()
    StyleALAE.load(snapshot).save(snapshot, origin="Found.")
    numbers("directions", snapshot, "--sefa", "2")
    numbers("fit-prior", snapshot, out, "--steps", "2", "--out", fitted, "--overwrite")
    said = "Found. F was fitted to 18 images afterwards (stylealae fit-prior)."
    assert StyleALAE.load(fitted).origin == said
    assert Directions.load(fitted).names == ("sefa1", "sefa2")
    numbers("fit-prior", fitted, out, "--steps", "2", "--out", fitted, "--overwrite")  # in place
    assert Directions.load(fitted).names == ("sefa1", "sefa2")
    assert numbers("encode", snapshot, out, "--out", tmp_path / "w.npy")["images"] == 24


def test_styles_as_npy_and_from_a_runs_folder(snapshot: Path, photos: Path, tmp_path: Path):
    out = tmp_path / "w.npy"
    said = numbers("encode", snapshot.parents[1], photos, "--out", out)
    w = np.load(out)
    assert w.shape == (24, 8)
    assert said["images"] == 24
    assert json.loads(out.with_suffix(".json").read_text())[3] == "03.png"


def test_reconstruct_says_what_psnr_is(snapshot: Path, photos: Path, tmp_path: Path):
    out = tmp_path / "r.png"
    said = numbers("reconstruct", snapshot, photos / "00.png", photos / "01.png", "--out", out)
    m = StyleALAE.load(snapshot)
    from pipeline.data.images import load_images

    x = load_images([photos / "00.png"], 16)
    error = np.square((x - m.reconstruct(x).clamp(-1, 1)).double().numpy() / 2).mean()
    assert said["of"]["00.png"] == pytest.approx(-10 * np.log10(error), rel=1e-3)
    stages = numbers("reconstruct", snapshot, photos, "--stages", "--count", "3", "--out", out)
    assert set(stages["psnr_db"]) == {"4x4", "8x8", "16x16"}


def test_refine_gains(snapshot: Path, photos: Path, tmp_path: Path):
    said = numbers("refine", snapshot, photos, "--count", "2", "--steps", "20",
                   "--out", tmp_path / "r.png", "--styles", tmp_path / "w.npy")  # fmt: skip
    assert said["gain_db"] > 0.1
    assert np.load(tmp_path / "w.npy").shape == (2, 6, 8)
    none = numbers("refine", snapshot, photos, "--count", "2", "--steps", "0",
                   "--out", tmp_path / "r.png")  # fmt: skip
    assert none["gain_db"] == 0


def test_refine_descends_by_lpips_where_its_file_is_at_hand(
    snapshot: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A file of NVIDIA's signature stands in: its space is the image at a quarter of the size."""

    class Vgg(torch.nn.Module):
        def forward(
            self, img: torch.Tensor, resize_images: bool = True, return_features: bool = False,
            return_lpips: bool = False,
        ) -> torch.Tensor:  # fmt: skip
            """[N, 3, R, R] in [0, 255] -> [N, any]"""
            small = torch.nn.functional.avg_pool2d(img.float() / 255, 4).flatten(1)
            return small if return_lpips else small[:, :3]

    from stylealae.metrics import features

    path = tmp_path / "vgg16.pt"
    torch.jit.script(Vgg()).save(str(path))
    some = ("refine", snapshot, photos, "--count", "2", "--steps", "30",
            "--out", tmp_path / "r.png")  # fmt: skip
    refused = run(*some, "--features", path)
    assert features.KNOWN["vgg16"].sha256 in refused.output
    pinned = replace(features.KNOWN["vgg16"], sha256=sha256_of(path))
    monkeypatch.setattr(features, "KNOWN", {**features.KNOWN, "vgg16": pinned})
    without, told = numbers(*some), numbers(*some, "--features", path)
    assert without["lpips-random"]["before"] > without["lpips-random"]["after"]
    assert told["lpips"]["after"] < 0.95 * told["lpips"]["before"]
    assert told["gain_db"] != without["gain_db"]  # another descent


def test_what_is_written_may_be_read_as_far_as_the_umask_lets_it(photos: Path, tmp_path: Path):
    before = os.umask(0o007)
    try:
        snapshot = tmp_path / "mine"
        snapshot.mkdir()
        StyleALAE(build(SMALL, 1), SMALL, torch.zeros(6, 8), stage=2).save(snapshot)
        numbers("directions", snapshot, "--sefa", "2")
        numbers("encode", snapshot, photos, "--out", snapshot / "styles.safetensors")
        numbers("export", snapshot, "--out", tmp_path / "hub")
    finally:
        os.umask(before)
    written = [file for name in ("mine", "hub") for file in (tmp_path / name).iterdir()]
    assert sum(file.suffix == ".safetensors" for file in written) == 5
    assert {file.name for file in written if file.stat().st_mode & 0o777 != 0o660} == set()


def test_a_seed_stands_wherever_a_face_does(snapshot: Path, photos: Path, tmp_path: Path):
    out, m = tmp_path / "o.png", StyleALAE.load(snapshot)
    numbers("encode", snapshot, "seed:3", photos, "seed:4", "--out", tmp_path / "w.npy")
    names = json.loads((tmp_path / "w.json").read_text())
    assert (names[0], names[-1], len(names)) == ("seed 3", "seed 4", 26)
    pixels = to_uint8(m.generate(m.styles(1, 3), noise=False))  # [1, R, R, C]
    w = m.encode(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1)
    assert np.load(tmp_path / "w.npy")[0] == pytest.approx(w[0].numpy(), abs=1e-3)
    assert set(numbers("reconstruct", snapshot, "seed:3", "--out", out)["of"]) == {"seed 3"}
    numbers("directions", snapshot, "--sefa", "1")
    assert numbers("edit", snapshot, "seed:3", "-a", "sefa1=0", "--out", out)["images"] == 1
    shown = np.asarray(Image.open(out))
    numbers("edit", snapshot, "seed:3", "-a", "sefa1=9", "--out", out)
    assert not np.array_equal(np.asarray(Image.open(out)), shown)
    numbers("traverse", snapshot, "seed:3", photos / "00.png", "--along", "sefa1", "--out", out)


def test_what_is_there_is_replaced_with_overwrite_alone(snapshot: Path, tmp_path: Path):
    numbers("export", snapshot, "--out", tmp_path / "hub")
    assert run("export", snapshot, "--out", tmp_path / "hub").exit_code == 1
    (tmp_path / "hub/mine.txt").write_text("")
    numbers("export", snapshot, "--out", tmp_path / "hub", "--overwrite")
    assert not (tmp_path / "hub/mine.txt").exists()


def test_directions_stay_until_they_are_to_be_replaced(snapshot: Path, photos: Path):
    numbers("directions", snapshot, "--sefa", "1")
    before = Directions.load(snapshot)
    said = numbers("directions", snapshot, photos, "--attributes", "dark")
    both = Directions.load(snapshot)
    assert (both.names, said["beside"], said["directions"]) == (("sefa1", "dark"), ["sefa1"], 1)
    assert torch.equal(both.vectors[0], before.vectors[0])
    assert both.about["attributes"] == said["attributes"]
    w = StyleALAE.load(snapshot).styles(3)
    assert torch.allclose(both.scores(w)[:, :1], before.scores(w))
    for words, why in (
        (["--sefa", "2"], "holds sefa1 already"),
        ([photos], "holds dark already"),
        (["--sefa", "2", "--layers", "0-3"], "holds sefa1 already"),
        ([photos, "--attributes", "dark"], "holds dark already"),
    ):
        refused = run("directions", snapshot, *words)
        assert refused.exit_code == 1
        assert why in refused.output
        assert "replace the 2 directions there with --overwrite" in refused.output
    assert Directions.load(snapshot).names == both.names
    numbers("directions", snapshot, "--principal", "2", "--overwrite")
    assert Directions.load(snapshot).names == ("pc1", "pc2")
    numbers("directions", snapshot, "--sefa", "1", "--layers", "0-3", "--overwrite")
    assert "move layers 0-3" in run("directions", snapshot, photos).output


def test_a_direction_no_better_than_guessing_says_so(
    snapshot: Path, photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """Labels drawn without a look at the images: on those held out they are guessed."""
    rows = "".join(f"{i:02d}.png,{i % 3 == 0:d}\n" for i in range(24))
    (tmp_path / "noise.csv").write_text(f"file,noise\n{rows}")
    said = numbers("directions", snapshot, photos, "--labels", tmp_path / "noise.csv")
    judged = said["attributes"]["noise"]
    assert judged["accuracy"] <= judged["chance"]
    assert said["no_better_than_guessing"] == ["noise"]
    assert "noise: no better than guessing" in caplog.text
    out = tmp_path / "o.png"
    numbers("edit", snapshot, "seed:1", "-a", "noise=1", "--out", out)
    assert "noise: this direction told its attribute no better" in caplog.text


def test_truncation_zero_has_no_spread(snapshot: Path, tmp_path: Path):
    out = tmp_path / "s.png"
    said = numbers("sample", snapshot, "--seeds", "1,3-4", "--truncation", "0,1", "--out", out)
    assert said["images"] == 6
    assert said["spread_of_pixels"]["0"] < 1e-5 < said["spread_of_pixels"]["1"]


def test_mix_moves_each_band(snapshot: Path, photos: Path, tmp_path: Path):
    said = numbers("mix", snapshot, "seed:1", photos / "00.png", "--with", "seed:2",
                   "--out", tmp_path / "m.png")  # fmt: skip
    assert set(said["mean_squared_change"]) == {"coarse", "middle", "fine"}
    assert min(said["mean_squared_change"].values()) > 0


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        (".gif", "GIF"),
        (".webp", "lossless WebP"),
        (".mp4", "H.264"),
        (".webm", "VP9"),
        (".WEBP", "lossless WebP"),
        (".MP4", "H.264"),
        (".WebM", "VP9"),
    ],
)
def test_videos(suffix: str, kind: str, snapshot: Path, tmp_path: Path):
    import cv2

    out = tmp_path / f"way{suffix}"
    said = numbers("interpolate", snapshot, "seed:1", "seed:2", "--seconds", "0.5", "--fps", "10",
                   "--loop", "--out", out)  # fmt: skip
    assert (said["pictures"], said["kind"]) == (10, kind)
    if suffix.lower() in (".gif", ".webp"):
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(Image.open(out))]
        assert len(frames) == 10
        assert np.array_equal(frames[1], frames[-1])  # of a way there and back; then the first
        return
    video = cv2.VideoCapture(str(out))
    count = 0
    while video.read()[0]:
        count += 1
    assert count == 10


def test_the_shortest_way_has_a_picture_of_either_face(snapshot: Path, tmp_path: Path):
    out = tmp_path / "way.gif"
    said = numbers("interpolate", snapshot, "seed:1", "seed:2", "--seconds", "0.1", "--fps", "4",
                   "--out", out)  # fmt: skip
    assert said["pictures"] == 2


def test_directions_are_found_kept_and_used(snapshot: Path, photos: Path, tmp_path: Path):
    said = numbers("directions", snapshot, photos, "--method", "svm")
    assert set(said["attributes"]) == {"dark", "kind:b"}
    assert Directions.load(snapshot).about["method"] == "svm"
    edited = numbers("edit", snapshot, photos / "01.png", "-a", "dark=+1", "-a", "kind:b=-0.5",
                     "--refine", "3", "--out", tmp_path / "e.png")  # fmt: skip
    assert set(edited["scores"]) == {"dark", "kind:b"}
    along = numbers("traverse", snapshot, "--along", "dark", "--out", tmp_path / "t.png")
    assert along["mean_squared_change"]["dark"] > 0
    labels = tmp_path / "other.csv"
    rows = "".join(f"{i:02d}.png,{i % 2}\n" for i in range(24))
    labels.write_text(f"file,shade\n{rows}")
    out = tmp_path / "d"
    said = numbers("directions", snapshot, photos, "--labels", labels, "--out", out)
    assert set(said["attributes"]) == {"shade"}


@pytest.mark.parametrize("name", HELPFUL)
def test_help_teaches_with_an_example(name: str):
    shown = run(name, "--help").output
    assert f"stylealae {name} " in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["encode", "SNAP", "PHOTOS", "--out", "OUT.txt"], "ends in .safetensors or .npy"),
        (["encode", "SNAP", "BROKEN", "--out", "OUT.npy"], "it cannot be decoded"),
        (["encode", "SNAP", "HUGE", "--out", "OUT.npy"], "decompression bomb"),
        (["encode", "SNAP", "MISSING", "--out", "OUT.npy"], "does not exist"),
        (["encode", "SNAP", "PHOTOS", "--out", "OUT.npy", "--device", "cuda:7"], "--device cuda:7"),
        (["encode", "BROKEN", "PHOTOS", "--out", "OUT.npy"], "is a picture, and a model"),
        (["encode", "PHOTOS", "PHOTOS", "--out", "OUT.npy"], "is neither a snapshot nor a run"),
        (["sample", "SNAP", "--seeds", "a-b", "--out", "OUT.png"], "numbers and ranges"),
        (["sample", "SNAP", "--truncation", "x", "--out", "OUT.png"], "--truncation is 'x'"),
        (["refine", "SNAP", "PHOTOS", "--steps", "-1", "--out", "OUT.png"], "steps is -1"),
        (["interpolate", "SNAP", "seed:1", "--out", "OUT.png"], "there is one face"),
        (["interpolate", "SNAP", "seed:1", "seed:2", "--out", "OUT.avi"], "end it in .png"),
        (["mix", "SNAP", "seed:x", "--with", "seed:2", "--out", "OUT.png"], "is not a seed"),
        (["encode", "SNAP", "seed:-1", "--out", "OUT.npy"], "is not a seed"),
        (
            ["sample", "SNAP", "--seeds", "5-2", "--out", "OUT.png"],
            "ends before it begins",
        ),
        (
            ["interpolate", "SNAP", "seed:1", "seed:2", "--out", "OUT.txt"],
            ".bmp, .gif, .mp4",
        ),
        (["align", "PHOTO", "--out", "OUT", "--sheet", "OUT.pdf"], "--sheet is"),
        (["directions", "SNAP", "--sefa", "2", "--out", "KNOWN"], "holds sefa1 already"),
        (["export", "SNAP", "--out", "PHOTOS", "--overwrite"], "is not a model"),
        (["directions", "SNAP"], "give one of these"),
        (["directions", "SNAP", "--principal", "99"], "1 to 8 principal"),
        (["directions", "SNAP", "--sefa", "2", "--layers", "x"], "two numbers"),
        (["directions", "SNAP", "PHOTOS", "--attributes", "smile"], "the labels are dark, kind"),
        (["directions", "SNAP", "PHOTO", "--attributes", "smile"], "has no labels"),
        (["edit", "SNAP", "PHOTO", "-a", "smile", "--out", "OUT.png"], "smile=+2"),
        (["edit", "SNAP", "PHOTO", "-a", "smile=1", "--out", "OUT.png"], "holds no directions"),
        (["traverse", "SNAP", "--out", "OUT.png"], "stylealae directions"),
        (["align", "PHOTO", "--landmarks", "BROKEN", "--out", "OUT"], "cannot be read as landm"),
        (["align", "PHOTO", "--detector", "yunet", "--out", "OUT"], "names no file of weights"),
        (["export", "SNAP", "--out", "PHOTOS"], "replace it with --overwrite"),
    ],
)
def test_bad_input_is_a_sentence(
    arguments: list[str], said: str, snapshot: Path, photos: Path, tmp_path: Path
):
    broken, huge = tmp_path / "broken.png", tmp_path / "huge.png"
    broken.write_bytes((photos / "00.png").read_bytes()[:300])
    Image.new("1", (20000, 10000)).save(huge)
    StyleALAE.load(snapshot).sefa(1).save(tmp_path / "known")
    places = {"SNAP": snapshot, "PHOTOS": photos, "PHOTO": photos / "00.png", "BROKEN": broken,
              "HUGE": huge, "MISSING": tmp_path / "missing",
              "KNOWN": tmp_path / "known"}  # fmt: skip
    known = [str(places.get(a, a)).replace("OUT", str(tmp_path / "out")) for a in arguments]
    result = run(*known)
    assert result.exit_code == 1, result.output
    assert "error:" in result.output
    assert said in result.output.replace("\n", " ")
    assert "Traceback" not in result.output


def test_grey_photos_and_small_ones_are_taken(snapshot: Path, photos: Path, tmp_path: Path, caplog):
    Image.open(photos / "00.png").convert("L").resize((9, 9)).save(tmp_path / "grey.png")
    out = tmp_path / "r.png"
    assert numbers("reconstruct", snapshot, tmp_path / "grey.png", "--out", out)["images"] == 1
    assert "smaller than the model's 16x16" in caplog.text


def test_what_of_an_image_is_not_shown_is_said(
    snapshot: Path, photos: Path, tmp_path: Path, caplog
):
    deep = np.random.default_rng(0).integers(0, 4096, (20, 20)).astype(np.uint16)
    Image.fromarray(deep).save(photos / "deep.png")
    numbers("encode", snapshot, photos, "--out", tmp_path / "w.npy")
    assert "of 1 images: 16 bits of which the upper 4 are empty" in caplog.text
    assert "to RGB" not in caplog.text


def test_a_released_checkpoint_goes_through_every_tool(photos: Path, tmp_path: Path):
    released = checkpoint("style_rgb_32", tmp_path)
    png, found = tmp_path / "o.png", tmp_path / "d"
    photo = photos / "00.png"
    assert numbers("reconstruct", released, photo, "--out", png)["resolution"] == 32
    numbers("encode", released, photos, "--out", tmp_path / "w.npy")
    assert numbers("refine", released, photo, "--steps", "5", "--out", png)["gain_db"] >= 0
    numbers("sample", released, "--count", "4", "--truncation", "0.7", "--out", png)
    data = tmp_path / "set"
    made = run("prepare", photos, "--out", data, "--resolutions", "4..32", "--workers", "1")
    assert made.exit_code == 0
    said = numbers("evaluate", released, "--data", data, "--metrics", "psnr", "--cache", tmp_path)
    assert said["snapshot"] == str(released)
    numbers("mix", released, photo, "--with", "seed:1", "--out", png)
    numbers("interpolate", released, photo, "seed:1", "--steps", "3", "--out", png)
    numbers("directions", released, photos, "--out", found)
    numbers("traverse", released, "--directions", found, "--steps", "3", "--out", png)
    numbers("edit", released, photo, "-a", "dark=1", "--directions", found, "--out", png)
    said = numbers("export", released, "--format", "torch", "--out", tmp_path / "hub")
    assert max(said["largest_error"]["torch"].values()) < 1e-3
    refused = run("edit", released, photo, "-a", "dark=1", "--out", png)
    assert "stylealae import" in refused.output


@needs(FAIRFACE)
def test_real_faces_and_their_labels(snapshot: Path, tmp_path: Path):
    out = tmp_path / "d"
    said = numbers("directions", snapshot, FAIRFACE, "--count", "150", "--out", out)
    assert any(name.startswith("gender:") for name in said["attributes"])
    assert any(name.startswith("age:") for name in said["attributes"])
    some = ("directions", snapshot, FAIRFACE, "--count", "150", "--out", out, "--overwrite",
            "--attributes")  # fmt: skip
    said = numbers(*some, "gender:Male,age:30-39")
    assert set(said["attributes"]) == {"gender:Male", "age:30-39"}
    refused = run(*some, "gender:male")
    assert "no image has 'male' for gender: it is Female, Male" in refused.output
