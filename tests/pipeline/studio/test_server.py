"""What the studio's server promises: pictures of recipes, sentences for the rest, nothing kept."""

import asyncio
import base64
import io
import json
import multiprocessing
import os
import shutil
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from starlette.requests import Request
from starlette.testclient import TestClient

from pipeline.cli.app import main
from pipeline.cli.commands.pages import _config_of, _examples, _trained_on
from pipeline.cli.models import newest_run
from pipeline.data.decoding import decode
from pipeline.data.images import load_images
from pipeline.faces.alignment import align
from pipeline.faces.landmarks import read_points
from pipeline.studio import handlers, refining, tunings
from pipeline.studio.answers import Answers, Kept
from pipeline.studio.guard import Access
from pipeline.studio.handlers import StudioInfo
from pipeline.studio.recipe import Face, Recipe, bands_of, packed, unpacked
from pipeline.studio.refining import Refiner
from pipeline.studio.server import app_of, listening
from pipeline.studio.studio import Studio
from pipeline.studio.tunings import Tunings
from pipeline.studio.uploads import DECODERS, Crop, decoders, read_photo
from pipeline.studio.work import BatchQueue, RefusedError, WorkQueue, body, uploading
from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.editing.directions import placed
from stylealae.editing.tuning import Tuning
from stylealae.errors import ConfigError, DataError
from stylealae.image_grid import to_uint8
from stylealae.networks import build
from stylealae.priors import rng
from tests.shared_data import LONDON, needs

SMALL = ModelConfig(
    resolution=16, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio(StyleALAE(build(SMALL), SMALL, torch.randn(6, 8), stage=2))


@pytest.fixture(scope="module")
def client(studio: Studio) -> TestClient:
    return TestClient(app_of(studio), base_url="http://127.0.0.1:7860")


def photo(width: int, height: int, form: str = "PNG") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


def pixels_of(answer: Any) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def test_a_random_face_is_the_one_that_sample_draws(studio: Studio, client: TestClient) -> None:
    for seed, psi in ((0, 1.0), (7, 0.6)):
        recipe = {"face": {"seed": seed, "truncation": psi}}
        wanted = to_uint8(studio.m.sample(1, seed=seed, truncation=psi))[0]
        assert np.array_equal(pixels_of(client.post("/api/picture", json=recipe)), wanted)


def test_a_photo_is_read_as_the_tools_read_it(
    studio: Studio, client: TestClient, tmp_path: Path
) -> None:
    data = photo(50, 40)
    (tmp_path / "photo.png").write_bytes(data)
    x = load_images([tmp_path / "photo.png"], 16)
    found = client.post("/api/face", content=data).json()
    assert torch.equal(unpacked(found["w"]), studio.m.encode(x)[0])
    shown = Image.open(io.BytesIO(base64.b64decode(found["picture"].partition(",")[2])))
    assert np.array_equal(np.asarray(shown), to_uint8(x)[0])
    picture = client.post("/api/picture", json={"face": {"w": found["w"]}})
    assert np.array_equal(pixels_of(picture), to_uint8(studio.m.reconstruct(x))[0])
    assert int(picture.headers["server-timing"].removeprefix("work;dur=")) < 10_000


def test_mixing_moving_and_the_saved_styles_agree_with_the_library(client: TestClient) -> None:
    m = StyleALAE(build(SMALL), SMALL, torch.randn(6, 8), stage=2)
    smile = placed(("smile", "age"), torch.eye(8)[:2], torch.randn(64, 8))
    named = TestClient(app_of(Studio(m, smile)), base_url="http://localhost")
    w, other = torch.randn(2, 1, 8)
    recipe = {
        "face": {"w": packed(w)}, "other": {"w": packed(other)},
        "mix": {"middle": 1.0, "fine": 1.0}, "amounts": {"smile": 2.0, "age": -0.5},
    }  # fmt: skip
    wanted = smile.move(m.mix(w, other, 2), {"smile": 2.0, "age": -0.5}, 6)
    saved = np.load(io.BytesIO(named.post("/api/styles", json=recipe).content))
    assert np.allclose(saved, wanted[0].numpy(), atol=1e-6)
    shown = pixels_of(named.post("/api/picture", json=recipe))
    assert np.array_equal(shown, to_uint8(m.generate(wanted, noise=False))[0])
    assert named.get("/api/model").json()["attributes"] == [
        {"name": "smile", "hint": "", "weak": False}, {"name": "age", "hint": "", "weak": False},
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="styles of 4 numbers"):
        Studio(m, placed(("smile",), torch.eye(4)[:1], torch.randn(64, 4)))


@pytest.mark.parametrize("layers", range(2, 20, 2))
def test_bands_cover_every_layer_once(layers: int) -> None:
    covered = [k for band in bands_of(layers) for k in range(band.first, band.last + 1)]
    assert covered == list(range(layers))


def test_the_bands_of_large_models_are_those_of_stylegan() -> None:
    assert [(b.name, b.first, b.last) for b in bands_of(18)] == [
        ("coarse", 0, 3), ("middle", 4, 7), ("fine", 8, 17),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (b"not json", "no JSON"),
        (b"[1]", "no JSON object"),
        (b"[" * 100_000, "no JSON"),
        ({}, "a face is 'None'"),
        ({"face": {"seed": "x"}}, "wanted a number"),
        ({"face": {"seed": 1, "truncation": 1e9}}, "number from 0 to 2"),
        ({"face": {"w": "%%%"}}, "could not be read"),
        ({"face": {"w": ""}}, "is empty"),
        ({"face": {"w": packed(torch.tensor([float("nan")] * 8))}}, "not finite"),
        ({"face": {"w": packed(torch.zeros(5))}}, "5 numbers"),
        ({"face": {"seed": 1}, "amounts": {"nose": 1}}, "no slider 'nose'"),
        ({"face": {"seed": 1}, "amounts": {"pc1": 99}}, "number from -20 to 20"),
        ({"face": {"seed": 1}, "mix": {"coarse": 2}}, "number from 0 to 1"),
        ({"face": {"seed": 1}, "mix": {"coarse": -1}}, "number from 0 to 1"),
        ({"face": {"seed": 1}, "mix": {"corse": 1}}, "no band 'corse'"),
        ({"face": {"seed": 1, "truncation": -1}}, "number from 0 to 2"),
        ({"face": {"seed": -1}}, "number from 0 to 2147483648"),
        ({"face": {"seed": 10**400}}, "number from 0 to 2147483648"),
        ({"face": {"seed": 1.5}}, "a whole number"),
        ({"face": {"seed": 1}, "amounts": [1]}, "JSON object"),
    ],
)
def test_a_broken_recipe_is_a_sentence(client: TestClient, recipe: Any, said: str) -> None:
    given = {"content": recipe} if isinstance(recipe, bytes) else {"json": recipe}
    for path in ("/api/picture", "/api/styles"):
        answer = client.post(path, **given)
        assert answer.status_code == 400
        assert said.lower() in answer.json()["error"].lower()


