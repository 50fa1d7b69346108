"""The studio in a real browser: every control is used.

On a phone, where there is least room; what is laid out in another way on a desk, there too.
"""

import io
import json
import re
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import uvicorn
from PIL import Image

from pipeline.studio import refining
from pipeline.studio.handlers import StudioInfo
from pipeline.studio.server import app_of, listening
from pipeline.studio.studio import Studio
from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.image_grid import to_uint8
from stylealae.networks import build

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SMALL = ModelConfig(
    resolution=32, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)
REST = "!document.body.classList.contains('working')"
PIXELS = """async id => {
  const image = document.getElementById(id), canvas = document.createElement("canvas");
  await image.decode();
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const paper = canvas.getContext("2d");
  paper.drawImage(image, 0, 0);
  return [...paper.getImageData(0, 0, canvas.width, canvas.height).data];
}"""
DROPPED = """() => {
  const given = new DataTransfer();
  given.items.add(new File([new Uint8Array(%s)], "photo.jpg", { type: "image/jpeg" }));
  return given;
}"""
DESK, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
BOTH = pytest.mark.parametrize("visit", [DESK, PHONE], ids=["desk", "phone"], indirect=True)


@pytest.fixture(scope="module")
def model() -> StyleALAE:
    return StyleALAE(build(SMALL), SMALL, torch.zeros(8, 8), stage=3, seen=12_000)


@pytest.fixture(scope="module")
def address(model: StyleALAE) -> Iterator[str]:
    """A studio that answers on a free port."""
    on = listening("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(
            app_of(Studio(model), StudioInfo(name="tiny")), log_level="error", lifespan="off"
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [on]})
    thread.start()
    yield f"http://127.0.0.1:{on.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