def test_what_of_a_file_is_not_shown_is_noted() -> None:
    file = io.BytesIO()
    frames = [Image.effect_noise((32, 32), 90) for _ in range(2)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    _, notes = read_photo(file.getvalue(), 16, 3)
    assert notes == ("Of this file: first of several frames.",)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_common_formats_are_read(form: str) -> None:
    planes, notes = read_photo(photo(32, 32, form), 16, 3)
    assert (planes.shape, planes.dtype) == ((3, 16, 16), np.uint8)
    assert not notes


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n",
            "no image of a known format, but PostScript",
        ),
        (b"\xff\xd8\xff\xe0nonsense", "cannot be used"),
        (photo(64, 64)[:300], "cannot be used"),
        (photo(12, 64), "only 12x64 pixels"),
    ],
)
def test_a_photo_that_cannot_be_used_is_a_sentence(
    client: TestClient, data: bytes, said: str
) -> None:
    answer = client.post("/api/face", content=data)
    assert answer.status_code == 422
    assert said in answer.json()["error"]


def test_uploads_are_bounded(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "MAX_BYTES", 1000)
    answer = client.post("/api/face", content=photo(64, 64))
    assert answer.status_code == 413
    monkeypatch.setattr("pipeline.studio.uploads.MAX_PIXELS", 1000)
    with pytest.raises(DataError, match="million pixels"):
        read_photo(photo(40, 40), 16, 3)
    assert client.post("/api/picture", content=bytes(2 << 20)).status_code == 413


@needs(LONDON)
def test_a_found_face_is_aligned_as_the_tools_align_it() -> None:
    with tarfile.open(LONDON) as tar:
        name = next(n for n in tar.getnames() if n.endswith(".tem"))
        tem, jpg = (tar.extractfile(name[:-4] + end).read() for end in (".tem", ".jpg"))  # type: ignore[union-attr]
    points = read_points(name, tem)
    planes, notes = read_photo(jpg, 64, 3, find=lambda _: [points, points])
    wanted = align(decode(jpg, 3)[0], points, 64)
    assert np.array_equal(planes.transpose(1, 2, 0), wanted)
    assert "eyes and mouth" in notes[0]
    assert "2 faces" in notes[1]
    _, notes = read_photo(jpg, 64, 3, find=lambda _: [])
    assert "No face was found" in notes[-1]
    _, notes = read_photo(jpg, 64, 3, Crop(left=0, top=0, side=1), lambda _: [points])
    assert not notes  # a crop by hand is taken at its word


def test_a_crop_is_of_the_photo_itself() -> None:
    image = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
    cut = Crop.parsed({"left": "0.5", "top": "0.25", "side": "0.5"})
    assert cut is not None
    assert np.array_equal(cut.of(image), image[10:30, 30:50])
    corner = Crop(left=1.0, top=1.0, side=0.5)
    assert np.array_equal(corner.of(image), image[20:, 40:])
    for wrong in ({"side": "0"}, {"side": "x", "left": "0", "top": "0"},
                  {"side": "nan", "left": "0", "top": "0"}, {"side": "1"}):  # fmt: skip
        with pytest.raises(DataError, match="crop"):
            Crop.parsed(wrong)


def test_a_picture_that_was_cropped_is_taken_as_it_is() -> None:
    asked: list[object] = []
    picture = np.random.default_rng(0).integers(0, 255, (3, 16, 16), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(picture.transpose(1, 2, 0)).save(stream, "PNG")
    whole = Crop.parsed({"left": "0", "top": "0", "side": "1"})  # as the page asks for
    planes, notes = read_photo(
        stream.getvalue(), 16, 3, whole, lambda image: asked.append(image) or []
    )
    assert np.array_equal(planes, picture)
    assert not notes
    assert not asked


def test_other_sites_and_other_hosts_are_refused(client: TestClient) -> None:
    recipe = {"face": {"seed": 1}}
    for site in ("cross-site", "same-site"):
        assert (
            client.post("/api/picture", json=recipe, headers={"sec-fetch-site": site}).status_code
            == 403
        )
    for origin, status in (("http://evil.example", 403), ("http://127.0.0.1:7860", 200)):
        asked = client.post("/api/picture", json=recipe, headers={"origin": origin})
        assert asked.status_code == status
    assert client.get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 200  # a link
    assert client.get("/", headers={"host": "evil.example"}).status_code == 403
    page = client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert client.get("/static/../server.py").status_code == 404
    assert "http" not in page.text.replace("http-equiv", "")  # nothing comes from elsewhere


def test_beyond_this_machine_a_token_is_asked_for(studio: Studio) -> None:
    access = Access.on("0.0.0.0", ["Faces.example"])
    app = app_of(studio, access=access)

    def visitor(name: str) -> TestClient:
        return TestClient(app, base_url=f"http://{name}", follow_redirects=False)

    stranger, friend = visitor("faces.example"), visitor("192.0.2.7:7860")
    for path in ("/", "/?token=guessed", "/api/model", "/static/studio.js"):
        assert stranger.get(path).status_code == 403
    assert "token" in stranger.get("/").json()["error"]
    assert visitor("evil.example").get(f"/?token={access.token}").status_code == 403
    given = friend.get(f"/?token={access.token}")
    assert (given.status_code, given.headers["location"]) == (303, "/")
    assert given.headers["set-cookie"].startswith("stylealae-studio-7860=")  # one a port
    assert "HttpOnly" in given.headers["set-cookie"]
    home = "http://192.0.2.7:7860"
    elsewhere = visitor("192.0.2.7:7860").get(f"{home}//evil.example/?token={access.token}")
    assert elsewhere.headers["location"] == "/evil.example/"
    opened = stranger.get("/", headers={"accept": "text/html"})
    assert (opened.status_code, opened.text[:22]) == (403, "Open the whole address")
    assert stranger.get("/", headers={"host": "faces.example:port"}).status_code == 403
    assert friend.get("/").status_code == friend.get("/api/model").status_code == 200
    assert len(access.token) > 30
    assert access.token not in repr(access)


def test_on_this_machine_no_token_is_asked_for() -> None:
    assert Access.on("127.0.0.1") == Access()
    assert Access.on("127.0.0.1", ["faces.example"]).token  # a proxy lets others in


class Visitor:
    """A request whose sender leaves when told."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def receive(self) -> dict[str, str]:
        """As an ASGI server's."""
        await self.left.wait()
        return {"type": "http.disconnect"}


def held(gate: threading.Event, batches: list[list[int]]) -> Any:
    """Work that waits for a gate, and notes what it was given together."""

    def work(questions: Any) -> list[Any]:
        gate.wait(10)
        batches.append(list(questions))
        return [-q if q >= 0 else ConfigError(f"{q} is negative") for q in questions]

    return work


def crowd_of(questions: Any, kinds: int = 1, leaving: int | None = None) -> Any:
    """Answers to questions that are asked while the first is worked on, and the batches."""
    gate, batches = threading.Event(), list[list[int]]()
    work = [held(gate, batches) for _ in range(kinds)]

    async def crowd() -> list[Any]:
        queue, visitors = BatchQueue(3), [Visitor() for _ in questions]
        asked = [
            asyncio.create_task(queue.do(visitors[i], work[i % kinds], q))  # type: ignore[arg-type]
            for i, q in enumerate(questions)
        ]
        await asyncio.sleep(0.05)
        if leaving is not None:
            visitors[leaving].left.set()
            await asyncio.sleep(0.05)
        gate.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(crowd()), batches


def test_what_waits_is_answered_together_in_the_order_of_asking() -> None:
    answers, batches = crowd_of(range(8))
    assert [answer for answer, _ in answers] == [-q for q in range(8)]
    assert batches[0] == [0, 1, 2]  # all were asked for before the thread began
    assert batches[1:] == [[3, 4, 5], [6, 7]]


def test_kinds_are_not_mixed_and_the_oldest_is_not_passed_over() -> None:
    answers, batches = crowd_of(range(7), kinds=2)
    assert [answer for answer, _ in answers] == [-q for q in range(7)]
    assert batches == [[0, 2, 4], [1, 3, 5], [6]]


def test_one_wrong_question_spoils_no_other_answer() -> None:
    answers, _ = crowd_of([1, -2, 3])
    assert [answers[0][0], answers[2][0]] == [-1, -3]
    assert isinstance(answers[1], ConfigError)


def test_a_long_line_of_requests_is_refused_and_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.studio.work.MAX_WAITING", 2)
    answers, _ = crowd_of(range(4))
    assert [isinstance(a, RefusedError) for a in answers] == [False, False, True, True]

    gate = threading.Event()

    async def crowd() -> list[Any]:
        queue = WorkQueue()
        visitor: Any = Visitor()
        asked = [asyncio.create_task(queue.do(visitor, lambda: gate.wait(10))) for _ in range(4)]
        await asyncio.sleep(0.05)
        gate.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return [*answers, await queue.do(visitor, lambda: True)]

    answers = asyncio.run(crowd())
    assert [isinstance(a, RefusedError) for a in answers] == [False, False, True, True, False]


def test_work_of_who_has_left_is_not_done() -> None:
    answers, batches = crowd_of(range(5), leaving=4)
    assert batches == [[0, 1, 2], [3]]
    assert isinstance(answers[4], RefusedError)


def test_pictures_painted_together_are_those_painted_alone(studio: Studio) -> None:
    w = packed(torch.randn(8))
    given: list[dict[str, Any]] = [
        {"face": {"seed": 1}}, {"face": {"w": w}, "amounts": {"pc1": 2}},
        {"face": {"seed": 1}}, {"face": {"seed": 2}, "noise": True},
        {"face": {"seed": 1}, "other": {"seed": 5}, "mix": {"fine": 0.5}},
    ]  # fmt: skip
    recipes = [Recipe.parsed(one) for one in given]
    strange = Recipe(face=Face(seed=3), amounts={"nose": 1.0})
    *found, wrong = Answers(studio, Tunings(studio)).pictures([*recipes, strange])
    assert isinstance(wrong, ConfigError)
    for recipe, data in zip(recipes, found, strict=True):
        assert isinstance(data, bytes)
        together, alone = np.asarray(Image.open(io.BytesIO(data))), studio.paint(recipe)
        assert np.abs(together.astype(int) - alone).max() <= 1  # another order of adding


def test_pictures_of_seeds_are_kept_and_those_of_photos_are_not(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted = []
    paint = studio.paint_all
    monkeypatch.setattr(
        studio, "paint_all", lambda w, **how: painted.append(len(w)) or paint(w, **how)
    )
    client = TestClient(app_of(studio), base_url="http://localhost")
    seed: Any = {"face": {"seed": 3}, "other": {"seed": 9}, "amounts": {"pc1": 1, "pc2": 0}}
    same: Any = {
        "face": {"seed": 3},
        "amounts": {"pc1": 1.0},
    }  # mixed with nothing
    photo: Any = {"face": {"w": packed(torch.zeros(8))}}
    answers = [client.post("/api/picture", json=recipe) for recipe in (seed, same, photo, photo)]
    assert sum(painted) == 3
    assert answers[0].content == answers[1].content
    mixed = Recipe.parsed({"face": {"seed": 3}, "other": photo["face"], "mix": {"fine": 1}})
    assert mixed.address == ""
    for other in ({**same, "noise": True}, {**same, "amounts": {"pc1": 2}}, {"face": {"seed": 4}}):
        assert Recipe.parsed(other).address != Recipe.parsed(same).address


def test_what_is_kept_is_bounded_and_the_longest_unasked_goes() -> None:
    kept = Kept(100)
    for address in ("a", "b", ""):
        kept.keep(address, bytes(40))
    assert kept.get("a")
    kept.keep("c", bytes(40))
    kept.keep("huge", bytes(101))
    assert [kept.get(x) is not None for x in ("a", "b", "c", "", "huge")] == [
        True, False, True, False, False,
    ]  # fmt: skip


def test_refining_tells_its_steps_and_is_what_the_library_finds(
    studio: Studio, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refining, "STEPS", steps_there := 10)
    x = torch.rand(3, 16, 16).mul(255).byte()
    stream = io.BytesIO()
    Image.fromarray(x.permute(1, 2, 0).numpy()).save(stream, "PNG")
    answer = client.post("/api/refine", content=stream.getvalue())
    *steps, found = map(json.loads, answer.text.splitlines())
    assert steps.pop(0) == {"before": 0}
    assert [step["step"] for step in steps] == list(range(len(steps)))
    assert steps[-1] == {"step": steps_there, "steps": steps_there}
    wanted = studio.m.refine(x[None].float() / 127.5 - 1, steps_there)
    assert torch.allclose(unpacked(found["w"]).view(1, 6, 8), wanted.w, atol=1e-5)
    assert found["after_db"] == pytest.approx(float(wanted.after_db[0]), abs=0.01)
    assert found["after_db"] >= found["before_db"]
    picture = client.post("/api/picture", json={"face": {"w": found["w"]}})
    assert np.abs(
        pixels_of(picture).astype(int) - to_uint8(studio.m.generate(wanted.w, noise=False))[0]
    ).max() <= 1  # fmt: skip


def test_refining_ends_with_whoever_asked_and_few_may_wait(
    studio: Studio, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def leave_early() -> int:
        refiner, reached = Refiner(studio, BatchQueue(1), Tunings(studio)), list[int]()
        refine = studio.refine
        ended = threading.Event()

        def noted(x: Any, steps: int, report: Any) -> Any:
            try:
                return refine(x, steps, lambda step: (reached.append(step), report(step)))  # type: ignore[arg-type,return-value]
            finally:
                ended.set()

        monkeypatch.setattr(studio, "refine", noted)
        lines = refiner.refined(torch.zeros(3, 16, 16))
        for _ in range(3):
            await anext(lines)
        await lines.aclose()  # type: ignore[attr-defined]
        await asyncio.to_thread(ended.wait, 30)
        refiner.require_capacity()
        return reached[-1]

    assert asyncio.run(leave_early()) < refining.STEPS
    monkeypatch.setattr(refining, "MAX_WAITING", 0)
    answer = client.post("/api/refine", content=photo(32, 32))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refinement and tuning of few steps."""
    monkeypatch.setattr(refining, "STEPS", 4)
    monkeypatch.setattr(refining, "TUNING_STEPS", 6)


@pytest.mark.usefixtures("quick")
def test_a_tuned_generator_draws_the_face_that_it_was_tuned_to(studio: Studio) -> None:
    client = TestClient(app_of(studio), base_url="http://localhost")
    answer = client.post("/api/tune", content=photo(16, 16))
    first, *steps, last = map(json.loads, answer.text.splitlines())
    assert first == {"before": 0}
    assert [step["step"] for step in steps] == list(range(11))
    assert {step["steps"] for step in steps} == {10}
    tuning = Tuning.unpacked(base64.b64decode(last["file"]))
    mine = studio.m.tuned(tuning)
    face = {"w": last["w"], "tuned": last["tuned"]}
    w = unpacked(last["w"]).view(1, 6, 8)
    assert torch.equal(tuning.w, w)
    for noise, how in ((False, False), (True, rng(0, "studio/grain", 0))):
        shown = pixels_of(client.post("/api/picture", json={"face": face, "noise": noise}))
        wanted = to_uint8(mine.generate(w, noise=how))[0]
        assert np.abs(shown.astype(int) - wanted).max() <= 1
    off, on = (
        pixels_of(client.post("/api/picture", json={"face": one, "amounts": {"pc1": 2}}))
        for one in ({"w": last["w"]}, face)
    )
    assert not np.array_equal(off, on)
    assert set(last) | {"step", "steps", "before", "error"} == set(
        client.get("/api/openapi.json").json()["components"]["schemas"]["Tuning"]["properties"]
    )


def without_sides(tuning: Tuning) -> Tuning:
    """What no `tune` makes: factors of a single number each."""
    factors = [name for name in tuning.difference if name.endswith((".left", ".right"))]
    return replace(tuning, difference={name: torch.tensor(0.0) for name in factors})


@pytest.mark.usefixtures("quick")
def test_a_tuning_goes_with_its_page_and_can_be_given_again(studio: Studio) -> None:
    client = TestClient(app_of(studio), base_url="http://localhost")
    last = json.loads(client.post("/api/tune", content=photo(16, 16)).text.splitlines()[-1])
    data, face = base64.b64decode(last["file"]), {"w": last["w"], "tuned": last["tuned"]}
    before = client.post("/api/picture", json={"face": face})
    assert client.delete(f"/api/tunings/{last['tuned']}").status_code == 204
    gone = client.post("/api/picture", json={"face": face})
    assert (gone.status_code, "let go of" in gone.json()["error"]) == (410, True)
    again = client.post("/api/tunings", content=data).json()
    assert again == {"tuned": last["tuned"], "w": last["w"]}
    assert client.post("/api/picture", json={"face": face}).content == before.content
    for bad, status, said in (
        (b"torn", 400, "no tuning of a person"),
        (replace(Tuning.unpacked(data), generator="0" * 64).packed(), 400, "that was tuned"),
        (replace(Tuning.unpacked(data), w=torch.zeros(1, 4, 8)).packed(), 400, "6 layers of 8"),
        (replace(Tuning.unpacked(data), w=torch.zeros(0, 6, 8)).packed(), 400, "no styles"),
        (replace(Tuning.unpacked(data), w=torch.zeros(2, 6, 8)).packed(), 400, "is of 2 images"),
        (without_sides(Tuning.unpacked(data)).packed(), 400, "are no matrices"),
        (bytes((8 << 20) + 1), 413, "more than 8 MB"),
    ):
        refused = client.post("/api/tunings", content=bad)
        assert refused.status_code == status
        assert said in refused.json()["error"]
    wrong = client.post("/api/picture", json={"face": {"w": last["w"], "tuned": 7}})
    assert wrong.status_code == 400


def test_tunings_are_bounded_and_let_go_when_nobody_asks(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    w = studio.m.refine(torch.zeros(1, 3, 16, 16), 1).w
    tuning = studio.m.tune(torch.zeros(1, 3, 16, 16), w, 2).tuning
    files = [replace(tuning, names=(name,)).packed() for name in "abcd"]
    held = Tunings(studio)
    names = [held.keep(data)[0] for data in files[:2]]
    monkeypatch.setattr(tunings, "HELD_BYTES", 2 * len(files[0]) + 100)
    monkeypatch.setattr(tunings, "READY_BYTES", held.brush(names[0]).size)
    names.append(held.keep(files[2])[0])  # the longest unasked for goes
    assert len(held) == 2
    held.brush(names[0])  # made anew
    with pytest.raises(RefusedError, match="let go of"):
        held.brush(names[1])
    held.sweep()
    assert len(held) == 2
    monkeypatch.setattr(tunings, "KEPT_S", 0.2)
    held.forget(names[0])
    again = Tunings(studio)
    again.keep(files[3])
    end = time.monotonic() + 30
    while len(again):
        assert time.monotonic() < end, "nobody swept"
        time.sleep(0.02)


@pytest.mark.usefixtures("quick")
def test_what_takes_too_long_is_ended_with_a_sentence(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refining, "LIMIT_S", 0.0)
    last = json.loads(client.post("/api/tune", content=photo(16, 16)).text.splitlines()[-1])
    assert "use `stylealae refine`" in last["error"]


@pytest.mark.usefixtures("quick")
def test_pictures_are_answered_while_a_face_is_tuned(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = TestClient(app_of(studio), base_url="http://localhost")
    begun, painted = threading.Event(), threading.Event()
    tune = studio.tune

    def held_up(*given: Any) -> Any:
        begun.set()
        assert painted.wait(30)
        return tune(*given)

    monkeypatch.setattr(studio, "tune", held_up)
    answers = list[str]()
    tuning = threading.Thread(
        target=lambda: answers.append(client.post("/api/tune", content=photo(16, 16)).text)
    )
    tuning.start()
    assert begun.wait(30)
    other = TestClient(client.app, base_url="http://localhost")
    assert other.post("/api/picture", json={"face": {"seed": 11}}).status_code == 200
    painted.set()
    tuning.join()
    assert "tuned" in json.loads(answers[0].splitlines()[-1])


def test_bodies_wait_unread_while_others_are_held() -> None:
    async def crowd() -> list[int]:
        places, order = asyncio.Semaphore(1), []

        async def upload(i: int) -> None:
            async with uploading(places):
                order.append(i)
                await asyncio.sleep(0.01)
                order.append(i)

        await asyncio.gather(*(upload(i) for i in range(3)))
        return order

    assert asyncio.run(crowd()) == [0, 0, 1, 1, 2, 2]


def test_a_length_that_is_too_much_is_refused_unread(client: TestClient) -> None:
    def never() -> Iterator[bytes]:
        raise AssertionError("it was read")
        yield b""

    headers = {"content-length": str(21 << 20)}
    assert client.post("/api/face", content=never(), headers=headers).status_code == 413


def test_who_leaves_while_sending_is_no_fault_of_the_studio() -> None:
    messages = iter([{"type": "http.request", "body": b"x", "more_body": True}])

    async def receive() -> dict[str, Any]:
        return next(messages, {"type": "http.disconnect"})

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with pytest.raises(RefusedError, match="has left"):
        asyncio.run(body(request, 1000))


def test_decoders_can_be_started_before_the_first_photo() -> None:
    there = set(multiprocessing.active_children())
    sandbox = decoders(started=True)
    end = time.monotonic() + 60
    while len(set(multiprocessing.active_children()) - there) < DECODERS:
        assert time.monotonic() < end
        time.sleep(0.02)
    sandbox.close()
    assert set(multiprocessing.active_children()) <= there


def test_recipes_keep_nothing(studio: Studio, client: TestClient, tmp_path: Path) -> None:
    before = client.post("/api/picture", json={"face": {"seed": 3}}).content
    client.post("/api/face", content=photo(32, 32))
    client.post("/api/picture", json={"face": {"seed": 4}, "amounts": {"pc1": 3}})
    assert client.post("/api/picture", json={"face": {"seed": 3}}).content == before


def test_the_command_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    taken = listening("127.0.0.1", 0)
    m = StyleALAE(build(SMALL), SMALL, torch.zeros(6, 8), stage=2)
    m.save(tmp_path)
    for arguments, said in (
        (["studio", str(tmp_path), "--port", str(taken.getsockname()[1])], "cannot listen"),
        (["studio", str(tmp_path / "none"), "--port", "0"], "does not exist: give a folder"),
        (["demo", str(tmp_path), "--port", "0", "--directions", str(tmp_path)], "no directions"),
        (["studio", str(tmp_path), "--port", "0", "--host", "no.such.host.invalid"], "cannot list"),
        (["studio", str(tmp_path), "--port", "0", "--examples", str(tmp_path)], "holds no images"),
    ):
        shown = CliRunner().invoke(main, arguments)
        assert shown.exit_code == 1
        assert said in shown.output
    taken.close()


def test_the_openapi_page_describes_what_is_answered(client: TestClient) -> None:
    api = client.get("/api/openapi.json").json()
    routes = {route.path for route in client.app.routes if route.path.startswith("/api/")}
    assert set(api["paths"]) == routes - {"/api/openapi.json"}
    schemas = api["components"]["schemas"]
    assert set(client.get("/api/model").json()) == set(schemas["Model"]["properties"])
    encoded = client.post(
        "/api/face", content=photo(40, 40), params={"left": 0, "top": 0, "side": 0.9}
    ).json()
    assert set(encoded) == set(schemas["Encoded"]["properties"])
    every = {
        "face": {"w": encoded["w"]}, "other": {"seed": 2, "truncation": 0.7},
        "mix": {"coarse": 0.5}, "amounts": {"pc1": 1}, "noise": False, "draft": False,
    }  # fmt: skip
    assert set(every) == set(schemas["Recipe"]["properties"])
    for path in ("/api/picture", "/api/styles"):
        answer = client.post(path, json=every)
        assert answer.status_code == 200
        described = api["paths"][path]["post"]["responses"]["200"]["content"]
        assert answer.headers["content-type"] in described
        refused = client.post(path, json={})
        assert set(refused.json()) == set(schemas["Error"]["properties"])
        assert str(refused.status_code) in api["paths"][path]["post"]["responses"]


def test_what_a_run_was_trained_on_is_said_and_shown(tmp_path: Path) -> None:
    from pipeline.config import RunConfig, as_dict
    from pipeline.config.sections import DataConfig
    from pipeline.data.prepare.shards import prepare
    from pipeline.data.sources.registry import open_source

    prepare(open_source("20", "rendered"), tmp_path / "faces", (16,), workers=1)
    run = tmp_path / "run"
    for folder in ("0016/snapshot", "0016/seen-0000000064"):
        (run / folder).mkdir(parents=True)
    (run / "0016/snapshot/config.json").write_text("{}")
    cfg = as_dict(RunConfig(data=DataConfig(path=str(tmp_path / "faces"))))
    (run / "0016/seen-0000000064/state.json").write_text(json.dumps({"seen": 64, "config": cfg}))
    said = "Trained on 20 rendered faces: photos of people will look like dolls."
    found = _config_of(run)
    assert _trained_on(found) == _trained_on(_config_of(run / "0016/snapshot")) == said
    m = StyleALAE(build(SMALL), SMALL, torch.zeros(6, 8), stage=2)
    wanted = load_images([tmp_path / "faces"], 16)
    examples = _examples(m, None, found)
    assert torch.equal(torch.from_numpy(np.stack(examples)) / 127.5 - 1, wanted[: len(examples)])
    client = TestClient(
        app_of(Studio(m), StudioInfo(examples=examples)), base_url="http://localhost"
    )
    shown = client.get("/api/examples").json()["pictures"]
    data = base64.b64decode(shown[0].partition(",")[2])
    encoded = client.post("/api/face", content=data).json()
    assert torch.equal(unpacked(encoded["w"]), m.encode(wanted[:1])[0])
    named = _examples(m, tmp_path / "faces", None)
    assert np.array_equal(np.stack(named), np.stack(examples))
    shutil.rmtree(tmp_path / "faces")
    assert _trained_on(found) == ""
    assert _examples(m, None, found) == ()


def test_directions_that_are_worse_than_guessing_are_marked(studio: Studio) -> None:
    told = {"smile": {"accuracy": 0.9, "chance": 0.6}, "age": {"accuracy": 0.5, "chance": 0.6}}
    vectors, w = torch.eye(8)[:3], torch.randn(64, 8)
    found = placed(("smile", "age", "hat"), vectors, w, about={"attributes": told})
    shown: Any = Studio(studio.m, found).about()["attributes"]
    assert [(a["name"], a["weak"]) for a in shown] == [
        ("smile", False), ("age", True), ("hat", False),
    ]  # fmt: skip


def test_without_a_model_the_newest_run_is_opened(tmp_path: Path) -> None:
    for at, (run, stages) in enumerate(
        {"old": ("0004", "0008"), "new": ("0004",), "begun": ()}.items()
    ):
        (tmp_path / run).mkdir()
        for stage in stages:
            snapshot = tmp_path / run / stage / "snapshot"
            snapshot.mkdir(parents=True)
            (snapshot / "config.json").write_text("{}")
            os.utime(snapshot / "config.json", (1e9 + at, 1e9 + at))
    assert newest_run(tmp_path) == tmp_path / "new"
    assert newest_run(tmp_path / "nothing") == Path("rendered_64")  # comes with the package