class Visit:
    """A page that is open, and what it complained of."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._local(request.url))

    def _local(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "blob:", "data:")):
            self.complaints.append(f"asked the network for {url}")

    def until(self, script: str) -> None:
        """Waits for a condition; the page's policy forbids playwright's own way, which evals."""
        end = time.monotonic() + 60
        while not self.page.evaluate(script):
            said = self.page.locator("#message").text_content()
            assert time.monotonic() < end, f"never came: {script}; the page says {said!r}"
            self.page.wait_for_timeout(20)

    def after(self, act: Callable[[], object]) -> bytes:
        """The pixels that an act leads to, once the page is at rest."""
        painted = self.page.evaluate("+(document.body?.dataset.painted || 0)")
        act()
        self.until(f"+document.body.dataset.painted > {painted} && {REST}")
        return self.pixels("after")

    def pixels(self, image: str) -> bytes:
        """What an <img> shows."""
        return bytes(self.page.evaluate(PIXELS, image))

    def slide(self, id_: str, value: float) -> bytes:
        """Moves a slider as a drag does: input on the way, change at the end."""
        slider = self.page.locator(f"#{id_}")
        return self.after(lambda: slider.evaluate(
            "(e, v) => { e.value = v; e.dispatchEvent(new Event('input'));"
            " e.dispatchEvent(new Event('change')); }", value,
        ))  # fmt: skip

    def said(self) -> str:
        """The sentence that is shown as an error."""
        self.page.locator("#message").wait_for(state="visible")
        return self.page.locator("#message").inner_text()


@pytest.fixture
def visit(browser: "Browser", address: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """The page as it is after its first picture; it must neither fail nor ask the network."""
    size = getattr(request, "param", PHONE)
    context = browser.new_context(viewport=size, accept_downloads=True)
    context.set_default_timeout(60_000)
    made = Visit(context.new_page())
    made.page.goto(address)
    made.until(f"+document.body.dataset.painted > 0 && {REST}")
    yield made
    wide = made.page.evaluate("document.documentElement.scrollWidth > innerWidth")
    context.close()
    assert not made.complaints
    assert not wide, "the page scrolls sideways"


def photo(width: int, height: int) -> dict[str, Any]:
    """A photo for a file input."""
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return file("photo.jpg", stream.getvalue())


def file(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "image/jpeg", "buffer": content}


@BOTH
def test_every_slider_moves_the_picture_and_reset_brings_it_back(visit: Visit) -> None:
    page, plain = visit.page, visit.pixels("after")
    ids = page.eval_on_selector_all("#attributes input, #styles input", "all => all.map(e => e.id)")
    assert len(ids) == 6 + 3 * 4
    seen = {plain}
    for id_ in (ids[0], ids[5], ids[6], ids[10], ids[-1]):
        seen.add(visit.slide(id_, 2.5))
    assert len(seen) == 6, "a slider changed nothing"
    assert "edited" in page.locator("#caption").inner_text()
    assert re.fullmatch(r"(\d+ ms)?", page.locator("#took").inner_text())
    page.locator(f"#{ids[0]}").focus()
    assert visit.after(lambda: page.keyboard.press("ArrowLeft")) not in seen
    page.locator("#attributes .zero").first.click()  # back to 0 for this one
    assert page.locator(f"#{ids[0]}").input_value() == "0"
    assert visit.after(lambda: page.locator("#reset").click()) == plain
    assert page.locator("#reset").is_disabled()
    assert visit.after(lambda: page.locator("#noise").check()) == plain  # untrained: it weighs 0


@BOTH
def test_random_faces_truncation_and_mixing(visit: Visit) -> None:
    page, first = visit.page, visit.pixels("after")
    other = visit.after(lambda: page.locator("#random").click())
    assert other != first
    mean = visit.slide("truncation", 0)
    assert visit.after(lambda: page.locator("#random").click()) == mean  # 0 is one face for all
    visit.slide("truncation", 1)
    page.locator("#draw").click()
    visit.until("document.querySelectorAll('#gallery img').length == 6")
    visit.after(lambda: page.locator("#gallery button").nth(2).click())
    drawn = visit.pixels("plain")
    page.get_by_role("radio", name="second face").check()
    visit.after(lambda: page.locator("#gallery button").nth(4).click())
    visit.until("document.getElementById('other-thumb').complete")
    second = visit.pixels("other-thumb")
    for band in ("coarse", "middle", "fine"):
        mixed = visit.slide(f"mix-{band}", 1)
    assert mixed == second  # all of it is the second face
    assert visit.after(lambda: page.locator("#random-other").click()) != second
    assert visit.after(lambda: page.locator("#no-other").click()) == drawn
    assert page.locator("#mix-fine").is_disabled()


@BOTH
def test_a_photo_is_cropped_reconstructed_compared_and_saved(
    visit: Visit, model: StyleALAE, tmp_path: Path
) -> None:
    page = visit.page
    page.locator("#file").set_input_files(photo(60, 40))  # not square: the crop is asked for
    page.locator("#crop").wait_for(state="visible")
    page.locator("#viewport").focus()
    for key in ("+", "+", "ArrowLeft", "ArrowUp", "-"):
        page.keyboard.press(key)
    page.locator("#zoom").fill("1.5")
    middle = page.locator("#viewport").bounding_box()
    assert middle is not None
    page.mouse.move(middle["x"] + 80, middle["y"] + 80)
    page.mouse.down()
    page.mouse.move(middle["x"] + 120, middle["y"] + 90)
    page.mouse.up()
    shown = visit.after(lambda: page.locator("#crop-use").click())
    assert "enlarged" in page.locator("#note").inner_text()  # 27 pixels, the model has 32
    assert "Reconstruction" in page.locator("#caption").inner_text()
    page.locator("#recrop").click()
    page.locator("#crop").wait_for(state="visible")
    page.keyboard.press("Escape")
    page.locator("#crop").wait_for(state="hidden")
    page.locator("#recrop").click()
    page.locator("#crop-cancel").click()
    assert visit.pixels("after") == shown
    edited = visit.slide(page.locator("#attributes input").first.get_attribute("id") or "", 2)

    page.locator("#compare").click()
    assert visit.pixels("before") == visit.pixels("original")
    page.locator("#wipe").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#frame").evaluate("e => e.style.getPropertyValue('--wipe')") == "51%"
    page.locator("#as-plain").click()
    assert visit.pixels("before") == visit.pixels("plain") == shown
    page.locator("#as-original").click()
    page.locator("#compare").click()
    assert page.locator("#before").is_hidden()

    with page.expect_download() as download:
        page.locator("#save-picture").click()
    download.value.save_as(tmp_path / "face.png")
    saved = np.asarray(Image.open(tmp_path / "face.png"))
    with page.expect_download() as download:
        page.locator("#save-w").click()
    download.value.save_as(tmp_path / "face.npy")
    w = torch.from_numpy(np.load(tmp_path / "face.npy"))
    again = to_uint8(model.generate(w[None], noise=False))[0]
    assert np.abs(again.astype(int) - saved).max() <= 1
    assert (
        np.asarray(Image.frombytes("RGBA", (32, 32), edited))[:, :, :3].tolist() == saved.tolist()
    )


def test_what_cannot_be_used_is_a_sentence_on_the_page(visit: Visit, tmp_path: Path) -> None:
    page, before = visit.page, visit.pixels("after")
    whole, huge = photo(64, 64), tmp_path / "huge.jpg"
    with huge.open("wb") as stream:
        stream.truncate((20 << 20) + 1)
    for bad, said in (
        (file("empty.jpg", b""), "the file is empty"),
        (file("notes.txt", b"dear diary"), "but a text"),
        (file("page.html", b"<!doctype html><p>404"), "it is a web page"),
        (file("cut.jpg", whole["buffer"][:900]), "cannot be used"),
        (file("bomb.png", bomb()), "a decompression bomb"),
        (huge, "more than 20 MB"),
        (photo(9, 9), "only 9x9 pixels"),
    ):
        page.locator("#file").set_input_files(bad)
        visit.until(f"document.getElementById('message').innerText.includes({json.dumps(said)})")
        assert visit.said().startswith("This photo cannot be used")
        assert visit.pixels("after") == before
    visit.after(lambda: page.locator("#file").set_input_files(whole))
    assert page.locator("#message").is_hidden()
    dropped = DROPPED % json.dumps(list(whole["buffer"]))
    handle = page.evaluate_handle(dropped)
    visit.after(lambda: page.dispatch_event("body", "drop", {"dataTransfer": handle}))
    page.dispatch_event("body", "drop", {"dataTransfer": page.evaluate_handle("new DataTransfer")})
    assert "That was no file" in visit.said()


def bomb() -> bytes:
    """A small PNG whose header claims 30000x30000 pixels."""
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def test_the_address_holds_the_state_and_a_seed_can_be_typed(visit: Visit) -> None:
    page = visit.page

    def typed(seed: str) -> None:
        page.locator("#seed").fill(seed)
        page.locator("#seed").press("Enter")

    first = visit.pixels("after")
    other = visit.after(lambda: typed("77"))
    assert other != first
    assert "Random face 77" in page.locator("#caption").inner_text()
    slider = page.locator("#attributes input").first.get_attribute("id") or ""
    visit.after(lambda: page.locator("#random-other").click())
    edited = visit.slide(slider, 1.5)
    address = page.url
    assert "seed=77" in address
    assert "other=" in address
    visit.after(lambda: typed("1"))
    again = visit.after(lambda: page.evaluate("to => { location.href = to; }", address))
    assert again == edited  # in the same page
    page.goto("about:blank")
    page.goto(address)
    visit.until(f"+document.body?.dataset.painted > 0 && {REST}")
    assert visit.pixels("after") == edited  # in another
    assert page.locator(f"#{slider}").input_value() == "1.5"
    typed("-3")
    assert "A seed is a whole number" in visit.said()
    assert visit.pixels("after") == edited


def test_two_faces_are_animated_until_it_is_stopped(visit: Visit) -> None:
    page = visit.page
    assert page.locator("#animate").is_disabled()
    visit.after(lambda: page.locator("#random-other").click())
    painted = page.evaluate("+document.body.dataset.painted")
    page.locator("#animate").click()
    visit.until(f"+document.body.dataset.painted > {painted + 30}")  # there, and on the way back
    assert page.locator("#animate").get_attribute("aria-pressed") == "true"
    page.locator("#animate").click()
    visit.until(f"document.getElementById('animate').ariaPressed === 'false' && {REST}")
    shares = page.eval_on_selector_all("#mix input", "all => all.map(e => +e.value)")
    assert len(set(shares)) == 1
    assert 0 < shares[0] < 1


def test_an_animation_ends_with_the_studio(visit: Visit) -> None:
    page = visit.page
    visit.after(lambda: page.locator("#random-other").click())
    page.locator("#animate").click()
    visit.until("document.getElementById('animate').ariaPressed === 'true'")
    page.route("**/api/picture", lambda route: route.abort())
    visit.until("document.getElementById('animate').ariaPressed === 'false'")
    assert visit.said() == "The studio does not answer: is its command still running?"


def test_sliders_of_names_that_differ_in_signs_are_told_apart(visit: Visit) -> None:
    ids = visit.page.evaluate(
        "import('/static/controls.js').then(({ idOf }) => "
        "['age:<30', 'age:>30', 'age:30', 'age_30', 'age 30', 'age-30'].map(idOf))"
    )
    assert len(set(ids)) == 6
    assert not any(re.search(r"[^\w-]", id_) for id_ in ids)


def test_everything_is_undone_and_redone_and_faces_are_returned_to(visit: Visit) -> None:
    page, first = visit.page, visit.pixels("after")
    assert page.locator("#undo").is_disabled()
    other = visit.after(lambda: page.locator("#random").click())
    seed = page.locator("#seed").input_value()
    slider = page.locator("#attributes input").first.get_attribute("id") or ""
    edited = visit.slide(slider, 2)
    visit.after(lambda: page.locator("#random-other").click())
    states = [visit.pixels("after"), edited, other, first]
    assert len(set(states)) == 4
    for wanted in states[1:]:
        assert visit.after(lambda: page.locator("#undo").click()) == wanted
    assert page.locator("#undo").is_disabled()
    assert page.locator(f"#{slider}").input_value() == "0"
    assert page.locator("#seed").input_value() == "1"
    assert visit.after(lambda: page.keyboard.press("Control+y")) == other
    assert visit.after(lambda: page.keyboard.press("Control+Shift+Z")) == edited
    assert page.locator(f"#{slider}").input_value() == "2"
    visit.slide(slider, 0)  # what was undone before is forgotten
    assert page.locator("#redo").is_disabled()
    assert (
        visit.after(lambda: page.get_by_role("button", name="Face 1", exact=True).click()) == first
    )
    assert visit.after(lambda: page.get_by_role("button", name=f"Face {seed}").click()) == other
    assert page.locator("#history [aria-pressed=true]").count() == 1


def test_examples_are_faces_to_begin_with(visit: Visit) -> None:
    page = visit.page
    visit.until("document.querySelectorAll('#examples button').length === 6")
    visit.after(lambda: page.locator("#examples button").nth(3).click())
    assert "Random face 4, ψ 0.70" in page.locator("#caption").inner_text()


def test_a_photo_is_refined_with_a_bar_that_can_be_stopped(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visit.page
    monkeypatch.setattr(refining, "STEPS", 10_000)
    monkeypatch.setattr(refining, "LIMIT_S", 1e9)
    assert page.locator("#refine").is_hidden()
    encoded = visit.after(lambda: page.locator("#file").set_input_files(photo(40, 40)))
    assert page.locator("#truncation").is_disabled()
    assert page.locator("#truncation-out").inner_text() == "off"
    page.locator("#refine").click()
    visit.until("+document.getElementById('refine-bar').value > 1")
    page.locator("#refine-stop").click()
    visit.until(f"document.getElementById('refine-bar').hidden && {REST}")
    assert visit.pixels("after") == encoded
    assert page.locator("#message").is_hidden()
    monkeypatch.setattr(refining, "STEPS", 5)
    visit.after(lambda: page.locator("#refine").click())
    assert re.search(r"Refined: [\d.]+ dB became [\d.]+ dB", page.locator("#note").inner_text())
    assert visit.after(lambda: page.locator("#undo").click()) == encoded
    visit.after(lambda: page.locator("#random").click())
    assert page.locator("#refine").is_hidden()
    assert page.locator("#truncation").is_enabled()


def test_a_picture_that_was_cropped_is_not_cropped_again(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, asked = visit.page, list[str]()
    monkeypatch.setattr(refining, "STEPS", 2)
    monkeypatch.setattr(refining, "TUNING_STEPS", 2)
    page.on("request", lambda request: asked.append(request.url.partition("/api/")[2]))
    visit.after(lambda: page.locator("#file").set_input_files(photo(40, 40)))
    for button in ("refine", "tune"):
        visit.after(page.locator(f"#{button}").click)
    for path in ("face", "refine?left=0&top=0&side=1", "tune?left=0&top=0&side=1"):
        assert path in asked


def test_a_generator_is_tuned_switched_off_saved_and_given_again(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = visit.page
    monkeypatch.setattr(refining, "STEPS", 5)
    monkeypatch.setattr(refining, "TUNING_STEPS", 10_000)
    monkeypatch.setattr(refining, "LIMIT_S", 1e9)
    encoded = visit.after(lambda: page.locator("#file").set_input_files(photo(40, 40)))
    page.locator("#tune").click()
    visit.until("document.getElementById('refine-state').innerText.includes('left')")
    page.locator("#refine-stop").click()
    visit.until(f"document.getElementById('refine-bar').hidden && {REST}")
    assert visit.pixels("after") == encoded
    monkeypatch.setattr(refining, "TUNING_STEPS", 5)
    tuned = visit.after(lambda: page.locator("#tune").click())
    assert re.search(r"Tuned: [\d.]+ dB became [\d.]+ dB", page.locator("#note").inner_text())
    assert page.locator("#caption").inner_text() == "Reconstruction of the photo, tuned"
    refined = visit.after(lambda: page.locator("#tuned").uncheck())
    assert len({encoded, refined, tuned}) == 3
    assert visit.after(lambda: page.keyboard.press("Control+z")) == tuned
    assert page.locator("#tuned").is_checked()
    with page.expect_download() as download:
        page.locator("#save-tuning").click()
    assert download.value.suggested_filename == "face.safetensors"
    saved = tmp_path / "face.safetensors"
    download.value.save_as(saved)
    page.evaluate("""async () => {
      for (const name of (await import("/static/tunings.js")).names())
        await fetch(`api/tunings/${name}`, { method: "DELETE" });
    }""")  # as if it had not been asked for in a while
    slider = page.locator("#attributes input").first.get_attribute("id") or ""
    edited = visit.slide(slider, 2)
    assert visit.slide(slider, 0) == tuned
    assert page.locator("#message").is_hidden()
    visit.after(lambda: page.locator("#random").click())
    assert page.locator("#tuned-row").is_hidden()
    given = visit.after(
        lambda: page.locator("#file").set_input_files(tmp_path / "face.safetensors")
    )
    assert given == tuned
    assert page.locator("#tile-original").is_hidden()
    assert visit.slide(slider, 2) == edited
    page.locator("#file-other").set_input_files(saved)
    assert "A tuning is of the first face" in visit.said()


def test_photos_edits_and_a_tuning_outlive_a_reload(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visit.page
    monkeypatch.setattr(refining, "STEPS", 2)
    monkeypatch.setattr(refining, "TUNING_STEPS", 3)
    visit.after(lambda: page.locator("#file").set_input_files(photo(40, 40)))
    visit.after(lambda: page.locator("#file-other").set_input_files(photo(50, 50)))
    visit.after(lambda: page.locator("#tune").click())
    slider = page.locator("#attributes input").first.get_attribute("id") or ""
    shown = visit.slide(slider, 2)
    assert page.locator("#seed").input_value() == ""  # it is of none
    page.reload()
    visit.until(f"+document.body?.dataset.painted > 0 && {REST}")
    visit.until("document.getElementById('tuned').checked")
    again = np.frombuffer(visit.pixels("after"), np.uint8).astype(int)
    assert np.abs(again - np.frombuffer(shown, np.uint8)).max() <= 1  # painted with another
    assert page.locator("#caption").inner_text().endswith("tuned, mixed, edited")
    assert page.locator("#tile-original").is_visible()
    assert page.locator("#recrop").is_hidden()  # the photo itself has gone
    assert visit.after(lambda: page.locator("#tuned").uncheck()) != shown
    visit.after(lambda: page.locator("#random").click())
    page.reload()
    visit.until(f"+document.body?.dataset.painted > 0 && {REST}")
    assert "Random face" in page.locator("#caption").inner_text()


def test_the_face_that_was_asked_for_last_is_shown_whatever_comes_later(visit: Visit) -> None:
    page, held = visit.page, list[Any]()
    page.route("**/api/face*", lambda route: held.append(route))
    page.locator("#file").set_input_files(photo(40, 40))
    end = time.monotonic() + 60
    while not held:
        assert time.monotonic() < end
        page.wait_for_timeout(20)
    shown = visit.after(lambda: page.locator("#random").click())
    with page.expect_response("**/api/face*"):
        held[0].continue_()
    page.wait_for_timeout(200)
    visit.until(REST)
    assert visit.pixels("after") == shown
    assert "Random face" in page.locator("#caption").inner_text()


def test_a_second_face_that_was_replaced_does_not_come_back_in_small(visit: Visit) -> None:
    page, held = visit.page, list[Any]()

    def hold_first(route: Any) -> None:
        if held:
            route.continue_()
        held.append(route)

    page.route("**/api/picture", hold_first)
    page.locator("#random-other").click()
    visit.after(lambda: page.locator("#random-other").click())
    visit.until("document.getElementById('other-thumb').complete")
    shown = visit.pixels("other-thumb")
    with page.expect_response("**/api/picture"):
        held[0].continue_()
    page.wait_for_timeout(200)
    assert visit.pixels("other-thumb") == shown


def test_what_is_said_of_a_picture_goes_when_one_is_painted(visit: Visit) -> None:
    page = visit.page
    slider = page.locator("#attributes input").first.get_attribute("id") or ""
    page.route("**/api/picture", lambda route: route.abort())
    page.locator(f"#{slider}").focus()
    page.keyboard.press("ArrowRight")
    assert visit.said() == "The studio does not answer: is its command still running?"
    page.unroute("**/api/picture")
    visit.slide(slider, 2)
    assert page.locator("#message").is_hidden()


def test_limits_are_checked_before_a_crop_and_enter_takes_one(visit: Visit) -> None:
    page = visit.page
    page.evaluate("import('/static/model.js').then(({ model }) => { model.max_pixels = 5000; })")
    for bad, said in (
        (photo(9, 40), "it has only 9x40 pixels: use one of 16x16 or more"),
        (photo(100, 60), "it has more than 0.005 million pixels"),
        ({**photo(60, 40), "mimeType": "image/avif"}, "it is AVIF: use JPEG, PNG or WebP"),
    ):
        page.locator("#file").set_input_files(bad)  # type: ignore[arg-type]
        visit.until(f"document.getElementById('message').innerText.includes({json.dumps(said)})")
        assert page.locator("#crop").is_hidden()
    page.locator("#file").set_input_files(photo(60, 40))
    page.locator("#crop").wait_for(state="visible")
    visit.after(lambda: page.locator("#zoom").press("Enter"))
    assert page.locator("#crop").is_hidden()
    assert "Reconstruction" in page.locator("#caption").inner_text()


def test_a_picture_is_saved_enlarged_with_its_seed_in_the_name(
    visit: Visit, tmp_path: Path
) -> None:
    page = visit.page
    page.locator("#seed").fill("77")
    visit.after(lambda: page.locator("#seed").press("Enter"))
    with page.expect_download() as download:
        page.locator("#save-large").click()
    assert download.value.suggested_filename == "face-77-1024.png"
    download.value.save_as(tmp_path / "large.png")
    large = Image.open(tmp_path / "large.png").convert("RGB")
    assert large.size == (1024, 1024)
    small = np.asarray(large.resize((32, 32), Image.Resampling.BOX)).astype(int)
    shown = np.asarray(Image.frombytes("RGBA", (32, 32), visit.pixels("after")))[:, :, :3]
    assert np.abs(small - shown).mean() < 6
    for button, name in (("#save-w", "face-77.npy"), ("#save-picture", "face-77.png")):
        with page.expect_download() as download:
            page.locator(button).click()
        assert download.value.suggested_filename == name


def test_a_vertical_swipe_scrolls_and_moves_no_slider(browser: "Browser", address: str) -> None:
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)  # type: ignore[arg-type]
    visit = Visit(context.new_page())
    page = visit.page
    page.goto(address)
    visit.until(f"+document.body?.dataset.painted > 0 && {REST}")
    touch = context.new_cdp_session(page)

    def swipe(x: float, y: float, across: float, down: float) -> None:
        for k in range(11):
            at = {"x": x + across * k / 10, "y": y + down * k / 10}
            kind = "touchMove" if k else "touchStart"
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [at]})
            page.wait_for_timeout(16)
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    for id_ in ("truncation", "amount-pc1", "amount-pc4"):
        slider = page.locator(f"#{id_}")
        slider.evaluate("e => e.scrollIntoView({ block: 'center' })")
        box, value, before = slider.bounding_box(), slider.input_value(), page.evaluate("scrollY")
        assert box is not None
        x, y = box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2
        swipe(x, y, 0, -160)
        visit.until(f"scrollY > {before + 50}")
        page.wait_for_timeout(100)
        assert slider.input_value() == value
        slider.evaluate("e => e.scrollIntoView({ block: 'center' })")
        box = slider.bounding_box()
        assert box is not None
        swipe(box["x"] + 0.5 * box["width"], box["y"] + box["height"] / 2, 0.2 * box["width"], 4)
        assert slider.input_value() != value
    assert not visit.complaints
    context.close()


@pytest.mark.parametrize(
    ("visit", "scheme"),
    [(DESK, "light"), (PHONE, "dark")],
    ids=["desk light", "phone dark"],
    indirect=["visit"],
)
def test_axe_finds_nothing(visit: Visit, scheme: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-core here")
    page = visit.page
    page.emulate_media(color_scheme=scheme)
    visit.after(lambda: page.locator("#file").set_input_files(photo(40, 40)))
    visit.after(lambda: page.locator("#random-other").click())
    visit.until("document.querySelectorAll('#examples button').length === 6")
    page.locator("#compare").click()
    found = axe.Axe().run(page).response["violations"]
    page.locator("#recrop").click()
    found += axe.Axe().run(page).response["violations"]
    assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == []
